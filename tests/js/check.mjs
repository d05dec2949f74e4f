// What the checks of this suite are made of.

import { inspect } from 'node:util';

let passed = 0;
/** For an error that no check expected. */
let last = 'the start';
/** Far longer than any answer takes; one that reaches it fails. */
const DEADLINE_MS = 30_000;

/** Ends the process at the first thing that is not so. */
export function check(what, condition, seen) {
  if (!condition) fail(`${what}${seen === undefined ? '' : `: ${inspect(seen, { depth: 6 })}`}`);
  passed += 1;
  last = what;
  console.log(`ok: ${what}`);
}

/** Equal as values; the order of an object's members is no matter. */
export function same(what, seen, expected) {
  const show = value => inspect(value, { depth: 8, sorted: true, maxArrayLength: null });
  check(what, show(seen) === show(expected), { seen, expected });
}

function fail(what) {
  console.log(`FAILED: ${what}`);
  console.log(`test result: FAILED. ${passed} passed; 1 failed; 0 ignored`);
  process.exit(1);
}

/** Ends the process for an error that no check expected. */
export function broken(error) {
  fail(`what follows "${last}": ${inspect(error)}`);
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
  const late = setTimeout(() => payload.destroy(new Error(`the answer has not ended after ${DEADLINE_MS} ms`)), DEADLINE_MS);
  try {
    for await (const part of payload) {
      parts.push(part);
      if (enough(Buffer.concat(parts))) break;
    }
  } finally {
    clearTimeout(late);
  }
  return Buffer.concat(parts);
}
