// One more KVS viewer, that only receives: it offers, and offers again when the master comes back or the connection fails. Where the
// channel's media is stored it joins the storage session instead, whose offer it answers.
import { Candidates, Signaling } from './signaling.js';

/** A master that takes longer has not got the offer, or has gone. */
const ANSWER_MS = 10_000;

/** By then the server has said whether the master is still there. */
const LEFT_MS = 2000;

/** Events: `status` (detail: `{kind, text}`), `stream` when media is there. */
export class Viewer extends EventTarget {
  /** @param {import('./server.js').Server} server  @param {string} arn */
  constructor(server, arn) {
    super();
    this.id = `kvs-local-page-${crypto.randomUUID().slice(0, 8)}`;
    this.signaling = new Signaling(server, arn, this.id);
    this.stream = new MediaStream();
    this.master = false;
  }

  #tell(kind, text) {
    this.dispatchEvent(new CustomEvent('status', { detail: { kind, text } }));
  }

  async start() {
    const { signaling } = this;
    this.#tell('', 'Connecting to the channel…');
    signaling.addEventListener('open', () => {
      if (this.connection?.connectionState !== 'connected') this.#offer();
    });
    signaling.addEventListener('offer', ({ detail: { message } }) => this.#offered(message));
    signaling.addEventListener('answer', ({ detail: { message } }) => this.#answer(message));
    signaling.addEventListener('candidate', ({ detail: { message } }) => this.candidates?.add(message));
    signaling.addEventListener('down', ({ detail }) => {
      if (this.connection?.connectionState !== 'connected') {
        this.#tell('bad', `Signaling is down; connecting again in ${detail / 1000} s.`);
      }
    });
    await signaling.start();
  }

  /** Whether the channel has a master: one that comes is asked at once. */
  masterIs(connected) {
    const came = connected && !this.master;
    this.master = connected;
    if (this.connection?.connectionState === 'connected') return;
    if (!connected) this.#tell('', 'No master is connected. The picture begins when one comes.');
    else if (came && this.signaling.connected) this.#offer();
  }

  /** An offer to a master that has gone would wait for the next one, which would answer it beside a newer one. */
  #left() {
    this.#drop();
    this.#tell('', 'The master has ended the connection.');
    setTimeout(() => this.connection || this.#offer(), LEFT_MS);
  }

  #drop() {
    clearTimeout(this.waiting);
    this.connection?.close();
    this.connection = null;
    for (const track of this.stream.getTracks()) this.stream.removeTrack(track);
  }

  async #offer() {
    if (this.stopped) return;
    this.#drop();
    if (!this.master) return this.masterIs(false);
    if (this.signaling.storage) {
      this.#tell('', 'Joining the storage session…');
      const failed = error => this.#tell('bad', `The storage session cannot be joined: ${error.message}`);
      return this.signaling.join().catch(failed);
    }
    this.#tell('', 'Asking the master…');
    const connection = await this.#connect();
    if (!connection) return;
    connection.addTransceiver('video', { direction: 'recvonly' });
    connection.addTransceiver('audio', { direction: 'recvonly' });
    await connection.setLocalDescription(await connection.createOffer());
    this.signaling.client.sendSdpOffer(connection.localDescription);
  }

  /** The storage session offers. */
  async #offered(offer) {
    if (this.stopped) return;
    this.#drop();
    try {
      const connection = await this.#connect();
      if (!connection) return;
      await connection.setRemoteDescription(offer);
      await this.candidates.ready();
      await connection.setLocalDescription(await connection.createAnswer());
      this.signaling.client.sendSdpAnswer(connection.localDescription);
    } catch (error) {
      this.#tell('bad', `The storage session's offer cannot be used: ${error.message}`);
    }
  }

  async #connect() {
    const candidates = new Candidates();
    this.candidates = candidates;
    const iceServers = await this.signaling.iceServers();
    if (this.stopped || this.connection) return null;
    const connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle', iceServers });
    this.connection = connection;
    candidates.connection = connection;
    connection.addEventListener('track', ({ track, receiver }) => {
      this.stream.addTrack(track);
      // A master that says goodbye closes DTLS, long before ICE misses it.
      receiver.transport?.addEventListener('statechange', () => {
        if (this.connection === connection && receiver.transport.state === 'closed') this.#left();
      });
      this.dispatchEvent(new Event('stream'));
    });
    connection.addEventListener('icecandidate', ({ candidate }) => {
      if (candidate?.candidate && this.signaling.connected) this.signaling.client.sendIceCandidate(candidate);
    });
    connection.addEventListener('connectionstatechange', () => {
      if (this.connection !== connection) return;
      const state = connection.connectionState;
      if (state === 'connected') {
        clearTimeout(this.waiting);
        this.#tell('good', 'Live.');
      } else if (state === 'disconnected') {
        this.#tell('', 'Nothing comes from the master; waiting…');
      } else if (state === 'failed') {
        this.#offer();
      }
    });
    this.waiting = setTimeout(() => {
      if (connection.connectionState !== 'connected') {
        this.#tell('bad', `The master does not answer; asking again.`);
        this.#offer();
      }
    }, ANSWER_MS);
    return connection;
  }

  async #answer(answer) {
    try {
      // An answer to an offer that is no longer ours.
      if (this.connection?.signalingState !== 'have-local-offer') return;
      await this.connection.setRemoteDescription(answer);
      await this.candidates.ready();
    } catch (error) {
      this.#tell('bad', `The master's answer cannot be used: ${error.message}`);
    }
  }

  /** What arrives, since the last call: `{width, height, frames, bits, codec, lost}` a second, or nothing yet. */
  async figures() {
    if (!this.connection) return null;
    const report = await this.connection.getStats();
    const video = [...report.values()].find(part => part.type === 'inbound-rtp' && part.kind === 'video');
    if (!video?.framesDecoded) return null;
    const before = this.before?.ssrc === video.ssrc ? this.before : null;
    this.before = video;
    const seconds = before ? (video.timestamp - before.timestamp) / 1000 : 0;
    const perSecond = key => (seconds > 0 ? (video[key] - before[key]) / seconds : null);
    return {
      width: video.frameWidth,
      height: video.frameHeight,
      frames: perSecond('framesDecoded'),
      bits: seconds > 0 ? 8 * perSecond('bytesReceived') : null,
      codec: report.get(video.codecId)?.mimeType.replace('video/', ''),
      lost: video.packetsLost,
    };
  }

  stop() {
    this.stopped = true;
    this.signaling.stop();
    this.#drop();
  }
}
