// A KVS WebRTC master in the browser, on AWS's own SDKs.
import {
  CreateSignalingChannelCommand,
  DescribeSignalingChannelCommand,
  GetSignalingChannelEndpointCommand,
  KinesisVideoClient,
} from '@aws-sdk/client-kinesis-video';
import { GetIceServerConfigCommand, KinesisVideoSignalingClient } from '@aws-sdk/client-kinesis-video-signaling';
import { Role, SignalingClient, SigV4RequestSigner } from 'amazon-kinesis-video-streams-webrtc';

const RECONNECT_MS = [500, 1000, 2000, 5000];

/** Signs the `wss://` URL, and opens it as `ws://` on plain localhost: the signature does not cover the scheme. */
class Signer {
  constructor(region, credentials) {
    this.signer = new SigV4RequestSigner(region, credentials);
  }

  async getSignedURL(endpoint, parameters, date) {
    const plain = endpoint.startsWith('ws://');
    const url = await this.signer.getSignedURL(endpoint.replace(/^ws:/, 'wss:'), parameters, date);
    return plain ? url.replace(/^wss:/, 'ws:') : url;
  }
}

/** One viewer: its connection, and the candidates that came before its offer was set. */
class Viewer {
  constructor(id, connection) {
    this.id = id;
    this.connection = connection;
    this.ready = false;
    this.early = [];
  }

  async candidate(candidate) {
    if (!this.ready) {
      this.early.push(candidate);
      return;
    }
    await this.connection.addIceCandidate(candidate).catch(error => console.warn('candidate', error));
  }
}

/** Whether this browser can send H.264, the one video codec that a viewer stores and that KVS plays back. */
export function sendsH264() {
  const codecs = globalThis.RTCRtpSender?.getCapabilities?.('video')?.codecs;
  // A browser that does not say what it can do is left to try.
  return !codecs || codecs.some(codec => codec.mimeType.toLowerCase() === 'video/h264');
}

/** What to do where it cannot. */
export const NO_H264 =
  'This browser cannot send H.264, and KVS viewers store no other video. In Firefox, let "OpenH264 Video Codec" be ' +
  'installed and always activated (about:addons, Plugins), and reload this page; or use Chrome, Edge or Safari.';

export class Master extends EventTarget {
  /** @param config of `/_kvs/config`  @param stream what is shared */
  constructor(config, channel, stream) {
    super();
    this.config = config;
    this.channel = channel;
    this.stream = stream;
    this.viewers = new Map();
    this.attempt = 0;
    this.stopped = false;
    this.connected = false;
    const credentials = { accessKeyId: config.accessKeyId, secretAccessKey: config.secretAccessKey };
    this.credentials = credentials;
    this.kinesis = new KinesisVideoClient({ region: config.region, endpoint: location.origin, credentials });
  }

  tell(kind, text) {
    this.dispatchEvent(new CustomEvent('status', { detail: { kind, text } }));
  }

  async start() {
    this.arn = await this.findOrCreate();
    await this.connect();
  }

  async findOrCreate() {
    try {
      const found = await this.kinesis.send(new DescribeSignalingChannelCommand({ ChannelName: this.channel }));
      return found.ChannelInfo.ChannelARN;
    } catch (error) {
      if (error.name !== 'ResourceNotFoundException') throw error;
    }
    const made = await this.kinesis.send(new CreateSignalingChannelCommand({ ChannelName: this.channel }));
    return made.ChannelARN;
  }

  async connect() {
    const answer = await this.kinesis.send(
      new GetSignalingChannelEndpointCommand({
        ChannelARN: this.arn,
        SingleMasterChannelEndpointConfiguration: { Protocols: ['WSS', 'HTTPS'], Role: Role.MASTER },
      }),
    );
    const endpoints = Object.fromEntries(answer.ResourceEndpointList.map(e => [e.Protocol, e.ResourceEndpoint]));
    this.https = endpoints.HTTPS;
    const client = new SignalingClient({
      channelARN: this.arn,
      channelEndpoint: endpoints.WSS,
      role: Role.MASTER,
      region: this.config.region,
      credentials: this.credentials,
      requestSigner: new Signer(this.config.region, this.credentials),
    });
    client.on('open', () => {
      this.attempt = 0;
      this.connected = true;
      this.tell('good', `Sharing on channel ${this.channel}.`);
    });
    client.on('sdpOffer', (offer, id) => this.offer(offer, id).catch(error => this.tell('bad', `Viewer ${id}: ${error.message}`)));
    client.on('iceCandidate', (candidate, id) => this.viewers.get(id)?.candidate(candidate));
    client.on('close', () => this.again());
    client.on('error', error => console.warn('signaling', error));
    this.client = client;
    client.open();
  }

  /** The connections to viewers live on; only signaling is made anew. */
  again() {
    this.connected = false;
    if (this.stopped) return;
    const wait = RECONNECT_MS[Math.min(this.attempt++, RECONNECT_MS.length - 1)];
    this.tell('bad', `Signaling is down; connecting again in ${wait / 1000} s.`);
    setTimeout(() => {
      if (!this.stopped) this.connect().catch(() => this.again());
    }, wait);
  }

  async iceServers() {
    const client = new KinesisVideoSignalingClient({
      region: this.config.region,
      endpoint: this.https,
      credentials: this.credentials,
    });
    const answer = await client.send(new GetIceServerConfigCommand({ ChannelARN: this.arn }));
    return answer.IceServerList.map(s => ({ urls: s.Uris, username: s.Username, credential: s.Password }));
  }

  async offer(offer, id) {
    // A second offer of the same viewer replaces its connection.
    this.viewers.get(id)?.connection.close();
    const connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    const viewer = new Viewer(id, connection);
    this.viewers.set(id, viewer);
    connection.addEventListener('icecandidate', ({ candidate }) => {
      if (candidate?.candidate) this.client.sendIceCandidate(candidate, id);
    });
    connection.addEventListener('connectionstatechange', () => {
      if (['failed', 'closed'].includes(connection.connectionState) && this.viewers.get(id) === viewer) {
        connection.close();
        this.viewers.delete(id);
      }
      this.dispatchEvent(new Event('viewers'));
    });
    const servers = await this.iceServers().catch(error => {
      console.warn('no ICE servers', error);
      return [];
    });
    if (servers.length) connection.setConfiguration({ bundlePolicy: 'max-bundle', iceServers: servers });
    const wanted = this.stream.getTracks().map(track => track.kind);
    const senders = this.stream.getTracks().map(track => connection.addTrack(track, this.stream));
    await connection.setRemoteDescription(offer);
    viewer.ready = true;
    for (const candidate of viewer.early.splice(0)) await viewer.candidate(candidate);
    const answer = await connection.createAnswer();
    await connection.setLocalDescription(answer);
    this.client.sendSdpAnswer(connection.localDescription, id);
    const sent = connection.getTransceivers().filter(t => t.currentDirection?.startsWith('send')).map(t => t.sender.track?.kind);
    // A viewer that asks for no video is not to be told that it gets none.
    const left = wanted.filter(kind => !sent.includes(kind) && new RegExp(`^m=${kind} `, 'm').test(offer.sdp));
    if (left.length) {
      const why = left.includes('video') && !sendsH264() ? ` ${NO_H264}` : ' They share no codec.';
      this.tell('bad', `Viewer ${id} gets no ${left.join(' and no ')}.${why}`);
    }
    for (const sender of senders) await preferH264(sender);
    this.dispatchEvent(new Event('viewers'));
  }

  stop() {
    this.stopped = true;
    this.client?.close();
    for (const viewer of this.viewers.values()) viewer.connection.close();
    this.viewers.clear();
    for (const track of this.stream.getTracks()) track.stop();
  }
}

/**
 * KVS streams hold H.264. A viewer that offers other codecs too would get the first of them from Chromium, whatever the
 * answer prefers; this is what decides. Nothing to do where H.264 was not negotiated.
 */
async function preferH264(sender) {
  if (sender.track?.kind !== 'video') return;
  const parameters = sender.getParameters();
  const h264 = parameters.codecs.find(codec => codec.mimeType.toLowerCase() === 'video/h264');
  if (h264) {
    for (const encoding of parameters.encodings) encoding.codec = h264;
  }
  await sender.setParameters(parameters).catch(error => console.warn('H.264 preference', error));
}
