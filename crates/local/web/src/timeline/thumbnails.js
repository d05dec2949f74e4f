// Pictures along the line, as the service cuts them. Where it gives none there is no row of them.
import { h } from '../lib/dom.js';

/** The least pixels between two, and the height that they are asked for. */
const ROOM = 128;
const HEIGHT = 144;
/** Nothing is asked for while the line moves. */
const QUIET_MS = 300;
/** Pictures that are kept; those not shown for longest go. */
const KEPT = 300;

export class Thumbnails {
  /** @param {import('./timeline.js').Timeline} timeline  @param {import('../kvs/playback.js').Playback} playback */
  constructor(timeline, playback) {
    this.timeline = timeline;
    this.playback = playback;
    this.element = h('div', { class: 'thumbnails', 'aria-hidden': 'true' });
    /** By `STEP/INDEX`: an image, or nothing where there is none. */
    this.cache = new Map();
    this.drawn = () => this.#place();
    timeline.addEventListener('drawn', this.drawn);
  }

  /** Puts what is there where it belongs, and asks for the rest when the line has come to rest. */
  #place() {
    const { scale, width } = this.timeline;
    const { step } = scale.ticks(width, ROOM);
    const shown = [];
    const missing = [];
    for (let index = Math.floor(scale.from / step); index * step < scale.to; index++) {
      const stored = this.timeline.stored(index * step, (index + 1) * step);
      if (stored === undefined) continue;
      const name = `${step}/${index}`;
      if (!this.cache.has(name)) missing.push({ name, stored });
      const image = this.cache.get(name);
      if (!image) continue;
      this.cache.delete(name);
      this.cache.set(name, image);
      const left = Math.max(0, scale.x(Math.max(stored, index * step), width));
      const right = Math.min(width, scale.x((index + 1) * step, width));
      image.style.transform = `translateX(${left}px)`;
      image.style.width = `${Math.max(0, right - left - 2)}px`;
      shown.push(image);
    }
    const now = [...this.element.children];
    if (now.length !== shown.length || now.some((image, index) => image !== shown[index])) this.element.replaceChildren(...shown);
    this.missing = missing;
    clearTimeout(this.timer);
    if (missing.length && !this.closed) this.timer = setTimeout(() => this.#load(), QUIET_MS);
  }

  /** One after the other: each is a decoder's work. */
  async #load() {
    if (this.loading) return;
    this.loading = true;
    while (!this.closed && this.missing.length) {
      const { name, stored } = this.missing.shift();
      try {
        const url = await this.playback.image(stored, HEIGHT);
        this.cache.set(name, url ? h('img', { src: url, alt: '' }) : null);
        for (const old of this.cache.keys()) {
          if (this.cache.size <= KEPT) break;
          this.cache.delete(old);
        }
      } catch (error) {
        // A server without images, or without a decoder: there are none.
        console.info('no thumbnails', error.message);
        this.element.hidden = true;
        this.close();
      }
      this.#place();
    }
    this.loading = false;
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.timeline.removeEventListener('drawn', this.drawn);
  }
}
