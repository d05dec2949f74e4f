// What the checks of this suite are made of.

let passed = 0;

/** Ends the process at the first thing that is not so. */
export function check(what, condition, seen) {
  if (!condition) {
    console.log(`FAILED: ${what}${seen === undefined ? '' : `: ${JSON.stringify(seen)}`}`);
    console.log(`test result: FAILED. ${passed} passed; 1 failed; 0 ignored`);
    process.exit(1);
  }
  passed += 1;
  console.log(`ok: ${what}`);
}

/** The call is refused with this exception and status; its message is returned. */
export async function refused(what, name, status, call) {
  let answer;
  try {
    answer = await call();
  } catch (error) {
    const seen = [error.name, error.$metadata?.httpStatusCode];
    check(`${what} is refused with ${name}`, seen[0] === name && seen[1] === status, seen);
    return error.message;
  }
  check(`${what} is refused with ${name}`, false, answer);
}

export function done() {
  console.log(`test result: ok. ${passed} passed; 0 failed; 0 ignored`);
}

/** All bytes of a streaming answer, or at least so many as `enough` asks for. */
export async function read(payload, enough = () => false) {
  const parts = [];
  for await (const part of payload) {
    parts.push(part);
    if (enough(Buffer.concat(parts))) break;
  }
  return Buffer.concat(parts);
}
