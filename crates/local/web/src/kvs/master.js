// A KVS WebRTC master in the browser: it answers every viewer with what is shared.
import { CreateSignalingChannelCommand, DescribeSignalingChannelCommand } from '@aws-sdk/client-kinesis-video';
import { NO_H264, preferH264, sendsH264 } from '../media/h264.js';
import { Candidates, Signaling } from './signaling.js';

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
    signaling.addEventListener('open', () => this.#tell('good', `Sharing on channel ${this.channel}.`));
    signaling.addEventListener('down', ({ detail }) =>
      this.#tell('bad', `Signaling is down; connecting again in ${detail / 1000} s.`),
    );
    signaling.addEventListener('offer', ({ detail: { message, from } }) =>
      this.#offer(message, from).catch(error => this.#tell('bad', `Viewer ${from}: ${error.message}`)),
    );
    signaling.addEventListener('candidate', ({ detail: { message, from } }) => this.viewers.get(from)?.candidates.add(message));
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

  async #offer(offer, id) {
    // A second offer of the same viewer replaces its connection.
    this.viewers.get(id)?.connection.close();
    const connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    const viewer = { id, connection, candidates: new Candidates(connection) };
    this.viewers.set(id, viewer);
    connection.addEventListener('icecandidate', ({ candidate }) => {
      if (candidate?.candidate) this.signaling.client.sendIceCandidate(candidate, id);
    });
    connection.addEventListener('connectionstatechange', () => {
      if (['failed', 'closed'].includes(connection.connectionState) && this.viewers.get(id) === viewer) {
        connection.close();
        this.viewers.delete(id);
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
    this.signaling.client.sendSdpAnswer(connection.localDescription, id);
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
