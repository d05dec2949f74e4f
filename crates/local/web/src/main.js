// The page: a form that shares a camera, and tables that follow the server's events.
import { Master, NO_H264, sendsH264 } from './master.js';

const element = id => document.getElementById(id);
const parameters = new URLSearchParams(location.search);
let master = null;

/** For tests: what the page knows. */
window.kvsLocal = {
  state: null,
  status: '',
  errors: [],
  get viewers() {
    return [...(master?.viewers.values() ?? [])].map(v => ({ id: v.id, state: v.connection.connectionState }));
  },
  get signaling() {
    return master?.connected ?? false;
  },
};

function status(kind, text) {
  const line = element('status');
  line.className = kind;
  line.textContent = text;
  window.kvsLocal.status = text;
  if (kind === 'bad') window.kvsLocal.errors.push(text);
}

/** Why a camera could not be had, in words that help. */
function explain(error) {
  switch (error.name) {
    case 'NotAllowedError':
      return 'The browser was not allowed to use the camera or microphone. Allow it in the address bar and try again.';
    case 'NotFoundError':
      return 'No camera or microphone was found. Connect one, or untick what you do not have.';
    case 'NotReadableError':
      return 'The camera or microphone is in use by another program.';
    case 'Error':
      return error.message;
    default:
      return `${error.name}: ${error.message}`;
  }
}

async function start() {
  const channel = element('channel').value.trim();
  if (!navigator.mediaDevices) {
    throw new Error('A browser gives the camera only to pages on localhost or https. Open this page as http://localhost or http://127.0.0.1.');
  }
  const video = element('video').checked && {
    width: { ideal: Number(parameters.get('width')) || 1280 },
    height: { ideal: Number(parameters.get('height')) || 720 },
    frameRate: { ideal: Number(parameters.get('fps')) || 30 },
  };
  const audio = element('audio').checked;
  if (!video && !audio) throw new Error('Tick camera, microphone or both.');
  if (video && !sendsH264()) throw new Error(audio ? `${NO_H264} The microphone alone can be shared: untick the camera.` : NO_H264);
  status('', 'Asking for camera and microphone…');
  const stream = await navigator.mediaDevices.getUserMedia({ video, audio });
  element('preview').srcObject = stream;
  status('', 'Connecting…');
  const answer = await fetch('/_kvs/config');
  const config = await answer.json();
  if (!answer.ok) throw new Error(config.Message);
  master = new Master(config, channel, stream);
  master.addEventListener('status', ({ detail }) => status(detail.kind, detail.text));
  master.addEventListener('viewers', showViewers);
  await master.start();
}

function stop(text = 'Nothing is shared.') {
  master?.stop();
  master = null;
  element('preview').srcObject = null;
  element('start').disabled = false;
  element('stop').disabled = true;
  showViewers();
  status('', text);
}

function showViewers() {
  element('viewers').replaceChildren(
    ...window.kvsLocal.viewers.map(viewer => {
      const item = document.createElement('li');
      item.textContent = `${viewer.id}: ${viewer.state}`;
      return item;
    }),
  );
}

function row(cells) {
  const line = document.createElement('tr');
  for (const cell of cells) {
    const data = document.createElement('td');
    data.append(cell ?? '–');
    line.append(data);
  }
  return line;
}

function empty(columns, text) {
  const line = document.createElement('tr');
  const data = document.createElement('td');
  data.colSpan = columns;
  data.className = 'empty';
  data.textContent = text;
  line.append(data);
  return line;
}

function download(stream) {
  if (!stream.fragments) return '';
  const link = document.createElement('a');
  link.className = 'button';
  link.href = `/_kvs/streams/${encodeURIComponent(stream.name)}/media.mkv?region=${encodeURIComponent(stream.region)}`;
  link.textContent = 'Download MKV';
  return link;
}

function seconds(ms) {
  const s = ms / 1000;
  return s < 60 ? `${s.toFixed(1)} s` : `${Math.floor(s / 60)} min ${Math.round(s % 60)} s`;
}

function bytes(count) {
  return count < 1e6 ? `${Math.round(count / 1e3)} kB` : `${(count / 1e6).toFixed(1)} MB`;
}

function show(state) {
  window.kvsLocal.state = state;
  element('channels').replaceChildren(
    ...(state.channels.length
      ? state.channels.map(c => row([c.name, c.master ? 'connected' : 'none', c.viewers.length ? c.viewers.join(', ') : 'none']))
      : [empty(3, 'No channel yet. Start sharing, and one is made.')]),
  );
  element('streams').replaceChildren(
    ...(state.streams.length
      ? state.streams.map(s =>
          row([
            s.name,
            String(s.fragments),
            seconds(s.durationMs),
            String(s.frames),
            bytes(s.bytes),
            s.width ? `${s.width}×${s.height}` : null,
            s.codecs.join(', ') || null,
            s.lastFragment ? new Date(s.lastFragment.producerMs).toLocaleTimeString() : null,
            download(s),
          ]),
        )
      : [empty(9, 'No stream yet. The agent creates one when its manifest says so.')]),
  );
}

element('channel').value = parameters.get('channel') ?? 'front-door-camera';
element('video').checked = parameters.get('video') !== '0';
element('audio').checked = parameters.get('audio') !== '0';
element('form').addEventListener('submit', event => {
  event.preventDefault();
  element('start').disabled = true;
  element('stop').disabled = false;
  start().catch(error => {
    stop();
    status('bad', explain(error));
  });
});
element('stop').addEventListener('click', () => stop());

const events = new EventSource('/_kvs/events');
events.addEventListener('state', event => show(JSON.parse(event.data)));
if (parameters.get('start') === '1') element('form').requestSubmit();
