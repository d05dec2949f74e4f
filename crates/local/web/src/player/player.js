// Plays a stream, live or from a moment on, by hls.js over the HLS that any client gets.
import Hls from 'hls.js';
import { covers, mediaTime, momentOf } from './clock.js';

/** What one session of the past holds: so much before the moment that is asked for, and so much after. */
const BEFORE_MS = 10 * 60_000;
const AFTER_MS = 50 * 60_000;
/** A session never ends sooner after its beginning: the service refuses an empty range. */
const LEAST_MS = 1000;
/** Fatal errors of a session that are mended by a new one, one after another. */
const TRIES = 5;

/** Events: `change` when mode, message or position are others. */
export class Player extends EventTarget {
  /** @param {import('../kvs/playback.js').Playback} playback  @param {HTMLVideoElement} video */
  constructor(playback, video) {
    super();
    this.playback = playback;
    this.video = video;
    this.mode = 'idle';
    this.message = '';
    this.failed = 0;
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
    return this.#open('live', null);
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
    await this.#open('past', { from: Math.floor(from), to: Math.ceil(to) });
  }

  /** What was recorded after the session was opened. */
  #further() {
    const { between, extent } = this;
    if (this.mode === 'past' && extent && between.to < extent.last - LEAST_MS) {
      this.seek(between.to + 1, extent.first, extent.last);
    }
  }

  async #open(mode, between) {
    const load = ++this.load;
    this.mode = mode;
    this.between = between;
    this.#say('Loading…');
    try {
      const url = await this.playback.hls(between);
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
    hls.on(Hls.Events.FRAG_BUFFERED, () => {
      this.failed = 0;
      this.#say('');
    });
    hls.on(Hls.Events.ERROR, (_, { fatal, type, details, error, response }) => {
      if (!fatal) return;
      if (type === Hls.ErrorTypes.MEDIA_ERROR && this.failed++ < TRIES) return hls.recoverMediaError();
      this.#fail(response?.text || error?.message || details);
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
