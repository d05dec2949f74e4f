// Pictures along the line, as the service cuts them. Where it gives none there is no row of them.
import { h } from '../lib/dom.js';

const WIDTH = 160;
/** Nothing is asked for while the line moves, nor more often than this. */
const QUIET_MS = 400;

export class Thumbnails {
  /** @param {import('./scale.js').Scale} scale  @param {import('../kvs/playback.js').Playback} playback */
  constructor(scale, playback) {
    this.scale = scale;
    this.playback = playback;
    this.element = h('div', { class: 'thumbnails', 'aria-hidden': 'true', hidden: true });
    this.load = 0;
    this.moved = () => this.refresh();
    scale.addEventListener('change', this.moved);
    this.refresh();
  }

  refresh() {
    if (this.closed) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#show(), QUIET_MS);
  }

  async #show() {
    const width = this.element.clientWidth || this.element.parentElement?.clientWidth;
    if (!width) return;
    const load = ++this.load;
    const { from, length } = this.scale;
    const number = Math.max(1, Math.floor(width / WIDTH));
    const step = length / number;
    try {
      const pictures = await this.playback.images(from, from + length, step, WIDTH * 2);
      if (load !== this.load || this.closed) return;
      const frames = Array.from({ length: number }, (_, index) => {
        const begin = from + index * step;
        const picture = pictures.find(({ ms, url }) => url && ms >= begin && ms < begin + step);
        return picture ? h('img', { src: picture.url, alt: '' }) : h('span', {});
      });
      this.element.replaceChildren(...frames);
      this.element.hidden = !pictures.some(picture => picture.url);
    } catch (error) {
      // Of a time of which nothing is stored, or of a server that has no images.
      console.info('no thumbnails', error.name);
      if (load !== this.load) return;
      this.element.hidden = true;
      if (error.name === 'UnknownOperationException' || error.name === 'InvalidArgumentException') this.close();
    }
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.scale.removeEventListener('change', this.moved);
  }
}
