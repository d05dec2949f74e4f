// One clock for several players: it goes by itself, and each player is kept at its moment.

/** How often players are compared with the clock. */
const TICK_MS = 250;
/** A picture that is further off jumps; one that is less runs faster or slower until it is there. */
const JUMP_MS = 1000;
const CLOSE_MS = 60;
const HASTE = 0.08;

/** How a player that is `off` milliseconds behind its clock (negative: ahead) gets there: `jump`, or a rate. */
export function correction(off) {
  if (Math.abs(off) > JUMP_MS) return 'jump';
  if (Math.abs(off) < CLOSE_MS) return 1;
  return off > 0 ? 1 + HASTE : 1 - HASTE;
}

/** Event: `change` with each tick. */
export class Clock extends EventTarget {
  /** @param {import('./player.js').Player[]} players  @param {() => {first: number, last: number}[]} extents of their streams */
  constructor(players, extents) {
    super();
    this.players = players;
    this.extents = extents;
    this.playing = false;
    this.base = 0;
    this.since = 0;
    this.timer = setInterval(() => this.#tick(), TICK_MS);
    for (const player of players) player.addEventListener('change', () => this.dispatchEvent(new Event('change')));
  }

  /** The moment that all show. */
  get now() {
    return this.playing ? this.base + performance.now() - this.since : this.base;
  }

  seek(ms) {
    this.base = ms;
    this.since = performance.now();
    this.players.forEach((player, index) => this.#open(player, index));
    this.dispatchEvent(new Event('change'));
  }

  #open(player, index) {
    const { first, last } = this.extents()[index];
    const now = this.now;
    if (now >= first && now < last) player.seek(now, first, last, this.playing);
    else player.video.pause();
  }

  toggle() {
    this.base = this.now;
    this.since = performance.now();
    this.playing = !this.playing;
    this.#tick();
  }

  #tick() {
    const now = this.now;
    const last = Math.max(...this.extents().map(extent => extent.last));
    if (this.playing && now >= last) {
      this.base = last;
      this.playing = false;
    }
    this.players.forEach((player, index) => this.#keep(player, index, now));
    this.dispatchEvent(new Event('change'));
  }

  #keep(player, index, now) {
    const { video } = player;
    if (player.message || player.mode !== 'past') {
      if (this.playing && player.mode === 'idle' && !player.message) this.#open(player, index);
      return;
    }
    if (!player.covers(now)) {
      // It waits at its end, or for its next beginning.
      if (!video.paused) video.pause();
      const { first, last } = this.extents()[index];
      if (this.playing && now >= first && now < last && player.between && now > player.between.to) this.#open(player, index);
      return;
    }
    const off = now - (player.moment ?? now);
    const how = correction(off);
    if (how === 'jump') this.#open(player, index);
    else if (this.playing && video.playbackRate !== how) video.playbackRate = how;
    if (this.playing && video.paused) player.play();
    if (!this.playing && !video.paused) video.pause();
  }

  close() {
    clearInterval(this.timer);
  }
}
