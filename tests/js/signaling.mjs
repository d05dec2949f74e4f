// Signaling through the SignalingClient of AWS's WebRTC SDK: a master, viewers, what waits for whom, what is refused.

import { randomUUID } from 'node:crypto';
import * as kv from '@aws-sdk/client-kinesis-video';
import webrtc from 'amazon-kinesis-video-streams-webrtc';
import { WebSocket } from 'ws';
import { check, refused, same } from './check.mjs';

const { Role, SigV4RequestSigner, SignalingClient } = webrtc;
// The SDK looks for the browser's.
globalThis.WebSocket = WebSocket;

const DEADLINE_MS = 20_000;

/** The SDK's signer takes wss:// only; the scheme is no part of what is signed. */
class PlainSigner extends SigV4RequestSigner {
  async getSignedURL(endpoint, members, date) {
    const url = await super.getSignedURL(endpoint.replace(/^ws:/, 'wss:'), members, date);
    return endpoint.startsWith('ws:') ? url.replace(/^wss:/, 'ws:') : url;
  }
}

const offer = text => ({ type: 'offer', sdp: `v=0\r\ns=${text}\r\n` });
const answer = text => ({ type: 'answer', sdp: `v=0\r\ns=${text}\r\n` });
const candidate = text => ({ candidate: `candidate:1 1 udp 1 192.0.2.1 9 typ host ${text}`, sdpMid: '0', sdpMLineIndex: 0 });
/** Its base64 has more than the 10,000 characters that a payload may have. */
const TOO_LONG = candidate('x'.repeat(8_000));

/** A client of the SDK, and everything that it was told, in order. */
class Peer {
  constructor(channel, clientId) {
    const { arn: channelARN, endpoint: channelEndpoint, region, credentials } = channel;
    const role = clientId === undefined ? Role.MASTER : Role.VIEWER;
    this.who = clientId ?? 'the master';
    this.told = [];
    this.wake = () => {};
    this.client = new SignalingClient({
      role, clientId, channelARN, channelEndpoint, region, requestSigner: new PlainSigner(region, credentials),
    });
    for (const event of ['open', 'close', 'error', 'sdpOffer', 'sdpAnswer', 'iceCandidate', 'statusResponse']) {
      this.client.on(event, (what, from) => {
        this.told.push([event, event === 'error' ? what.message : what, from]);
        this.wake();
      });
    }
    this.client.open();
  }

  /** What it was told since the last time, once it is `count` things. */
  async hears(count) {
    const late = Date.now() + DEADLINE_MS;
    while (this.told.length < count) {
      const left = late - Date.now();
      if (left <= 0) throw new Error(`${this.who} was told ${JSON.stringify(this.told)} and no more in ${DEADLINE_MS} ms`);
      let timer;
      await new Promise(resolve => {
        this.wake = resolve;
        timer = setTimeout(resolve, left);
      });
      clearTimeout(timer);
    }
    return this.told.splice(0);
  }

  /** All that it is told up to the refusal that this provokes: messages of one connection keep their order. */
  async untilRefused(id) {
    this.client.sendIceCandidate(TOO_LONG, undefined, id);
    const heard = [];
    do heard.push(...await this.hears(1)); while (heard.at(-1)[1]?.correlationId !== id);
    return heard;
  }
}

async function opened(channel, clientId) {
  const peer = new Peer(channel, clientId);
  const heard = await peer.hears(1);
  same(`${peer.who} connects`, heard[0][0], 'open');
  peer.told.unshift(...heard.slice(1));
  return peer;
}

const refusal = id => [['statusResponse', 'InvalidArgumentException', '400', id]];
const statuses = heard => heard.map(([event, { errorType, statusCode, correlationId }]) => [event, errorType, statusCode, correlationId]);

export async function signaling(client, options) {
  const channel = await make(client, options);
  const first = await early(channel);
  const master = await forwarded(channel);
  const second = await conversation(channel, master, first);
  await held(channel, master);
  await replaced(channel, master, first);
  await strangers(await make(client, options));
  await gone(client, channel, [first, second]);
}

async function make(client, { region, credentials }) {
  const { ChannelARN: arn } = await client.send(new kv.CreateSignalingChannelCommand({ ChannelName: `js-${randomUUID().slice(0, 8)}` }));
  const { ResourceEndpointList } = await client.send(new kv.GetSignalingChannelEndpointCommand({
    ChannelARN: arn, SingleMasterChannelEndpointConfiguration: { Protocols: ['WSS'], Role: 'VIEWER' },
  }));
  same('an endpoint for each protocol that was asked for', ResourceEndpointList.map(found => found.Protocol), ['WSS']);
  return { arn, region, credentials, endpoint: ResourceEndpointList[0].ResourceEndpoint };
}

/** A viewer that offers before there is a master. */
async function early(channel) {
  const first = await opened(channel, 'first');
  first.client.sendSdpOffer(offer('old'), undefined, 'offer-1');
  first.client.sendIceCandidate(candidate('a'));
  first.client.sendSdpOffer(offer('new'), undefined, 'offer-2');
  first.client.sendIceCandidate(candidate('b'));
  first.client.sendIceCandidate(TOO_LONG);
  same('a payload that is too long is refused, and nothing else is answered',
    statuses(await first.untilRefused('too-long')), refusal('too-long'));
  return first;
}

async function forwarded(channel) {
  const master = await opened(channel);
  same('the master gets what waited: the newest offer and all candidates', await master.hears(3), [
    ['sdpOffer', offer('new'), 'first'],
    ['iceCandidate', candidate('a'), 'first'],
    ['iceCandidate', candidate('b'), 'first'],
  ]);
  return master;
}

async function conversation(channel, master, first) {
  const second = await opened(channel, 'second');
  second.client.sendSdpOffer(offer('second'));
  second.client.sendIceCandidate(candidate('of second'));
  same('an offer and a candidate of the second viewer', await master.hears(2), [
    ['sdpOffer', offer('second'), 'second'],
    ['iceCandidate', candidate('of second'), 'second'],
  ]);
  for (const viewer of ['second', 'first']) {
    master.client.sendSdpAnswer(answer(`to ${viewer}`), viewer, `answer-${viewer}`);
    master.client.sendIceCandidate(candidate(`to ${viewer}`), viewer);
  }
  for (const viewer of [first, second]) {
    same(`${viewer.who} gets its answer and candidate`, await viewer.hears(2), [
      ['sdpAnswer', answer(`to ${viewer.who}`), undefined],
      ['iceCandidate', candidate(`to ${viewer.who}`), undefined],
    ]);
    same(`${viewer.who} gets no other's`, statuses(await viewer.untilRefused('end')), refusal('end'));
  }
  first.client.sendIceCandidate(candidate('late'));
  same('a later candidate goes straight to the master', await master.hears(1), [['iceCandidate', candidate('late'), 'first']]);
  return second;
}

/** The service documents no error for a recipient that is not there: it may yet come. */
async function held(channel, master) {
  master.client.sendSdpAnswer(answer('early'), 'third', 'unknown-recipient');
  master.client.sendIceCandidate(candidate('early'), 'third');
  master.client.sendSdpAnswer(answer('to nobody'), undefined);
  master.client.sendSdpAnswer(answer('to nobody'), undefined, 'no-recipient');
  same('a master that names no recipient is refused, if it gave a correlation id; an absent one is no error',
    statuses(await master.hears(1)), refusal('no-recipient'));
  const third = await opened(channel, 'third');
  same('what was sent to a viewer waits for it', await third.hears(2), [
    ['sdpAnswer', answer('early'), undefined],
    ['iceCandidate', candidate('early'), undefined],
  ]);
  third.client.close();
  same('a client can close', (await third.hears(1))[0][0], 'close');
}

async function replaced(channel, old, viewer) {
  const master = await opened(channel);
  same('a second master ends the first', (await old.hears(1)).map(([event]) => event), ['close']);
  viewer.client.sendSdpOffer(offer('again'));
  same('and gets the offers', await master.hears(1), [['sdpOffer', offer('again'), 'first']]);
  master.client.close();
  same('a master can close', (await master.hears(1))[0][0], 'close');
}

/** `channel` is fresh: too many handshakes a second would be refused too. */
async function strangers(channel) {
  const { accessKeyId, secretAccessKey } = channel.credentials;
  for (const [what, status, changes, clientId] of [
    ['a wrong secret', 403, { credentials: { accessKeyId, secretAccessKey: 'wrong' } }, 'stranger'],
    ['an unknown key', 403, { credentials: { accessKeyId: 'AKIAWRONG', secretAccessKey } }, 'stranger'],
    ['a master with a wrong secret', 403, { credentials: { accessKeyId, secretAccessKey: 'wrong' } }],
    ['a missing channel', 404, { arn: channel.arn.replace(':channel/', ':channel/not-') }, 'stranger'],
    ['a client id with a blank', 400, {}, 'a b'],
  ]) {
    const peer = new Peer({ ...channel, ...changes }, clientId);
    const [error, end] = await peer.hears(2);
    same(`${what} is refused with ${status}`, [...error, end[0]], ['error', `Unexpected server response: ${status}`, undefined, 'close']);
  }
}

async function gone(client, channel, viewers) {
  await client.send(new kv.DeleteSignalingChannelCommand({ ChannelARN: channel.arn }));
  for (const viewer of viewers) {
    same(`the end of the channel is the end of ${viewer.who}`, (await viewer.hears(1)).map(([event]) => event), ['close']);
  }
  await refused('the endpoint of a deleted channel', 'ResourceNotFoundException', 404, () =>
    client.send(new kv.GetSignalingChannelEndpointCommand({
      ChannelARN: channel.arn, SingleMasterChannelEndpointConfiguration: { Protocols: ['WSS'], Role: 'MASTER' },
    })));
  check('a deleted channel has no client left', viewers.every(viewer => viewer.told.length === 0), viewers.map(viewer => viewer.told));
}
