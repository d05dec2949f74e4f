// What is stored, in pieces of time that are loaded when they are shown: a resolution for each zoom, a tile for each
// stretch of 1024 steps of it. So a day of fragments costs no more than a minute of them.

/** Steps of a tile. */
const STEPS = 1024;
/** Tiles that are kept; those not shown for longest go. */
const KEPT = 96;
/** How many resolutions up a piece is looked for that shows something meanwhile. */
const COARSER = 8;
/** Tiles that ended in the present are loaded again no sooner. */
const AGAIN_MS = 1000;

export class Tiles {
  /**
   * @param {(from: number, to: number, resolution: number) => Promise<{spans: object[]}>} load
   * @param {() => void} changed something to draw has come
   */
  constructor(load, changed) {
    this.load = load;
    this.changed = changed;
    /** By `LEVEL/INDEX`, those shown last at the end. */
    this.tiles = new Map();
    this.end = 0;
  }

  /** Fragments have come up to `end`: what was loaded of the time after the last end is no longer all. */
  grown(end) {
    if (end === this.end) return;
    const since = Math.min(this.end, end);
    this.end = end;
    for (const tile of this.tiles.values()) {
      if (tile.to > since) tile.stale = true;
    }
    this.changed();
  }

  /** Nothing that was loaded counts any more. */
  clear() {
    this.tiles.clear();
    this.changed();
  }

  /** The spans to draw, in order; those that are missing are asked for. */
  spans(scale, width) {
    const level = Math.max(0, Math.floor(Math.log2(scale.length / width)));
    const span = STEPS * 2 ** level;
    const found = [];
    for (let index = Math.floor(scale.from / span); index * span < scale.to; index++) {
      const tile = this.#tile(level, index);
      if (tile.spans) found.push(...tile.spans);
      else found.push(...this.#coarser(level, index));
    }
    this.#forget();
    return found;
  }

  #tile(level, index) {
    const name = `${level}/${index}`;
    const resolution = 2 ** level;
    const from = index * STEPS * resolution;
    const tile = this.tiles.get(name) ?? { from, to: from + STEPS * resolution, stale: true, asked: 0 };
    this.tiles.delete(name);
    this.tiles.set(name, tile);
    if (tile.stale && !tile.loading) this.#load(tile, resolution);
    return tile;
  }

  async #load(tile, resolution) {
    const wait = tile.asked + AGAIN_MS - Date.now();
    if (wait > 0) {
      if (!tile.later) tile.later = setTimeout(() => ((tile.later = null), this.changed()), wait);
      return;
    }
    tile.loading = true;
    tile.stale = false;
    tile.asked = Date.now();
    try {
      tile.spans = (await this.load(tile.from, tile.to, resolution)).spans;
    } catch (error) {
      tile.stale = true;
      console.warn('timeline', error);
    } finally {
      tile.loading = false;
      this.changed();
    }
  }

  #coarser(level, index) {
    for (let up = 1; up <= COARSER; up++) {
      const tile = this.tiles.get(`${level + up}/${Math.floor(index / 2 ** up)}`);
      if (!tile?.spans) continue;
      const from = index * STEPS * 2 ** level;
      const to = from + STEPS * 2 ** level;
      return tile.spans.filter(span => span.toMs > from && span.fromMs < to);
    }
    return [];
  }

  #forget() {
    for (const [name, tile] of this.tiles) {
      if (this.tiles.size <= KEPT) return;
      if (!tile.loading) this.tiles.delete(name);
    }
  }
}
