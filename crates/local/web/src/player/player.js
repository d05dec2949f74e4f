// Plays a stream, live or from a moment on, by hls.js over the HLS that any client gets.
import Hls from 'hls.js';
import { covers, mediaTime, momentOf } from './clock.js';

/** What one session of the past holds: so much before the moment that is asked for, and so much after. */
const BEFORE_MS = 10 * 60_000;
const AFTER_MS = 50 * 60_000;
/** A session never ends sooner after its beginning: the service refuses an empty range. */
const LEAST_MS = 1000;
/** So many sessions are mended or opened anew within this time; then it is said that there is none. */
const TRIES = 4;
const WITHIN_MS = 60_000;
/** Before a session is opened in the place of one that failed: what it lacked may be stored then. */
const AGAIN_MS = 1000;
/** Steps of time that the server tells apart in one answer. */
const STEPS = 8000;

/** Events: `change` when mode, message or position are others. */
export class Player extends EventTarget {
  /**
   * @param {import('../kvs/playback.js').Playback} playback
   * @param {HTMLVideoElement} video
   * @param {(from: number, to: number, resolution: number) => Promise<{spans: object[]}>} stored what is stored
   */
  constructor(playback, video, stored) {
    super();
    this.stored = stored;
    this.playback = playback;
    this.video = video;
    this.mode = 'idle';
    this.message = '';
    this.failures = [];
    this.load = 0;
    this.changed = () => this.dispatchEvent(new Event('change'));
    for (const type of ['timeupdate', 'playing', 'pause', 'seeked', 'waiting']) video.addEventListener(type, this.changed);
    video.addEventListener('ended', () => this.#further());
  }

  get segments() {
    const playing = this.hls?.levels?.[Math.max(0, this.hls.currentLevel)]?.details ?? this.hls?.latestLevelDetails;
    return (playing?.fragments ?? []).filter(fragment => fragment.programDateTime);
  }

  /** The moment that is shown, milliseconds since 1970; nothing before there is one. */
  get moment() {
    if (this.mode === 'idle' || this.video.readyState < 1) return this.wanted;
    return momentOf(this.segments, this.video.currentTime) ?? this.wanted;
  }

  /** Whether something is stored at a moment of what is loaded. */
  covers(ms) {
    return covers(this.segments, ms);
  }

  live() {
    this.wanted = undefined;
    this.plays = true;
    return this.#open('live');
  }

  /**
   * Shows a moment; `first` and `last` are the ends of what is stored. Without `play` what stands stays standing.
   */
  async seek(ms, first, last, play = true) {
    this.wanted = ms;
    this.plays = play || (this.mode !== 'idle' && !this.video.paused);
    this.extent = { first, last };
    if (this.mode === 'past' && this.between && ms >= this.between.from && ms < this.between.to) {
      const at = mediaTime(this.segments, ms);
      if (at !== undefined) {
        this.video.currentTime = at;
        if (this.plays) this.play();
        this.changed();
        return;
      }
    }
    const from = Math.max(first, ms - BEFORE_MS);
    const to = Math.max(from + LEAST_MS, Math.min(last, ms + AFTER_MS));
    await this.#open('past', () => this.#stretch(ms, Math.floor(from), Math.ceil(to)));
  }

  /**
   * Of the time from `from` to `to` what has the same tracks as the moment: the service ends a session where they change.
   * Fragments belong to a session by their beginning.
   */
  async #stretch(ms, from, to) {
    const { spans } = await this.stored(from, to, Math.ceil((to - from) / STEPS));
    const at = spans.findIndex(span => span.toMs > ms);
    if (at < 0) return { from, to };
    const same = span => String(span.codecs) === String(spans[at].codecs);
    const before = spans.slice(0, at).findLast(span => !same(span));
    const after = spans.slice(at).find(span => !same(span));
    return { from: before ? spans[spans.indexOf(before) + 1].fromMs : Math.min(from, spans[0].fromMs), to: after ? after.fromMs - 1 : to };
  }

  /** What was recorded after the session was opened. */
  #further() {
    const { between, extent } = this;
    if (this.mode === 'past' && extent && between && between.to < extent.last - LEAST_MS) {
      this.seek(between.to + 1, extent.first, extent.last);
    }
  }

  /** Another session from where this one is, or from what is now. */
  #again() {
    if (this.mode === 'live') return this.live();
    const { from, to } = this.between;
    this.wanted = this.moment;
    return this.#open('past', () => this.#stretch(this.wanted, from, to));
  }

  async #open(mode, between) {
    const load = ++this.load;
    this.mode = mode;
    this.between = null;
    this.#say('Loading…');
    try {
      const found = await between?.();
      if (load !== this.load) return;
      this.between = found;
      const url = await this.playback.hls(found);
      if (load !== this.load) return;
      this.#attach(url);
    } catch (error) {
      if (load === this.load) this.#fail(error.message);
    }
  }

  #attach(url) {
    this.hls?.destroy();
    if (!Hls.isSupported()) return this.#fail('This browser has no Media Source Extensions, which the player needs.');
    const hls = new Hls({
      // The page's own origin only, and what it allows to run.
      enableWorker: false,
      liveSyncDurationCount: 2,
      liveMaxLatencyDurationCount: 6,
      backBufferLength: 60,
    });
    this.hls = hls;
    hls.on(Hls.Events.LEVEL_LOADED, () => {
      if (this.placed !== hls && this.mode === 'past') {
        const at = mediaTime(this.segments, this.wanted);
        if (at !== undefined) this.video.currentTime = at;
      }
      this.placed = hls;
      this.changed();
    });
    hls.on(Hls.Events.FRAG_BUFFERED, () => this.#say(''));
    hls.on(Hls.Events.ERROR, (_, { fatal, type, details, error, networkDetails }) => {
      if (!fatal) return;
      const now = Date.now();
      this.failures = this.failures.filter(at => now - at < WITHIN_MS);
      if (this.failures.push(now) > TRIES) return this.#fail(reason(networkDetails) ?? error?.message ?? details);
      if (type === Hls.ErrorTypes.MEDIA_ERROR) return hls.recoverMediaError();
      // The tracks have changed, or the session has expired.
      hls.stopLoad();
      const { load } = this;
      setTimeout(() => load === this.load && this.#again(), AGAIN_MS);
    });
    hls.loadSource(url);
    hls.attachMedia(this.video);
    if (this.plays) this.play();
    else this.video.pause();
  }

  play() {
    // A browser that lets nothing play without a click waits for it.
    this.video.play().catch(error => error.name === 'NotAllowedError' && this.#say('Press play.'));
  }

  toggle() {
    if (this.mode === 'idle') return;
    this.plays = this.video.paused;
    if (this.plays) this.play();
    else this.video.pause();
  }

  #fail(text) {
    this.load++;
    this.hls?.destroy();
    this.hls = null;
    this.mode = 'idle';
    this.#say(`Cannot be played: ${text}`);
  }

  #say(text) {
    this.message = text;
    this.changed();
  }

  close() {
    this.load++;
    this.hls?.destroy();
    this.hls = null;
  }
}

/** What the server said of a segment or playlist that it did not give. */
function reason(networkDetails) {
  const { response } = networkDetails ?? {};
  try {
    const text = response instanceof ArrayBuffer ? new TextDecoder().decode(response) : String(response ?? '');
    const { Message, message } = JSON.parse(text);
    return Message ?? message;
  } catch {
    return undefined;
  }
}
