// One stream's timeline: wheel, pinch, drag and keys move it, a click or the playhead says what is to be played, two
// handles say what a clip is cut from.
import { bytes, count, duration, moment, rate, timeOfDay } from '../lib/format.js';
import { h, say, set } from '../lib/dom.js';
import { colours, draw, HEIGHT, LANE_HEIGHT } from './draw.js';
import { Tiles } from './tiles.js';

/** A pointer that moves less is a click. */
const CLICK = 4;
/** What a notch of the wheel makes of the stretch. */
const WHEEL = 1.0016;

/** Events: `drawn` after each drawing, `seek` (detail: `{moment, play}`: a click plays, keys and the dragged playhead
 * leave what stands standing), `select` (detail: `{from, to}`), `hover` (detail: words, or nothing). */
export class Timeline extends EventTarget {
  /**
   * @param {import('./scale.js').Scale} scale shared with others
   * @param {(from: number, to: number, resolution: number) => Promise<object>} load
   * @param {{name: string, lane?: boolean}} options
   */
  constructor(scale, load, { name, lane = false }) {
    super();
    this.scale = scale;
    this.lane = lane;
    this.first = this.last = Date.now();
    this.tiles = new Tiles(load, () => this.#dirty());
    this.canvas = h('canvas', { 'aria-hidden': 'true' });
    this.head = this.#slider(`Playhead of ${name}`, 'playhead', event => this.#headKey(event));
    this.start = this.#slider('Start of the clip', 'handle start', event => this.#handleKey(event, 'from'));
    this.end = this.#slider('End of the clip', 'handle end', event => this.#handleKey(event, 'to'));
    this.element = h('div', { class: lane ? 'timeline lane' : 'timeline' }, this.canvas, this.start, this.end, this.head);
    this.element.style.height = `${lane ? LANE_HEIGHT : HEIGHT}px`;
    this.pointers = new Map();
    for (const [type, listener] of Object.entries({
      wheel: event => this.#wheel(event),
      pointerdown: event => this.#down(event),
      pointermove: event => this.#move(event),
      pointerup: event => this.#up(event),
      pointercancel: event => this.#up(event, true),
      pointerleave: () => this.#hover(undefined),
    })) {
      this.element.addEventListener(type, listener, { passive: false });
    }
    this.observer = new ResizeObserver(() => this.#dirty());
    this.observer.observe(this.element);
    this.redraw = () => this.#dirty();
    this.retheme = () => ((this.colour = null), this.#dirty());
    scale.addEventListener('change', this.redraw);
    window.addEventListener('themechange', this.retheme);
    this.select(null);
  }

  #slider(label, name, keydown) {
    return h('div', { class: name, role: 'slider', tabindex: '0', 'aria-label': label, 'aria-orientation': 'horizontal', onkeydown: keydown });
  }

  /** What the stream has: its first moment and its end. */
  extent(first, last) {
    this.first = first;
    this.last = last;
    this.tiles.grown(last);
    this.#dirty();
  }

  /** Where is played; nothing when nothing is. */
  set playhead(ms) {
    this.at = ms ?? undefined;
    this.#dirty();
  }

  get playhead() {
    return this.at;
  }

  /** What a clip is cut from; nothing for no clip. */
  select(selection) {
    this.selection = selection;
    this.start.hidden = this.end.hidden = !selection;
    this.#dirty();
  }

  close() {
    this.closed = true;
    this.observer.disconnect();
    this.scale.removeEventListener('change', this.redraw);
    window.removeEventListener('themechange', this.retheme);
  }

  get width() {
    return Math.max(1, this.element.clientWidth);
  }

  #dirty() {
    if (this.frame || this.closed) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = null;
      if (!this.closed) this.#draw();
    });
  }

  #draw() {
    const { width, scale } = this;
    const height = this.element.clientHeight;
    const ratio = window.devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    // For style sheets and tests: what is shown.
    set(this.element, 'data-from', Math.round(scale.from));
    set(this.element, 'data-to', Math.round(scale.to));
    this.colour ??= colours();
    const context = this.canvas.getContext('2d');
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.shown = this.tiles.spans(scale, width);
    const { lane, at: playhead, hover, selection, colour } = this;
    draw(context, { scale, spans: this.shown, width, height, lane, now: Date.now(), playhead, hover, selection, colour });
    this.#place(this.head, this.at ?? this.last);
    this.dispatchEvent(new Event('drawn'));
    if (this.selection) {
      this.#place(this.start, this.selection.from);
      this.#place(this.end, this.selection.to);
    }
  }

  #place(slider, ms) {
    const x = this.scale.x(ms, this.width);
    slider.style.transform = `translateX(${Math.min(this.width, Math.max(0, x))}px)`;
    slider.classList.toggle('outside', x < 0 || x > this.width);
    set(slider, 'aria-valuemin', Math.round(this.first));
    set(slider, 'aria-valuemax', Math.round(Math.max(this.last, this.first)));
    set(slider, 'aria-valuenow', Math.round(ms));
    set(slider, 'aria-valuetext', moment(ms, 1));
  }

  #seek(ms, play) {
    const moment = Math.min(Math.max(ms, this.first), this.last);
    this.dispatchEvent(new CustomEvent('seek', { detail: { moment, play } }));
  }

  /** How far an arrow goes: a hundredth of what is shown, and with Shift a tenth of that. */
  #step(event) {
    return (this.scale.length / 100) * (event.shiftKey ? 0.1 : 1);
  }

  /** Where a key moves a slider that is at `at`; nothing for other keys. */
  #moved(event, at) {
    const step = this.#step(event);
    switch (event.key) {
      case 'ArrowLeft':
      case 'ArrowDown':
        return at - step;
      case 'ArrowRight':
      case 'ArrowUp':
        return at + step;
      case 'PageUp':
        return at + this.scale.length / 2;
      case 'PageDown':
        return at - this.scale.length / 2;
      case 'Home':
        return this.first;
      case 'End':
        return this.last;
      default:
        return undefined;
    }
  }

  #zoomKey(event, at) {
    const factor = { '+': 0.5, '=': 0.5, '-': 2, _: 2 }[event.key];
    if (!factor || event.ctrlKey || event.metaKey) return false;
    this.scale.reveal(at);
    this.scale.zoom(factor, at);
    return true;
  }

  #headKey(event) {
    const at = this.at ?? this.last;
    const moved = this.#moved(event, at);
    if (moved === undefined) {
      if (this.#zoomKey(event, at)) event.preventDefault();
      return;
    }
    event.preventDefault();
    const to = Math.min(Math.max(moved, this.first), this.last);
    this.scale.reveal(to);
    this.playhead = to;
    this.#seek(to, false);
  }

  #handleKey(event, side) {
    const moved = this.#moved(event, this.selection[side]);
    if (moved === undefined) {
      if (this.#zoomKey(event, this.selection[side])) event.preventDefault();
      return;
    }
    event.preventDefault();
    this.#cut(side, moved);
    this.scale.reveal(this.selection[side]);
  }

  #cut(side, ms) {
    const { from, to } = this.selection;
    const at = Math.min(Math.max(ms, this.first), this.last);
    this.select(side === 'from' ? { from: Math.min(at, to), to } : { from, to: Math.max(at, from) });
    this.dispatchEvent(new CustomEvent('select', { detail: this.selection }));
  }

  #x(event) {
    return event.clientX - this.element.getBoundingClientRect().left;
  }

  #ms(event) {
    return this.scale.ms(this.#x(event), this.width);
  }

  #wheel(event) {
    event.preventDefault();
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 30 : 1;
    const sideways = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      this.scale.pan((sideways * unit * this.scale.length) / this.width);
    } else {
      // Browsers tell a pinch on a touchpad as small steps with Ctrl.
      this.scale.zoom(WHEEL ** (event.deltaY * unit * (event.ctrlKey ? 6 : 1)), this.#ms(event));
    }
  }

  #down(event) {
    if (event.button > 0) return;
    this.element.setPointerCapture(event.pointerId);
    const grabbed = event.target === this.start ? 'from' : event.target === this.end ? 'to' : event.target === this.head ? 'head' : null;
    this.pointers.set(event.pointerId, { x: this.#x(event), y: event.clientY, at: this.#ms(event), moved: false, grabbed });
  }

  #move(event) {
    const pointer = this.pointers.get(event.pointerId);
    if (!pointer) return this.#hover(event.pointerType === 'mouse' ? this.#ms(event) : undefined);
    const x = this.#x(event);
    if (Math.abs(x - pointer.x) > CLICK) pointer.moved = true;
    if (this.pointers.size === 2) {
      const [one, other] = [...this.pointers.values()];
      const before = Math.abs(one.x - other.x);
      pointer.x = x;
      const after = Math.abs(one.x - other.x);
      pointer.moved = true;
      if (before > 1 && after > 1) this.scale.zoom(before / after, this.scale.ms((one.x + other.x) / 2, this.width));
      return;
    }
    if (!pointer.moved) return;
    if (pointer.grabbed === 'head') {
      this.playhead = Math.min(Math.max(this.#ms(event), this.first), this.last);
    } else if (pointer.grabbed) {
      this.#cut(pointer.grabbed, this.#ms(event));
    } else {
      // What was under the pointer stays under it.
      this.scale.pan(pointer.at - this.#ms(event));
    }
  }

  #up(event, cancelled = false) {
    const pointer = this.pointers.get(event.pointerId);
    this.pointers.delete(event.pointerId);
    if (!pointer || cancelled) return;
    if (pointer.grabbed === 'head') {
      if (pointer.moved) this.#seek(this.#ms(event), false);
    } else if (!pointer.moved && !pointer.grabbed) {
      this.#seek(this.#ms(event), true);
    }
  }

  #hover(ms) {
    this.hover = ms;
    this.#dirty();
    this.dispatchEvent(new CustomEvent('hover', { detail: ms === undefined ? '' : this.describe(ms) }));
  }

  /** The first moment between two of which something is stored; nothing if none is. */
  stored(from, to) {
    const span = (this.shown ?? []).find(span => span.toMs > from && span.fromMs < to);
    return span && Math.max(from, span.fromMs);
  }

  /** What is stored at a moment, in words. */
  describe(ms) {
    const when = moment(ms, this.scale.length / this.width < 100 ? 1 : 1000);
    const span = (this.shown ?? []).findLast(span => span.fromMs <= ms && ms < span.toMs);
    if (!span) return ms > Date.now() ? when : `${when} · nothing is stored`;
    const what = span.number ? `fragment …${span.number.slice(-9)}` : count(span.fragments, 'fragment');
    const holes = span.toMs - span.fromMs - span.coveredMs;
    return [
      when,
      what,
      duration(span.coveredMs),
      bytes(span.bytes),
      rate((8000 * span.bytes) / Math.max(1, span.coveredMs)),
      span.width ? `${span.width}×${span.height}` : null,
      holes > 0 ? `${duration(holes)} missing` : null,
      span.number && span.sessionMs ? `session of ${timeOfDay(span.sessionMs)}` : null,
    ]
      .filter(Boolean)
      .join(' · ');
  }
}

/** Shows a line of words under a timeline as long as the pointer is on it, else `otherwise`. */
export function caption(timeline, otherwise) {
  const line = h('p', { class: 'caption' });
  const show = text => say(line, text || otherwise());
  timeline.addEventListener('hover', ({ detail }) => show(detail));
  show('');
  return { line, refresh: () => timeline.hover === undefined && show('') };
}
