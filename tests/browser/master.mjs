// Opens the page of kvs-local in headless Chromium as a master whose camera plays a file (Motion JPEG), and answers one
// JSON line for each line on standard input: `sent` (every video frame that was encoded and sent, by viewer connection),
// `sound` (first and last packet of it, by viewer connection), `messages` (each that was sent over a data channel, by label),
// `state`, `end`, which turns camera, microphone and messages off and leaves the connections, `watch ADDRESS`, which opens the
// view of a channel, live, in a page of its own, or `watched` (its status, and of each picture that it showed the luma of
// 8 × 6 blocks). Ends when standard input does.
// `master.mjs URL FILE [without-h264]`: the last hides H.264 from the page, as Firefox without OpenH264 has none.
import { createInterface } from 'node:readline';
import { launch } from './chromium.mjs';

const [url, camera, without] = process.argv.slice(2);

/** Runs in the page before its own script: a pass-through transform on every video sender. */
function record() {
  const source = `
    const hex = bytes => [...bytes].map(b => b.toString(16).padStart(2, '0')).join('');
    // The coded slices (types 1 and 5) of an Annex B frame.
    function slices(data) {
      const starts = [];
      for (let i = 0; i + 3 <= data.length; i++) {
        if (data[i] === 0 && data[i + 1] === 0 && data[i + 2] === 1) { starts.push(i + 3); i += 2; }
      }
      return starts.map((start, n) => {
        let end = n + 1 < starts.length ? starts[n + 1] - 3 : data.length;
        while (end > start && data[end - 1] === 0) end--;
        return data.subarray(start, end);
      }).filter(unit => [1, 5].includes(unit[0] & 0x1f));
    }
    onrtctransform = async ({ transformer }) => {
      const writer = transformer.writable.getWriter();
      const reader = transformer.readable.getReader();
      for (;;) {
        const { value: frame, done } = await reader.read();
        if (done) return;
        if (transformer.options.kind === 'audio') {
          postMessage({ connection: transformer.options.connection, at: Date.now() });
          await writer.write(frame);
          continue;
        }
        const copy = new Uint8Array(frame.data.slice(0));
        const at = Date.now();
        const { width, height } = frame.getMetadata();
        await writer.write(frame);
        const units = slices(copy);
        const all = new Uint8Array(units.reduce((sum, unit) => sum + unit.length, 0));
        let offset = 0;
        for (const unit of units) { all.set(unit, offset); offset += unit.length; }
        const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', all)).subarray(0, 8);
        postMessage({ connection: transformer.options.connection, at, type: frame.type, width, height, hash: hex(hash) });
      }
    };`;
  const worker = new Worker(URL.createObjectURL(new Blob([source], { type: 'text/javascript' })));
  window.sentFrames = [];
  // When the first and the last packet of sound was encoded, by connection.
  window.sentSound = [];
  worker.onmessage = ({ data }) => {
    if (data.width !== undefined) return window.sentFrames.push(data);
    const span = (window.sentSound[data.connection] ??= { first: data.at });
    span.last = data.at;
  };
  // Twice a second over a channel of its own, and over what its viewer opens, as the pages of the KVS SDK do.
  window.sentMessages = [];
  const talk = channel => {
    let number = 0;
    const timer = setInterval(() => {
      if (window.silent) return clearInterval(timer);
      if (channel.readyState !== 'open') return;
      channel.send(String(number));
      window.sentMessages.push({ label: channel.label, number: number++ });
    }, 500);
  };
  const addTrack = RTCPeerConnection.prototype.addTrack;
  const connections = { audio: 0, video: 0 };
  RTCPeerConnection.prototype.addTrack = function (track, ...streams) {
    const sender = addTrack.call(this, track, ...streams);
    const { kind } = track;
    if (kind === 'video') {
      this.addEventListener('datachannel', ({ channel }) => talk(channel));
      talk(this.createDataChannel('numbers'));
    }
    sender.transform = new RTCRtpScriptTransform(worker, { kind, connection: connections[kind]++ });
    return sender;
  };
}

/** Runs in the page before its own script. */
function hideH264() {
  const capabilities = RTCRtpSender.getCapabilities;
  RTCRtpSender.getCapabilities = kind => {
    const { codecs, ...rest } = capabilities.call(RTCRtpSender, kind);
    return { ...rest, codecs: codecs.filter(codec => codec.mimeType.toLowerCase() !== 'video/h264') };
  };
}

const browser = await launch('--use-fake-device-for-media-stream', `--use-file-for-fake-video-capture=${camera}`);
const page = await browser.newPage();
page.on('pageerror', error => console.error(`page: ${error}`));
page.on('console', message => console.error(`console: ${message.text()}`));
await page.addInitScript(record);
if (without === 'without-h264') await page.addInitScript(hideH264);
await page.goto(url);
console.log(JSON.stringify({ ready: true }));

/** Runs in the page. */
function end() {
  const tracks = document.getElementById('preview').srcObject.getTracks();
  const at = Date.now();
  for (const track of tracks) track.stop();
  window.silent = true;
  return { tracks: tracks.length, at };
}

/** Runs in the page of a viewer: reads what its video shows. */
function look() {
  window.shown = [];
  const canvas = Object.assign(document.createElement('canvas'), { width: 160, height: 120 });
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const watched = () => document.getElementById('watched');
  const next = video => video.requestVideoFrameCallback(() => {
    context.drawImage(video, 0, 0, 160, 120);
    const { data } = context.getImageData(0, 0, 160, 120);
    const blocks = [];
    for (let y = 10; y < 120; y += 20) for (let x = 10; x < 160; x += 20) blocks.push(data[4 * (y * 160 + x) + 1]);
    window.shown.push(blocks);
    next(video);
  });
  const wait = setInterval(() => {
    if (!watched()) return;
    clearInterval(wait);
    next(watched());
  }, 50);
}

let viewer = null;

for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'end') {
    console.log(JSON.stringify(await page.evaluate(end)));
    continue;
  }
  if (line.startsWith('watch ')) {
    viewer = await browser.newPage();
    viewer.on('pageerror', error => console.error(`viewer: ${error}`));
    await viewer.addInitScript(look);
    await viewer.goto(line.slice('watch '.length));
    console.log(JSON.stringify({ opened: true }));
    continue;
  }
  if (line === 'watched') {
    const seen = () => ({ status: document.getElementById('status')?.textContent, shown: window.shown });
    console.log(JSON.stringify(await viewer.evaluate(seen)));
    continue;
  }
  const answer =
    line === 'sent'
      ? await page.evaluate(() => window.sentFrames)
      : line === 'sound'
      ? await page.evaluate(() => window.sentSound)
      : line === 'messages'
      ? await page.evaluate(() => window.sentMessages)
      : await page.evaluate(() => ({
          status: window.kvsLocal.status,
          errors: window.kvsLocal.errors,
          viewers: window.kvsLocal.viewers,
          signaling: window.kvsLocal.signaling,
        }));
  console.log(JSON.stringify(answer));
}
await browser.close();
