// Control plane beside the straight path: clocks, bad members, limits, pages.

import { randomUUID } from 'node:crypto';
import * as kv from '@aws-sdk/client-kinesis-video';
import { GetIceServerConfigCommand, KinesisVideoSignalingClient } from '@aws-sdk/client-kinesis-video-signaling';
import { check, refused, same } from './check.mjs';

const fresh = () => `js-${randomUUID().slice(0, 8)}`;

/** The SDK learns the right time from the Date of the refusal, and tries again. */
export async function clock(options) {
  const list = more => new kv.KinesisVideoClient({ ...options, ...more }).send(new kv.ListStreamsCommand({}));
  const right = Date.now;
  for (const [what, skew] of [['ahead', 3_600_000], ['behind', -3_600_000]]) {
    Date.now = () => right() + skew;
    try {
      await refused(`a clock an hour ${what}`, 'InvalidSignatureException', 403, () => list({}));
      const { $metadata: second } = await list({ maxAttempts: 2 });
      same(`the SDK corrects a clock an hour ${what}`, [second.httpStatusCode, second.attempts], [200, 2]);
    } finally {
      Date.now = right;
    }
  }
}

export async function refusals(client, channel, options) {
  const create = members => client.send(new kv.CreateSignalingChannelCommand(members));
  const stream = members => client.send(new kv.CreateStreamCommand(members));
  for (const [what, member, call] of [
    ['a channel without a name', 'ChannelName', () => create({})],
    ['a channel with a blank in its name', 'ChannelName', () => create({ ChannelName: 'a b' })],
    ['a name of 257 characters', 'ChannelName', () => create({ ChannelName: 'n'.repeat(257) })],
    ['a channel type of no kind', 'ChannelType', () => create({ ChannelName: fresh(), ChannelType: 'STAR' })],
    ['a stream without a name', 'StreamName', () => stream({})],
    ['a negative retention', 'DataRetentionInHours', () => stream({ StreamName: fresh(), DataRetentionInHours: -1 })],
    ['a media type without a slash', 'MediaType', () => stream({ StreamName: fresh(), MediaType: 'video' })],
    ['a device name with a blank', 'DeviceName', () => stream({ StreamName: fresh(), DeviceName: 'a b' })],
    ['a stream that nothing names', 'Stream', () => client.send(new kv.DescribeStreamCommand({}))],
    ['WEBRTC without media storage', 'WEBRTC', () => client.send(new kv.GetSignalingChannelEndpointCommand({
      ChannelARN: channel.arn, SingleMasterChannelEndpointConfiguration: { Protocols: ['WEBRTC'], Role: 'MASTER' },
    }))],
  ]) {
    const message = await refused(what, 'InvalidArgumentException', 400, call);
    check(`the message about ${what} names ${member}`, message.includes(member), message);
  }
  await refused('the data endpoint of a missing stream', 'ResourceNotFoundException', 404, () =>
    client.send(new kv.GetDataEndpointCommand({ StreamName: 'no-such', APIName: 'GET_MEDIA' })));
  const ice = members => new KinesisVideoSignalingClient(options).send(new GetIceServerConfigCommand(members));
  await refused('ICE servers of a missing channel', 'ResourceNotFoundException', 404, () =>
    ice({ ChannelARN: channel.arn.replace(':channel/', ':channel/not-') }));
  await refused('a client id with a blank', 'InvalidArgumentException', 400, () =>
    ice({ ChannelARN: channel.arn, ClientId: 'a b' }));
}

export async function limits(client, channel, stream) {
  const send = command => client.send(command);
  const StreamName = fresh();
  const { StreamARN } = await send(new kv.CreateStreamCommand({ StreamName, Tags: { first: '' } }));
  const { StreamInfo } = await send(new kv.DescribeStreamCommand({ StreamARN }));
  same('a stream keeps nothing unless told', StreamInfo.DataRetentionInHours, 0);
  const storage = (Status, arn) => send(new kv.UpdateMediaStorageConfigurationCommand({
    ChannelARN: channel.arn, MediaStorageConfiguration: { Status, StreamARN: arn },
  }));
  await refused('media storage in it', 'NoDataRetentionException', 400, () => storage('ENABLED', StreamARN));
  await storage('ENABLED', stream.arn);
  const mapped = await send(new kv.DescribeMappedResourceConfigurationCommand({ StreamARN: stream.arn }));
  same('DescribeMappedResourceConfiguration', mapped.MappedResourceConfigurationList, [
    { ARN: channel.arn, Type: 'SIGNALING_CHANNEL' },
  ]);
  await storage('DISABLED', stream.arn);

  await refused('less retention than none', 'InvalidArgumentException', 400, () =>
    send(new kv.UpdateDataRetentionCommand({
      StreamARN, CurrentVersion: StreamInfo.Version, Operation: 'DECREASE_DATA_RETENTION', DataRetentionChangeInHours: 1,
    })));
  const tags = Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`t${n}`, 'naïve tür']));
  await refused('the tag after fifty', 'TagsPerResourceExceededLimitException', 400, () =>
    send(new kv.TagStreamCommand({ StreamName, Tags: tags })));
  const listed = async () => (await send(new kv.ListTagsForStreamCommand({ StreamARN }))).Tags;
  same('of a refused TagStream nothing stays', await listed(), { first: '' });
  await send(new kv.UntagStreamCommand({ StreamName, TagKeyList: ['first', 'never-was'] }));
  await send(new kv.TagStreamCommand({ StreamName, Tags: tags }));
  same('fifty tags, with letters of all kinds', await listed(), tags);

  await refused('deleting an old version', 'VersionMismatchException', 400, () =>
    send(new kv.DeleteStreamCommand({ StreamARN, CurrentVersion: StreamInfo.Version })));
  await send(new kv.DeleteStreamCommand({ StreamARN }));
  const again = await send(new kv.CreateStreamCommand({ StreamName }));
  check('a deleted name is free, for another ARN', again.StreamARN !== StreamARN, again);
  await refused('the old ARN', 'ResourceNotFoundException', 404, () => send(new kv.DescribeStreamCommand({ StreamARN })));
  await send(new kv.DeleteStreamCommand({ StreamARN: again.StreamARN }));
}

export async function pages(client) {
  const prefix = fresh();
  const names = ['a', 'b', 'c'].map(letter => `${prefix}-${letter}`);
  const condition = { ComparisonOperator: 'BEGINS_WITH', ComparisonValue: prefix };
  const settings = { client, pageSize: 2 };
  for (const [operation, paginate, member, name, create, remove] of [
    ['ListSignalingChannels', () => kv.paginateListSignalingChannels(settings, { ChannelNameCondition: condition }),
      'ChannelInfoList', 'ChannelName',
      ChannelName => new kv.CreateSignalingChannelCommand({ ChannelName }),
      ({ ChannelARN, Version }) => new kv.DeleteSignalingChannelCommand({ ChannelARN, CurrentVersion: Version })],
    ['ListStreams', () => kv.paginateListStreams(settings, { StreamNameCondition: condition }),
      'StreamInfoList', 'StreamName',
      StreamName => new kv.CreateStreamCommand({ StreamName }),
      ({ StreamARN, Version }) => new kv.DeleteStreamCommand({ StreamARN, CurrentVersion: Version })],
  ]) {
    for (const one of names) await client.send(create(one));
    const read = async () => {
      const found = [];
      for await (const page of paginate()) found.push(page[member]);
      return found;
    };
    const found = await read();
    same(`${operation}, in pages of two`, found.map(page => page.length), [2, 1]);
    same(`${operation} with a condition`, found.flat().map(info => info[name]).sort(), names);
    for (const info of found.flat()) await client.send(remove(info));
    same(`${operation} without the deleted`, (await read()).flat(), []);
  }
}
