// What was sent is what is read: every frame, once, by each way of reading; and the ways of starting.

import { spawn } from 'node:child_process';
import { GetMediaForFragmentListCommand, KinesisVideoArchivedMediaClient, ListFragmentsCommand } from '@aws-sdk/client-kinesis-video-archived-media';
import { GetMediaCommand, KinesisVideoMediaClient } from '@aws-sdk/client-kinesis-video-media';
import { check, read, refused, same } from './check.mjs';
import { documents } from './mkv.mjs';

const TAG = 'AWS_KINESISVIDEO_';
const TOKEN = `${TAG}CONTINUATION_TOKEN`;
const numberOf = document => document.tags[`${TAG}FRAGMENT_NUMBER`];
const isWhole = document => TOKEN in document.tags;

/** `stream` holds `count` video frames in at least three fragments. */
export async function frames(options, stream, count) {
  const archive = new KinesisVideoArchivedMediaClient(options);
  const { Fragments } = await archive.send(new ListFragmentsCommand({ StreamName: stream }));
  const fragments = Fragments.sort((a, b) => a.ProducerTimestamp - b.ProducerTimestamp);
  const numbers = fragments.map(fragment => fragment.FragmentNumber);
  check('fragment numbers rise with time', numbers.every((number, n) => n === 0 || BigInt(number) > BigInt(numbers[n - 1])), numbers);
  check('fragments have sizes', fragments.every(fragment => fragment.FragmentSizeInBytes > 1_000), fragments);
  const gaps = fragments.slice(1).map((next, n) =>
    next.ProducerTimestamp - fragments[n].ProducerTimestamp - fragments[n].FragmentLengthInMilliseconds);
  check('each fragment ends where the next begins', gaps.every(gap => Math.abs(gap) <= 50), gaps);

  const list = await archive.send(new GetMediaForFragmentListCommand({ StreamName: stream, Fragments: numbers }));
  const stored = documents(await read(list.Payload));
  same('GetMediaForFragmentList: a document for each fragment', stored.map(numberOf), numbers);
  same('its clusters have the producer times', stored.map(found => found.clusters[0]), fragments.map(f => f.ProducerTimestamp.getTime()));
  same('its tags too', stored.map(found => Math.round(found.tags[`${TAG}PRODUCER_SIDE_TIMESTAMP`] * 1000)),
    fragments.map(f => f.ProducerTimestamp.getTime()));
  const video = stored.map(found => found.frames.filter(frame => frame.type === 1));
  same('every video frame that was sent is there', video.flat().length, count);
  const times = video.flat().map(frame => frame.time);
  check('each once and in order', times.every((time, n) => n === 0 || time > times[n - 1]), times);
  check('a fragment starts with a key frame', video.every(found => found[0].key), video.map(found => found[0]));
  check('sound is there', stored.every(found => found.frames.some(frame => frame.type === 2)), stored.map(numberOf));

  const client = new KinesisVideoMediaClient(options);
  const media = async StartSelector => (await client.send(new GetMediaCommand({ StreamName: stream, StartSelector }))).Payload;
  const first = async (wanted, selector) => {
    const bytes = await read(await media(selector), seen => documents(seen).filter(isWhole).length >= wanted);
    return documents(bytes).filter(isWhole);
  };
  const all = await first(numbers.length, { StartSelectorType: 'EARLIEST' });
  same('GetMedia has the same frames', all.map(found => found.frames), stored.map(found => found.frames));
  check('it says how far behind now it is', all.every(found => Number(found.tags[`${TAG}MILLIS_BEHIND_NOW`]) >= 0), all.map(found => found.tags));
  const between = new Date(fragments[1].ProducerTimestamp.getTime() + fragments[1].FragmentLengthInMilliseconds / 2);
  for (const [what, selector, expected] of [
    ['goes on after its token', { StartSelectorType: 'CONTINUATION_TOKEN', ContinuationToken: all[0].tags[TOKEN] }, 1],
    ['starts with the fragment that holds the time', { StartSelectorType: 'PRODUCER_TIMESTAMP', StartTimestamp: between }, 1],
    ['starts with the fragment of the time', { StartSelectorType: 'SERVER_TIMESTAMP', StartTimestamp: fragments[2].ServerTimestamp }, 2],
  ]) {
    same(`${selector.StartSelectorType} ${what}`, numberOf((await first(1, selector))[0]), numbers[expected]);
  }
  for (const [what, member, selector] of [
    ['a fragment number of letters', 'AfterFragmentNumber', { StartSelectorType: 'FRAGMENT_NUMBER', AfterFragmentNumber: 'first' }],
    ['no fragment number', 'AfterFragmentNumber', { StartSelectorType: 'FRAGMENT_NUMBER' }],
    ['a token of another service', 'ContinuationToken', { StartSelectorType: 'CONTINUATION_TOKEN', ContinuationToken: 'x' }],
    ['no start', 'StartSelector', undefined],
  ]) {
    const message = await refused(what, 'InvalidArgumentException', 400, () => media(selector));
    check(`the message about ${what} names ${member}`, message.includes(member), message);
  }
  await refused('a list of no fragments', 'InvalidArgumentException', 400, () =>
    archive.send(new GetMediaForFragmentListCommand({ StreamName: stream, Fragments: [] })));
  await now(options, await media({ StartSelectorType: 'NOW' }), stream, numbers);
}

const LIVE = 'videotestsrc num-buffers=90 is-live=true ! video/x-raw,width=320,height=240,framerate=30/1 '
  + '! x264enc tune=zerolatency key-int-max=30 ! h264parse ! video/x-h264,stream-format=avc,alignment=au ! kvssink';

/** A reader that waits at the end gets what comes then. `xtask` names the plugin's folder and kvs-local in the environment. */
async function now(options, waiting, stream, numbers) {
  const producer = spawn('gst-launch-1.0', ['-q', '-e', ...LIVE.split(' '), `stream-name=${stream}`, `aws-region=${options.region}`], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const ended = new Promise((resolve, reject) => {
    producer.on('error', reject);
    producer.on('exit', code => (code === 0 ? resolve() : reject(new Error(`gst-launch-1.0 ended with ${code}`))));
  });
  try {
    // A producer that cannot even start is the better message.
    const reading = read(waiting, seen => documents(seen).filter(isWhole).length >= 2);
    const bytes = await Promise.race([reading, ended.then(() => reading)]);
    const live = documents(bytes).filter(isWhole).map(numberOf);
    check('NOW gives the fragments that come, and none from before', live.every(number => BigInt(number) > BigInt(numbers.at(-1))), live);
    await ended;
  } finally {
    producer.kill();
  }
}
