// The stretch of time that a timeline shows, and where a moment lies in it. Milliseconds since 1970; pixels.

export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

/** The shortest and the longest stretch. */
const MIN = SECOND;
const MAX = 31 * DAY;

const STEPS = [
  1, 2, 5, 10, 20, 50, 100, 200, 500,
  ...[1, 2, 5, 10, 15, 30].map(n => n * SECOND),
  ...[1, 2, 5, 10, 15, 30].map(n => n * MINUTE),
  ...[1, 2, 3, 6, 12].map(n => n * HOUR),
  ...[1, 2, 5, 10].map(n => n * DAY),
];

/** Shared by the timelines of several streams. Event: `change`. */
export class Scale extends EventTarget {
  constructor(from, to) {
    super();
    this.from = from;
    this.to = to;
  }

  get length() {
    return this.to - this.from;
  }

  x(ms, width) {
    return ((ms - this.from) / this.length) * width;
  }

  ms(x, width) {
    return this.from + (x / width) * this.length;
  }

  show(from, to) {
    const length = Math.min(MAX, Math.max(MIN, to - from));
    const middle = (from + to) / 2;
    [from, to] = to - from === length ? [from, to] : [middle - length / 2, middle + length / 2];
    if (from === this.from && to === this.to) return;
    [this.from, this.to] = [from, to];
    this.dispatchEvent(new Event('change'));
  }

  /** Shows `factor` times as much; `at` stays where it is. */
  zoom(factor, at = (this.from + this.to) / 2) {
    const length = Math.min(MAX, Math.max(MIN, this.length * factor));
    const part = (at - this.from) / this.length;
    this.show(at - part * length, at + (1 - part) * length);
  }

  pan(ms) {
    this.show(this.from + ms, this.to + ms);
  }

  /** Moves, without zooming, so that the moment is in sight. */
  reveal(ms) {
    if (ms >= this.from && ms <= this.to) return;
    this.show(ms - this.length / 2, ms + this.length / 2);
  }

  /** Round moments of local time, at least `room` pixels apart: `{step, at: [...]}`. */
  ticks(width, room = 90) {
    const least = (this.length / width) * room;
    const step = STEPS.find(step => step >= least) ?? STEPS.at(-1);
    // Round in the clock of whoever looks.
    const zone = new Date(this.from).getTimezoneOffset() * MINUTE;
    const at = [];
    for (let ms = Math.ceil((this.from - zone) / step) * step + zone; ms <= this.to; ms += step) at.push(ms);
    return { step, at };
  }
}
