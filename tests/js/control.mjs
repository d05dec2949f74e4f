// Control plane: channels, streams, tags, endpoints, ICE servers.

import { randomUUID } from 'node:crypto';
import * as kv from '@aws-sdk/client-kinesis-video';
import { GetIceServerConfigCommand, KinesisVideoSignalingClient } from '@aws-sdk/client-kinesis-video-signaling';
import { check, refused } from './check.mjs';

export async function channels(client, options) {
  const name = `js-${randomUUID().slice(0, 8)}`;
  const send = command => client.send(command);
  const made = await send(
    new kv.CreateSignalingChannelCommand({
      ChannelName: name,
      SingleMasterConfiguration: { MessageTtlSeconds: 30 },
      Tags: [{ Key: 'made-by', Value: 'js' }],
    }),
  );
  const arn = made.ChannelARN;
  check('CreateSignalingChannel', arn.split(':')[5].startsWith(`channel/${name}/`), arn);
  const described = (await send(new kv.DescribeSignalingChannelCommand({ ChannelName: name }))).ChannelInfo;
  check('DescribeSignalingChannel by name', described.ChannelARN === arn && described.ChannelStatus === 'ACTIVE', described);
  check('CreationTime is a Date', described.CreationTime instanceof Date, described);
  check('MessageTtlSeconds', described.SingleMasterConfiguration.MessageTtlSeconds === 30, described);
  await refused('a second channel of the name', 'ResourceInUseException', 400, () =>
    send(new kv.CreateSignalingChannelCommand({ ChannelName: name })));
  await refused('a missing channel', 'ResourceNotFoundException', 404, () =>
    send(new kv.DescribeSignalingChannelCommand({ ChannelName: 'no-such' })));
  const message = await refused('a TTL of 121 s', 'InvalidArgumentException', 400, () =>
    send(new kv.CreateSignalingChannelCommand({ ChannelName: 'x', SingleMasterConfiguration: { MessageTtlSeconds: 121 } })));
  check('the message names the member', message.includes('MessageTtlSeconds'), message);
  const change = version =>
    send(new kv.UpdateSignalingChannelCommand({
      ChannelARN: arn, CurrentVersion: version, SingleMasterConfiguration: { MessageTtlSeconds: 90 },
    }));
  await change(described.Version);
  await refused('an old version', 'VersionMismatchException', 400, () => change(described.Version));

  await send(new kv.TagResourceCommand({ ResourceARN: arn, Tags: [{ Key: 'floor', Value: '2' }] }));
  await send(new kv.UntagResourceCommand({ ResourceARN: arn, TagKeyList: ['made-by'] }));
  const tags = (await send(new kv.ListTagsForResourceCommand({ ResourceARN: arn }))).Tags;
  check('TagResource, UntagResource, ListTagsForResource', JSON.stringify(tags) === '{"floor":"2"}', tags);

  const endpoints = {};
  for (const role of ['MASTER', 'VIEWER']) {
    const answer = await send(new kv.GetSignalingChannelEndpointCommand({
      ChannelARN: arn, SingleMasterChannelEndpointConfiguration: { Protocols: ['WSS', 'HTTPS'], Role: role },
    }));
    for (const { Protocol, ResourceEndpoint } of answer.ResourceEndpointList) endpoints[Protocol] = ResourceEndpoint;
    check(`GetSignalingChannelEndpoint as ${role}`, /^wss?:/.test(endpoints.WSS) && /^https?:/.test(endpoints.HTTPS), endpoints);
  }
  const signaling = new KinesisVideoSignalingClient({ ...options, endpoint: endpoints.HTTPS });
  const ice = (await signaling.send(new GetIceServerConfigCommand({ ChannelARN: arn, ClientId: 'js-viewer' }))).IceServerList;
  check('GetIceServerConfig', ice.length > 0 && ice.every(s => s.Uris.every(uri => /^turns?:/.test(uri))), ice);
  check('its credentials have a life', ice.every(s => s.Username && s.Password && s.Ttl >= 30 && s.Ttl <= 86400), ice);

  const seen = [];
  for await (const page of kv.paginateListSignalingChannels({ client, pageSize: 1 }, {})) {
    seen.push(...page.ChannelInfoList.map(info => info.ChannelName));
  }
  check('ListSignalingChannels, page by page', seen.includes(name) && new Set(seen).size === seen.length, seen);
  return { name, arn };
}

export async function streams(client) {
  const name = `js-${randomUUID().slice(0, 8)}`;
  const send = command => client.send(command);
  const arn = (await send(new kv.CreateStreamCommand({ StreamName: name, DataRetentionInHours: 2, MediaType: 'video/h264' }))).StreamARN;
  const describe = async () => (await send(new kv.DescribeStreamCommand({ StreamName: name }))).StreamInfo;
  let info = await describe();
  check('CreateStream, DescribeStream', info.StreamARN === arn && info.Status === 'ACTIVE' && info.DataRetentionInHours === 2, info);
  await refused('a second stream of the name', 'ResourceInUseException', 400, () => send(new kv.CreateStreamCommand({ StreamName: name })));
  await refused('a missing stream', 'ResourceNotFoundException', 404, () => send(new kv.DescribeStreamCommand({ StreamName: 'no-such' })));
  await refused('a name with a space', 'InvalidArgumentException', 400, () => send(new kv.CreateStreamCommand({ StreamName: 'a b' })));
  const retain = (version, operation) =>
    send(new kv.UpdateDataRetentionCommand({
      StreamName: name, CurrentVersion: version, Operation: operation, DataRetentionChangeInHours: 1,
    }));
  await retain(info.Version, 'INCREASE_DATA_RETENTION');
  await refused('an old version', 'VersionMismatchException', 400, () => retain(info.Version, 'INCREASE_DATA_RETENTION'));
  info = await describe();
  check('UpdateDataRetention up', info.DataRetentionInHours === 3, info);
  await retain(info.Version, 'DECREASE_DATA_RETENTION');
  info = await describe();
  check('UpdateDataRetention down', info.DataRetentionInHours === 2, info);
  await send(new kv.UpdateStreamCommand({ StreamName: name, CurrentVersion: info.Version, DeviceName: 'front' }));
  check('UpdateStream', (await describe()).DeviceName === 'front');

  await send(new kv.TagStreamCommand({ StreamName: name, Tags: { a: '1', b: '2' } }));
  await send(new kv.UntagStreamCommand({ StreamName: name, TagKeyList: ['a'] }));
  const tags = (await send(new kv.ListTagsForStreamCommand({ StreamName: name }))).Tags;
  check('TagStream, UntagStream, ListTagsForStream', JSON.stringify(tags) === '{"b":"2"}', tags);
  for (const api of ['PUT_MEDIA', 'GET_MEDIA', 'LIST_FRAGMENTS', 'GET_MEDIA_FOR_FRAGMENT_LIST']) {
    const { DataEndpoint } = await send(new kv.GetDataEndpointCommand({ StreamName: name, APIName: api }));
    check(`GetDataEndpoint ${api}`, /^https?:\/\/[^/]+$/.test(DataEndpoint), DataEndpoint);
  }
  const found = await send(new kv.ListStreamsCommand({
    StreamNameCondition: { ComparisonOperator: 'BEGINS_WITH', ComparisonValue: name },
  }));
  check('ListStreams with a condition', found.StreamInfoList.map(s => s.StreamARN).join() === arn, found.StreamInfoList);
  return { name, arn };
}

export async function mediaStorage(client, channel, stream) {
  const send = command => client.send(command);
  const configure = Status =>
    send(new kv.UpdateMediaStorageConfigurationCommand({
      ChannelARN: channel.arn, MediaStorageConfiguration: Status === 'ENABLED' ? { Status, StreamARN: stream.arn } : { Status },
    }));
  const describe = async () =>
    (await send(new kv.DescribeMediaStorageConfigurationCommand({ ChannelARN: channel.arn }))).MediaStorageConfiguration;
  await configure('ENABLED');
  const on = await describe();
  check('UpdateMediaStorageConfiguration', on.Status === 'ENABLED' && on.StreamARN === stream.arn, on);
  await configure('DISABLED');
  check('media storage can be switched off', (await describe()).Status === 'DISABLED');
}

export async function strangers(options) {
  const wrong = (accessKeyId, secretAccessKey) =>
    new kv.KinesisVideoClient({ ...options, credentials: { accessKeyId, secretAccessKey } }).send(new kv.ListStreamsCommand({}));
  await refused('an unknown key', 'UnrecognizedClientException', 403, () => wrong('AKIAWRONG', 'wrong'));
  const known = process.env.AWS_ACCESS_KEY_ID;
  const message = await refused('a wrong secret', 'InvalidSignatureException', 403, () => wrong(known, 'wrong'));
  check('the message says what was signed', /signature/i.test(message), message);
}

export async function deletion(client, channel, stream) {
  const send = command => client.send(command);
  await refused('deleting another version of a channel', 'VersionMismatchException', 400, () =>
    send(new kv.DeleteSignalingChannelCommand({ ChannelARN: channel.arn, CurrentVersion: 'old' })));
  await send(new kv.DeleteSignalingChannelCommand({ ChannelARN: channel.arn }));
  await refused('a deleted channel', 'ResourceNotFoundException', 404, () =>
    send(new kv.DescribeSignalingChannelCommand({ ChannelARN: channel.arn })));
  await send(new kv.DeleteStreamCommand({ StreamARN: stream.arn }));
  await refused('a deleted stream', 'ResourceNotFoundException', 404, () => send(new kv.DescribeStreamCommand({ StreamARN: stream.arn })));
}
