// Plays what kvs-local has stored in Chromium, with hls.js and dash.js, from a page of another origin:
// node players.mjs http://127.0.0.1:PORT REGION STORED LIVE FRAMES
//
// AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are those of kvs-local. STORED holds FRAMES pictures, 30 a second, with sound; into
// LIVE comes such media now. Each picture carries its number: see `read` below.

import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import {
  GetDASHStreamingSessionURLCommand,
  GetHLSStreamingSessionURLCommand,
  KinesisVideoArchivedMediaClient,
  ListFragmentsCommand,
} from '@aws-sdk/client-kinesis-video-archived-media';
import { GetDataEndpointCommand, KinesisVideoClient } from '@aws-sdk/client-kinesis-video';
import { chromium } from 'playwright-core';
import { broken, check, done } from './check.mjs';

const [endpoint, region, stored, live, count] = process.argv.slice(2);
const FRAMES = Number(count);
const RATE = 30;
/** Far longer than anything here takes. */
const DEADLINE_MS = 60_000;
const credentials = {
  accessKeyId: process.env.AWS_ACCESS_KEY_ID,
  secretAccessKey: process.env.AWS_SECRET_ACCESS_KEY,
};
const control = new KinesisVideoClient({ region, endpoint, credentials });

async function ask(StreamName, APIName, command) {
  const { DataEndpoint } = await control.send(new GetDataEndpointCommand({ StreamName, APIName }));
  return new KinesisVideoArchivedMediaClient({ region, endpoint: DataEndpoint, credentials }).send(command);
}

async function hls(StreamName, members) {
  const command = new GetHLSStreamingSessionURLCommand({ StreamName, ...members });
  return (await ask(StreamName, 'GET_HLS_STREAMING_SESSION_URL', command)).HLSStreamingSessionURL;
}

async function dash(StreamName, members) {
  const command = new GetDASHStreamingSessionURLCommand({ StreamName, ...members });
  return (await ask(StreamName, 'GET_DASH_STREAMING_SESSION_URL', command)).DASHStreamingSessionURL;
}

/** All that is stored, by the producer's time. */
async function everything(StreamName) {
  const { Fragments } = await ask(StreamName, 'LIST_FRAGMENTS', new ListFragmentsCommand({ StreamName }));
  const times = Fragments.map(fragment => fragment.ProducerTimestamp.getTime()).sort((a, b) => a - b);
  const TimestampRange = { StartTimestamp: new Date(times[0]), EndTimestamp: new Date(times.at(-1)) };
  return { FragmentSelectorType: 'PRODUCER_TIMESTAMP', TimestampRange };
}

/** A page with both players and a video element. */
async function page(browser) {
  const file = name => fileURLToPath(import.meta.resolve(name));
  const scripts = {
    '/hls.js': await readFile(file('hls.js/dist/hls.min.js')),
    '/dash.js': await readFile(new URL('./node_modules/dashjs/dist/modern/umd/dash.all.min.js', import.meta.url)),
  };
  const html = '<!doctype html><video muted width=320 height=240></video><script src=/hls.js></script><script src=/dash.js></script>';
  const server = createServer((request, response) => {
    const script = scripts[request.url];
    response.setHeader('content-type', script ? 'text/javascript' : 'text/html');
    response.end(script ?? html);
  });
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
  server.unref();
  const opened = await browser.newPage();
  const address = `http://127.0.0.1:${server.address().port}/`;
  await opened.goto(address);
  return opened;
}

/** Runs in the page: starts a player, and notes each picture that is shown, with its number. */
function start({ url, kind, rate, from }) {
  const video = document.querySelector('video');
  window.errors = [];
  window.shown = [];
  window.ended = false;
  video.addEventListener('ended', () => (window.ended = true));
  video.addEventListener('error', () => window.errors.push(`video: ${video.error?.message}`));
  const canvas = new OffscreenCanvas(320, 240);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  // Squares of 40 pixels: the first row has eight bits of the number, white for 1; the second has them inverted.
  const read = () => {
    context.drawImage(video, 0, 0, 320, 240);
    const { data } = context.getImageData(0, 0, 320, 80);
    const middle = (column, row) => data[((row * 40 + 20) * 320 + column * 40 + 20) * 4];
    let number = 0;
    for (let bit = 0; bit < 8; bit++) {
      const [upper, lower] = [middle(bit, 0), middle(bit, 1)];
      if (Math.abs(upper - lower) < 60) return null;
      if (upper > lower) number |= 1 << bit;
    }
    return number;
  };
  const note = (now, { mediaTime }) => {
    window.shown.push({ mediaTime, number: read() });
    video.requestVideoFrameCallback(note);
  };
  video.requestVideoFrameCallback(note);
  const go = () => {
    video.defaultPlaybackRate = rate;
    video.playbackRate = rate;
    video.play().catch(error => window.errors.push(`play: ${error}`));
  };
  if (kind === 'hls') {
    const hls = (window.player = new Hls({ startPosition: from ?? -1 }));
    hls.on(Hls.Events.ERROR, (_, data) => data.fatal && window.errors.push(`hls.js: ${data.type} ${data.details} ${data.error}`));
    hls.on(Hls.Events.MANIFEST_PARSED, go);
    hls.loadSource(url);
    hls.attachMedia(video);
    window.behind = () => (hls.playingDate ? (Date.now() - hls.playingDate.getTime()) / 1000 : null);
  } else {
    const player = (window.player = dashjs.MediaPlayer().create());
    player.updateSettings({ streaming: { delay: { useSuggestedPresentationDelay: true } } });
    player.on(dashjs.MediaPlayer.events.ERROR, ({ error }) => window.errors.push(`dash.js: ${error.code} ${error.message}`));
    player.on(dashjs.MediaPlayer.events.STREAM_INITIALIZED, go);
    player.initialize(video, url, false, from);
    window.behind = () => player.getCurrentLiveLatency();
  }
}

/** Waits for what is so in the page; what is there when it does not come about is in the failure. */
async function until(what, page, condition, argument) {
  const state = () =>
    page.evaluate(() => {
      const video = document.querySelector('video');
      const buffered = [...Array(video.buffered.length).keys()].map(i => [video.buffered.start(i), video.buffered.end(i)]);
      const { currentTime, duration, readyState } = video;
      return { errors, shown: shown.slice(-3), currentTime, duration, readyState, buffered, behind: behind() };
    });
  try {
    await page.waitForFunction(condition, argument, { timeout: DEADLINE_MS, polling: 100 });
  } catch {
    check(what, false, await state());
  }
  check(what, (await page.evaluate(() => errors)).length === 0, await state());
}

/** From the start to the end, four times as fast; each picture that is seen is the one that was stored for its time. */
async function plays(browser, what, url, kind) {
  const opened = await page(browser);
  await opened.evaluate(start, { url, kind, rate: 4 });
  await until(`${what} plays to its end`, opened, () => ended || errors.length > 0);
  const shown = await opened.evaluate(() => shown);
  const numbers = shown.map(({ number }) => number);
  check(`${what} shows numbered pictures`, numbers.length >= 20 && !numbers.includes(null), numbers);
  const first = shown[0].mediaTime - shown[0].number / RATE;
  // Who is told of a picture may be given the next one to read: it is never one before.
  const late = shown.map(({ mediaTime, number }) => number - (mediaTime - first) * RATE);
  check(`${what} shows none twice or out of order`, late.every(by => by > -0.2), late);
  check(`${what} shows each at its time`, late.filter(by => by < 0.2).length > late.length * 0.7, late);
  check(`${what} shows it all`, numbers[0] < 15 && numbers.at(-1) > FRAMES - 15, [numbers[0], numbers.at(-1)]);
  // Somewhere in the middle, at once.
  await opened.evaluate(() => {
    const video = document.querySelector('video');
    video.pause();
    shown.length = 0;
    video.currentTime = video.seekable.start(0) + 4.5;
  });
  await until(`${what} is sought in`, opened, () => shown.length > 0 || errors.length > 0);
  const [{ number }] = await opened.evaluate(() => shown);
  check(`${what} shows what is there`, Math.abs(number - 4.5 * RATE) <= 2, number);
  await opened.close();
}

/** At the live edge: time goes on, and what is seen is young. */
async function follows(browser, what, url, kind) {
  const opened = await page(browser);
  await opened.evaluate(start, { url, kind, rate: 1 });
  await until(`${what} begins`, opened, () => shown.length > 10 || errors.length > 0);
  const begun = await opened.evaluate(() => document.querySelector('video').currentTime);
  await until(
    `${what} goes on`,
    opened,
    begun => document.querySelector('video').currentTime > begun + 4 || errors.length > 0,
    begun,
  );
  const behind = await opened.evaluate(() => behind());
  check(`${what} is within 6 s of now`, behind > 0 && behind < 6, behind);
  const numbers = (await opened.evaluate(() => shown)).map(({ number }) => number);
  check(`${what} shows numbered pictures`, numbers.every(number => number !== null), numbers);
  await opened.close();
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--autoplay-policy=no-user-gesture-required'],
});
try {
  const chosen = await everything(stored);
  const past = { PlaybackMode: 'ON_DEMAND' };
  for (const ContainerFormat of ['FRAGMENTED_MP4', 'MPEG_TS']) {
    const url = await hls(stored, { ...past, HLSFragmentSelector: chosen, ContainerFormat });
    await plays(browser, `hls.js, ${ContainerFormat}`, url, 'hls');
  }
  await plays(browser, 'dash.js', await dash(stored, { ...past, DASHFragmentSelector: chosen }), 'dash');
  const now = { FragmentSelectorType: 'PRODUCER_TIMESTAMP' };
  const hlsNow = { HLSFragmentSelector: now, DiscontinuityMode: 'ON_DISCONTINUITY', DisplayFragmentTimestamp: 'ALWAYS' };
  await Promise.all([
    follows(browser, 'hls.js, live', await hls(live, hlsNow), 'hls'),
    follows(browser, 'dash.js, live', await dash(live, { DASHFragmentSelector: now }), 'dash'),
  ]);
} catch (error) {
  broken(error);
}
await browser.close();
done();
