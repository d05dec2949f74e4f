// What this page shares: it goes on while other views are looked at.
import { Master } from '../kvs/master.js';
import { open, NONE } from './devices.js';
import { NO_H264, sendsH264 } from './h264.js';

/** Events: `change` when anything of it is another. */
export class Sharing extends EventTarget {
  /** @param {import('../kvs/server.js').Server} server */
  constructor(server) {
    super();
    this.server = server;
    this.stream = null;
    this.master = null;
    this.status = { kind: '', text: 'Nothing is shared.' };
    this.errors = [];
    /** Counts what was asked for: what comes of an older wish is put away. */
    this.wish = 0;
  }

  get viewers() {
    return [...(this.master?.viewers.values() ?? [])].map(v => ({ id: v.id, state: v.connection.connectionState }));
  }

  get live() {
    return this.master !== null;
  }

  #say(kind, text) {
    this.status = { kind, text };
    if (kind === 'bad') this.errors.push(text);
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event('change'));
  }

  /** Opens camera and microphone without sharing them. */
  async preview(wanted) {
    const wish = ++this.wish;
    this.#say('', 'Asking for camera and microphone…');
    try {
      const stream = await open(wanted);
      if (wish !== this.wish) return stop(stream);
      stop(this.stream);
      this.#take(stream);
      this.#say('', 'Nobody sees this but you.');
    } catch (error) {
      if (wish === this.wish) this.#say('bad', error.message);
    }
  }

  async goLive(channel, wanted) {
    const wish = ++this.wish;
    try {
      if (wanted.picture !== NONE && !sendsH264()) {
        const alone = wanted.sound === NONE ? '' : ' The microphone alone can be shared: choose “No picture”.';
        throw new Error(NO_H264 + alone);
      }
      this.#say('', 'Asking for camera and microphone…');
      const stream = await open(wanted);
      if (wish !== this.wish) return stop(stream);
      stop(this.stream);
      this.#take(stream);
      const master = new Master(this.server, channel, stream);
      this.master = master;
      master.addEventListener('status', ({ detail }) => this.master === master && this.#say(detail.kind, detail.text));
      master.addEventListener('viewers', () => this.#changed());
      this.#say('', 'Connecting…');
      await master.start();
    } catch (error) {
      if (wish !== this.wish) return;
      this.stop();
      this.#say('bad', error.message);
    }
  }

  /** Another device, size or rate: what is live goes on with it. */
  async change(wanted) {
    if (!this.stream) return;
    if (!this.live) return this.preview(wanted);
    const wish = this.wish;
    try {
      const stream = await open(wanted);
      if (wish !== this.wish) return stop(stream);
      for (const track of stream.getTracks()) {
        this.#guard(track);
        await this.master.replace(track);
      }
      this.#say('good', `Sharing on channel ${this.master.channel}.`);
    } catch (error) {
      this.#say('bad', error.message);
    }
  }

  #take(stream) {
    this.stream = stream;
    for (const track of stream.getTracks()) this.#guard(track);
  }

  /** A track that ends by itself was unplugged, or taken back in the browser. */
  #guard(track) {
    track.addEventListener('ended', () => {
      if (!this.stream?.getTracks().includes(track)) return;
      const what = track.kind === 'video' ? 'picture' : 'microphone';
      const name = track.label ? ` “${track.label}”` : '';
      const then = this.live ? ' Viewers get none until then; the rest goes on.' : '';
      this.#say('bad', `The ${what}${name} was unplugged or stopped. Choose another.${then}`);
    });
  }

  stop() {
    this.wish++;
    this.master?.stop();
    this.master = null;
    stop(this.stream);
    this.stream = null;
    this.#say('', 'Nothing is shared.');
  }
}

function stop(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
