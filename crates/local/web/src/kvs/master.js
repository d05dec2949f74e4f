// A KVS WebRTC master in the browser: it answers every viewer with what is shared. Where the channel's media is stored it joins
// the storage session, and answers that alone.
import { CreateSignalingChannelCommand, DescribeSignalingChannelCommand } from '@aws-sdk/client-kinesis-video';
import { NO_H264, preferH264, sendsH264 } from '../media/h264.js';
import { Candidates, Signaling } from './signaling.js';

/** How the storage session is called among the viewers; its messages come without a name. */
const STORAGE = 'storage session';

/** A storage session that has ended is joined again after this. */
const AGAIN_MS = 1000;

/** Events: `status` (detail: `{kind, text}`), `viewers` when a viewer comes, changes or goes. */
export class Master extends EventTarget {
  /** @param {import('./server.js').Server} server  @param {string} channel its name  @param {MediaStream} stream what is shared */
  constructor(server, channel, stream) {
    super();
    this.server = server;
    this.channel = channel;
    this.stream = stream;
    this.viewers = new Map();
  }

  #tell(kind, text) {
    this.dispatchEvent(new CustomEvent('status', { detail: { kind, text } }));
  }

  #changed() {
    this.dispatchEvent(new Event('viewers'));
  }

  get connected() {
    return this.signaling?.connected ?? false;
  }

  async start() {
    const arn = await this.#findOrCreate();
    if (this.stopped) return;
    const signaling = new Signaling(this.server, arn);
    this.signaling = signaling;
    signaling.addEventListener('open', () => {
      this.#tell('good', `Sharing on channel ${this.channel}${signaling.storage ? ', which is stored' : ''}.`);
      if (signaling.storage && this.viewers.get(STORAGE)?.connection.connectionState !== 'connected') this.#join();
    });
    signaling.addEventListener('down', ({ detail }) =>
      this.#tell('bad', `Signaling is down; connecting again in ${detail / 1000} s.`),
    );
    signaling.addEventListener('offer', ({ detail: { message, from } }) =>
      this.#offer(message, from).catch(error => this.#tell('bad', `Viewer ${from ?? STORAGE}: ${error.message}`)),
    );
    signaling.addEventListener('candidate', ({ detail: { message, from } }) =>
      this.viewers.get(from ?? STORAGE)?.candidates.add(message),
    );
    await signaling.start();
  }

  async #findOrCreate() {
    const client = await this.server.control();
    try {
      const found = await client.send(new DescribeSignalingChannelCommand({ ChannelName: this.channel }));
      return found.ChannelInfo.ChannelARN;
    } catch (error) {
      if (error.name !== 'ResourceNotFoundException') throw error;
    }
    const made = await client.send(new CreateSignalingChannelCommand({ ChannelName: this.channel }));
    return made.ChannelARN;
  }

  #join() {
    this.signaling.join().catch(error => this.#tell('bad', `The storage session cannot be joined: ${error.message}`));
  }

  /** @param {string} [from] the viewer that offers; none is the storage session */
  async #offer(offer, from) {
    const id = from ?? STORAGE;
    // A second offer of the same viewer replaces its connection.
    this.viewers.get(id)?.connection.close();
    const connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    const viewer = { id, connection, candidates: new Candidates(connection) };
    this.viewers.set(id, viewer);
    connection.addEventListener('icecandidate', ({ candidate }) => {
      if (candidate?.candidate) this.signaling.client.sendIceCandidate(candidate, from);
    });
    connection.addEventListener('connectionstatechange', () => {
      if (['failed', 'closed'].includes(connection.connectionState) && this.viewers.get(id) === viewer) {
        connection.close();
        this.viewers.delete(id);
        if (from === undefined) setTimeout(() => this.stopped || this.#join(), AGAIN_MS);
      }
      this.#changed();
    });
    const iceServers = await this.signaling.iceServers();
    if (iceServers.length) connection.setConfiguration({ bundlePolicy: 'max-bundle', iceServers });
    const wanted = this.stream.getTracks().map(track => track.kind);
    const senders = this.stream.getTracks().map(track => connection.addTrack(track, this.stream));
    await connection.setRemoteDescription(offer);
    await viewer.candidates.ready();
    await connection.setLocalDescription(await connection.createAnswer());
    this.signaling.client.sendSdpAnswer(connection.localDescription, from);
    const sent = connection.getTransceivers().filter(t => t.currentDirection?.startsWith('send')).map(t => t.sender.track?.kind);
    // A viewer that asks for no video is not to be told that it gets none.
    const left = wanted.filter(kind => !sent.includes(kind) && new RegExp(`^m=${kind} `, 'm').test(offer.sdp));
    if (left.length) {
      const why = left.includes('video') && !sendsH264() ? ` ${NO_H264}` : ' They share no codec.';
      this.#tell('bad', `Viewer ${id} gets no ${left.join(' and no ')}.${why}`);
    }
    for (const sender of senders) await preferH264(sender);
    this.#changed();
  }

  /** Another camera or microphone in the place of one that is shared: viewers see it go on, nothing is negotiated. */
  async replace(track) {
    const old = this.stream.getTracks().find(shared => shared.kind === track.kind);
    if (!old) throw new Error(`What is shared has no ${track.kind}. Stop, and go live with it.`);
    this.stream.removeTrack(old);
    this.stream.addTrack(track);
    const senders = [...this.viewers.values()].flatMap(viewer => viewer.connection.getSenders());
    await Promise.all(
      senders.filter(sender => sender.track?.kind === track.kind).map(sender => sender.replaceTrack(track)),
    );
    old.stop();
  }

  /** Ends signaling and the connections; the tracks belong to whoever gave them. */
  stop() {
    this.stopped = true;
    this.signaling?.stop();
    for (const viewer of this.viewers.values()) viewer.connection.close();
    this.viewers.clear();
    this.#changed();
  }
}
