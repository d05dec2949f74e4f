// Signaling of one channel in one role, by AWS's own WebRTC SDK: endpoints, ICE servers, and a connection that comes back.
import { DescribeMediaStorageConfigurationCommand, GetSignalingChannelEndpointCommand } from '@aws-sdk/client-kinesis-video';
import { GetIceServerConfigCommand, KinesisVideoSignalingClient } from '@aws-sdk/client-kinesis-video-signaling';
import {
  JoinStorageSessionAsViewerCommand,
  JoinStorageSessionCommand,
  KinesisVideoWebRTCStorageClient,
} from '@aws-sdk/client-kinesis-video-webrtc-storage';
import { Role, SignalingClient, SigV4RequestSigner } from 'amazon-kinesis-video-streams-webrtc';
import { regionOf } from './server.js';

const RECONNECT_MS = [500, 1000, 2000, 5000];

/** A storage session that takes longer to offer is asked again. */
const OFFER_MS = 6000;

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

/** Events: `open`, `down` (detail: milliseconds until the next try), `offer` and `answer` and `candidate` (detail: `{message, from}`). */
export class Signaling extends EventTarget {
  /** @param {import('./server.js').Server} server  @param {string} arn  @param {string} [clientId] of a viewer; a master has none */
  constructor(server, arn, clientId) {
    super();
    this.server = server;
    this.arn = arn;
    this.clientId = clientId;
    this.role = clientId ? Role.VIEWER : Role.MASTER;
    this.attempt = 0;
    this.stopped = false;
    this.connected = false;
    /** Whether the channel's media is stored: then it is the storage session that offers, and nobody else. */
    this.storage = false;
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  /** Fails when the channel cannot be asked for; what goes down afterwards comes back by itself. */
  async start() {
    const region = regionOf(this.arn);
    const credentials = await this.server.credentials();
    const control = await this.server.control(region);
    const stored = await control.send(new DescribeMediaStorageConfigurationCommand({ ChannelARN: this.arn }));
    this.storage = stored.MediaStorageConfiguration.Status === 'ENABLED';
    const Protocols = this.storage ? ['WSS', 'HTTPS', 'WEBRTC'] : ['WSS', 'HTTPS'];
    const answer = await control.send(
      new GetSignalingChannelEndpointCommand({
        ChannelARN: this.arn,
        SingleMasterChannelEndpointConfiguration: { Protocols, Role: this.role },
      }),
    );
    const endpoints = Object.fromEntries(answer.ResourceEndpointList.map(e => [e.Protocol, e.ResourceEndpoint]));
    this.ice = new KinesisVideoSignalingClient({ region, endpoint: endpoints.HTTPS, credentials });
    this.storing = this.storage && new KinesisVideoWebRTCStorageClient({ region, endpoint: endpoints.WEBRTC, credentials });
    if (this.stopped) return;
    const client = new SignalingClient({
      channelARN: this.arn,
      channelEndpoint: endpoints.WSS,
      role: this.role,
      clientId: this.clientId,
      region,
      credentials,
      requestSigner: new Signer(region, credentials),
    });
    client.on('open', () => {
      this.attempt = 0;
      this.connected = true;
      this.#tell('open');
    });
    client.on('sdpOffer', (message, from) => {
      clearTimeout(this.joining);
      this.#tell('offer', { message, from });
    });
    client.on('sdpAnswer', (message, from) => this.#tell('answer', { message, from }));
    client.on('iceCandidate', (message, from) => this.#tell('candidate', { message, from }));
    client.on('close', () => this.#again());
    client.on('error', error => console.warn('signaling', error));
    this.client = client;
    client.open();
  }

  /** Asks the storage session for an offer, until there is one. Fails in words for people. */
  async join() {
    clearTimeout(this.joining);
    if (this.stopped || !this.connected) return;
    this.joining = setTimeout(() => this.join().catch(error => console.warn('join', error)), OFFER_MS);
    await this.storing.send(
      this.clientId
        ? new JoinStorageSessionAsViewerCommand({ channelArn: this.arn, clientId: this.clientId })
        : new JoinStorageSessionCommand({ channelArn: this.arn }),
    );
  }

  /** Media flows on meanwhile. */
  #again() {
    this.connected = false;
    if (this.stopped) return;
    const wait = RECONNECT_MS[Math.min(this.attempt++, RECONNECT_MS.length - 1)];
    this.#tell('down', wait);
    setTimeout(() => {
      if (!this.stopped) this.start().catch(() => this.#again());
    }, wait);
  }

  /** For an `RTCPeerConnection`; none where they cannot be had, and local candidates have to do. */
  async iceServers() {
    try {
      const answer = await this.ice.send(new GetIceServerConfigCommand({ ChannelARN: this.arn }));
      return answer.IceServerList.map(s => ({ urls: s.Uris, username: s.Username, credential: s.Password }));
    } catch (error) {
      console.warn('no ICE servers', error);
      return [];
    }
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.joining);
    this.client?.close();
  }
}

/** Candidates that come before the description that they belong to wait for it. */
export class Candidates {
  constructor(connection) {
    this.connection = connection;
    this.early = [];
  }

  async add(candidate) {
    if (this.early) this.early.push(candidate);
    else await this.connection.addIceCandidate(candidate).catch(error => console.warn('candidate', error));
  }

  async ready() {
    const early = this.early ?? [];
    this.early = null;
    for (const candidate of early) await this.add(candidate);
  }
}
