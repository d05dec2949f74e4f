// Numbers that look like chance and are the same in each run: mulberry32.
export function chance(seed) {
  let state = seed;
  return (from, to) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return from + (((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * (to - from);
  };
}

/** Runs `check` with a hundred seeds, and says with which it failed. */
export function property(check) {
  for (let seed = 1; seed <= 100; seed++) {
    try {
      check(chance(seed));
    } catch (error) {
      error.message = `seed ${seed}: ${error.message}`;
      throw error;
    }
  }
}
