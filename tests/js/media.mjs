// What is stored: ListFragments, GetMediaForFragmentList, GetMedia.

import { GetDataEndpointCommand } from '@aws-sdk/client-kinesis-video';
import {
  GetMediaForFragmentListCommand, KinesisVideoArchivedMediaClient, ListFragmentsCommand, paginateListFragments,
} from '@aws-sdk/client-kinesis-video-archived-media';
import { GetMediaCommand, KinesisVideoMediaClient } from '@aws-sdk/client-kinesis-video-media';
import { check, read, refused } from './check.mjs';

const EBML = Buffer.from([0x1a, 0x45, 0xdf, 0xa3]);
const CLUSTER = Buffer.from([0x1f, 0x43, 0xb6, 0x75]);

const isMatroska = bytes => bytes.subarray(0, 4).equals(EBML) && bytes.includes(CLUSTER);

/** `stream` holds at least three fragments. */
export async function media(client, options, stream) {
  const endpoint = async api => (await client.send(new GetDataEndpointCommand({ StreamName: stream, APIName: api }))).DataEndpoint;
  const archive = new KinesisVideoArchivedMediaClient({ ...options, endpoint: await endpoint('LIST_FRAGMENTS') });
  const all = (await archive.send(new ListFragmentsCommand({ StreamName: stream }))).Fragments;
  check('ListFragments lists at least three', all.length >= 3, all.length);
  check('timestamps are Dates', all.every(f => f.ProducerTimestamp instanceof Date && f.ServerTimestamp instanceof Date), all[0]);
  const numbers = all.map(fragment => fragment.FragmentNumber).sort((a, b) => (BigInt(a) < BigInt(b) ? -1 : 1));
  const paged = [];
  for await (const page of paginateListFragments({ client: archive, pageSize: 2 }, { StreamName: stream })) {
    check('a page of two holds at most two', page.Fragments.length <= 2, page.Fragments.length);
    paged.push(...page.Fragments.map(fragment => fragment.FragmentNumber));
  }
  check('the pages are the whole', JSON.stringify(paged.sort()) === JSON.stringify([...numbers].sort()), paged);
  const times = all.map(fragment => fragment.ProducerTimestamp.getTime()).sort((a, b) => a - b);
  const selected = await archive.send(new ListFragmentsCommand({
    StreamName: stream,
    FragmentSelector: {
      FragmentSelectorType: 'PRODUCER_TIMESTAMP',
      TimestampRange: { StartTimestamp: new Date(times[1] - 1000), EndTimestamp: new Date(times[1] + 1000) },
    },
  }));
  check('PRODUCER_TIMESTAMP selects', selected.Fragments.length > 0 && selected.Fragments.length < all.length, selected.Fragments.length);

  const list = await archive.send(new GetMediaForFragmentListCommand({ StreamName: stream, Fragments: numbers.slice(0, 2) }));
  const bytes = await read(list.Payload);
  check('GetMediaForFragmentList is Matroska', isMatroska(bytes), bytes.length);
  check('it names both fragments', numbers.slice(0, 2).every(number => bytes.includes(number)));
  check('and no other', !bytes.includes(numbers[2]));

  const live = new KinesisVideoMediaClient({ ...options, endpoint: await endpoint('GET_MEDIA') });
  const start = async selector => (await live.send(new GetMediaCommand({ StreamName: stream, StartSelector: selector }))).Payload;
  const whole = await read(await start({ StartSelectorType: 'EARLIEST' }), seen => numbers.every(number => seen.includes(number)));
  check('GetMedia from EARLIEST has all fragments', isMatroska(whole) && numbers.every(number => whole.includes(number)));
  const places = numbers.map(number => whole.indexOf(number));
  check('in the order of their numbers', places.every((place, index) => index === 0 || place > places[index - 1]), places);
  const after = await read(await start({ StartSelectorType: 'FRAGMENT_NUMBER', AfterFragmentNumber: numbers[0] }), seen => seen.includes(numbers[1]));
  check('FRAGMENT_NUMBER starts after it', after.includes(numbers[1]) && !after.includes(numbers[0]));

  await refused('a missing stream', 'ResourceNotFoundException', 404, () => archive.send(new ListFragmentsCommand({ StreamName: 'no-such' })));
  await refused('MaxResults 1001', 'InvalidArgumentException', 400, () =>
    archive.send(new ListFragmentsCommand({ StreamName: stream, MaxResults: 1001 })));
  await refused('a fragment that is not there', 'ResourceNotFoundException', 404, () =>
    archive.send(new GetMediaForFragmentListCommand({ StreamName: stream, Fragments: ['1'] })));
}
