// Going live: choose, see oneself, share, and see who receives.
import { h, icon, list, say, set } from '../lib/dom.js';
import { ago, bytes } from '../lib/format.js';
import { camera } from '../lib/icons.js';
import { to } from '../lib/router.js';
import { choices, NONE, SCREEN } from '../media/devices.js';
import { Level, share } from '../media/level.js';
import { heading } from './common.js';

const SIZES = [[640, 360], [1280, 720], [1920, 1080], [3840, 2160]];
const RATES = [15, 24, 30, 60];
/** A stream whose last fragment is older does not receive now, though a session may be open. */
const RECEIVES_MS = 15_000;

function select(id, label, options) {
  const control = h('select', { id }, options.map(([value, text]) => h('option', { value, text })));
  return { control, element: h('div', { class: 'field' }, h('label', { for: id, text: label }), control) };
}

/** Shows other options, and keeps what is chosen if it is still there. */
function offer(control, options) {
  const chosen = control.value;
  control.replaceChildren(...options.map(([value, text]) => h('option', { value, text })));
  control.value = options.some(([value]) => value === chosen) ? chosen : options[0][0];
}

export function liveView({ server, sharing, wishes, query }) {
  const channel = h('input', { id: 'channel', name: 'channel', required: true, maxlength: 256, pattern: '[a-zA-Z0-9_.\\-]+', autocomplete: 'off', title: 'Letters, digits, and _ . -' });
  channel.value = sharing.master?.channel ?? query.get('channel') ?? wishes.channel;
  const picture = select('picture', 'Picture', [['', 'Camera'], [SCREEN, 'Screen or window…'], [NONE, 'No picture']]);
  const sound = select('sound', 'Microphone', [['', 'Microphone'], [NONE, 'No sound']]);
  const size = select('size', 'Resolution', SIZES.map(([w, h]) => [`${w}x${h}`, `${w} × ${h}`]));
  const rate = select('rate', 'Frame rate', RATES.map(n => [String(n), `${n} a second`]));
  picture.control.value = wishes.picture;
  sound.control.value = wishes.sound;
  size.control.value = wishes.size;
  rate.control.value = wishes.rate;

  const start = h('button', { id: 'start', class: 'primary', type: 'submit', text: 'Go live' });
  const preview = h('button', { id: 'try', type: 'button', text: 'Preview', onclick: () => sharing.preview(wanted()) });
  const stop = h('button', { id: 'stop', class: 'danger', type: 'button', text: 'Stop', onclick: () => sharing.stop() });
  const status = h('p', { id: 'status', role: 'status' });
  const video = h('video', { id: 'preview', autoplay: true, playsinline: true, 'aria-label': 'Your picture' });
  // The attribute alone does not silence a video that is made by a script.
  video.muted = true;
  const badge = h('span', { class: 'badge live', text: 'Live' });
  const actual = h('span', { class: 'badge', hidden: true });
  const idle = h('div', { class: 'stage-idle' }, icon(camera), h('p', { text: 'Your picture appears here.' }));
  const bar = h('div', { class: 'fill' });
  const meter = h('div', { class: 'meter', role: 'meter', 'aria-label': 'Level of the microphone, in decibels to full scale', 'aria-valuemin': -60, 'aria-valuemax': 0, 'aria-valuenow': -60 }, bar);
  const viewers = h('ul', { id: 'viewers', class: 'rows', 'aria-label': 'Viewers' });
  const noViewers = h('p', { class: 'hint' });
  const recordings = h('ul', { class: 'rows', 'aria-label': 'Recordings' });
  const noRecordings = h('p', { class: 'hint' });
  const outputs = h('ul', { class: 'rows', 'aria-label': 'Outputs' });
  const noOutputs = h('p', { class: 'hint' });

  /** As the form says. */
  function wanted() {
    const [width, height] = size.control.value.split('x').map(Number);
    return { picture: picture.control.value, sound: sound.control.value, width, height, frameRate: Number(rate.control.value) };
  }

  const form = h(
    'form',
    {
      id: 'form',
      class: 'panel',
      onsubmit: event => {
        event.preventDefault();
        sharing.goLive(channel.value.trim(), wanted());
      },
    },
    h('div', { class: 'field' }, h('label', { for: 'channel', text: 'Channel' }), channel),
    picture.element,
    sound.element,
    h('div', { class: 'pair' }, size.element, rate.element),
    h('div', { class: 'buttons' }, start, stop, preview),
    status,
  );
  for (const part of [picture, sound, size, rate]) {
    part.control.addEventListener('change', () => {
      Object.assign(wishes, { picture: picture.control.value, sound: sound.control.value, size: size.control.value, rate: rate.control.value });
      sharing.change(wanted());
    });
  }

  async function devices() {
    const { cameras, microphones } = await choices();
    offer(picture.control, [...(cameras.length ? cameras : [['', 'Camera']]), [SCREEN, 'Screen or window…'], [NONE, 'No picture']]);
    offer(sound.control, [...(microphones.length ? microphones : [['', 'Microphone']]), [NONE, 'No sound']]);
  }
  const replugged = () => devices();
  navigator.mediaDevices?.addEventListener('devicechange', replugged);
  devices();

  const showViewers = list(viewers, viewer => viewer.id, ({ id }) => {
    const state = h('span', { class: 'dot' });
    return {
      element: h('li', {}, h('span', { class: 'name', text: id }), state),
      update(viewer) {
        say(state, viewer.state);
        set(state, 'class', viewer.state === 'connected' ? 'dot on' : 'dot');
      },
    };
  });
  const showRecordings = list(recordings, stream => stream.arn, ({ name }) => {
    const state = h('span', { class: 'dot' });
    const more = h('span', { class: 'hint' });
    return {
      element: h('li', {}, h('a', { class: 'name', href: to('streams', name), text: name }), state, more),
      update({ lastFragment, bytes: size, durationMs }) {
        const end = lastFragment ? lastFragment.persistedMs : 0;
        const receives = Date.now() - end < RECEIVES_MS;
        say(state, receives ? 'receives' : lastFragment ? 'connected, nothing new' : 'connected, nothing yet');
        set(state, 'class', receives ? 'dot on' : 'dot');
        say(more, lastFragment ? `last fragment ${ago(end)} · ${bytes(size)}` : '');
      },
    };
  });

  // An agent's outputs have names of their own, and two agents may use the same.
  const showOutputs = list(outputs, output => output.key, ({ name }) => {
    const state = h('span', { class: 'dot' });
    const more = h('span', { class: 'hint' });
    return {
      element: h('li', {}, h('span', { class: 'name', text: name }), state, more),
      update(output) {
        const receives = output.state === 'Receiving';
        say(state, receives ? 'receives' : output.state.toLowerCase());
        set(state, 'class', receives ? 'dot on' : 'dot');
        say(more, output.message);
      },
    };
  });

  let level = null;
  let shown = null;
  function showLevel(db) {
    bar.style.transform = `scaleX(${share(db)})`;
    set(meter, 'aria-valuenow', Math.round(db));
  }
  function render() {
    const { stream, live } = sharing;
    if (video.srcObject !== stream) video.srcObject = stream;
    const track = stream?.getAudioTracks()[0] ?? null;
    if (track !== shown) {
      level?.stop();
      shown = track;
      level = track ? new Level(new MediaStream([track]), showLevel) : null;
      if (!track) showLevel(-60);
      devices();
    }
    idle.hidden = stream !== null;
    badge.hidden = !live;
    start.disabled = preview.disabled = live;
    stop.disabled = !live && !stream;
    channel.disabled = live;
    set(status, 'class', sharing.status.kind);
    say(status, sharing.status.text);
    showViewers(sharing.viewers);
    noViewers.hidden = sharing.viewers.length > 0;
    say(noViewers, live ? 'Nobody watches yet.' : 'Who watches is shown here while you are live.');
  }
  video.addEventListener('resize', () => {
    actual.hidden = !video.videoWidth;
    const settings = sharing.stream?.getVideoTracks()[0]?.getSettings();
    say(actual, `${video.videoWidth} × ${video.videoHeight}${settings?.frameRate ? ` · ${Math.round(settings.frameRate)} fps` : ''}`);
  });
  sharing.addEventListener('change', render);
  render();

  const element = h(
    'div',
    {},
    heading('Go live', 'Share a camera, a microphone or a screen as the master of a channel'),
    h(
      'div',
      { class: 'split' },
      h(
        'section',
        { class: 'panel', 'aria-label': 'Preview' },
        h('div', { class: 'stage' }, video, idle, h('div', { class: 'badges' }, badge, actual)),
        h('div', { class: 'level' }, h('span', { class: 'hint', text: 'Level' }), meter),
      ),
      h(
        'div',
        { class: 'stack' },
        form,
        h('section', { class: 'panel', 'aria-labelledby': 'who' }, h('h2', { id: 'who', text: 'Viewers' }), viewers, noViewers),
        h('section', { class: 'panel', 'aria-labelledby': 'what' }, h('h2', { id: 'what', text: 'Recordings' }), recordings, noRecordings),
        h('section', { class: 'panel', 'aria-labelledby': 'where' }, h('h2', { id: 'where', text: 'Outputs' }), outputs, noOutputs),
      ),
    ),
  );
  return {
    title: 'Go live',
    element,
    update({ streams, outputs: all }) {
      const receiving = streams.filter(stream => stream.putMedia.open > 0);
      showRecordings(receiving);
      noRecordings.hidden = receiving.length > 0;
      showOutputs(all.map((output, index) => ({ ...output, key: `${index} ${output.name}` })));
      noOutputs.hidden = all.length > 0;
      say(noOutputs, 'No agent is known to send it elsewhere. POST /_kvs/agents names one.');
      say(noRecordings, 'No stream receives now. A viewer that records, such as the agent, opens one when media flows.');
    },
    close() {
      level?.stop();
      sharing.removeEventListener('change', render);
      navigator.mediaDevices?.removeEventListener('devicechange', replugged);
      video.srcObject = null;
    },
  };
}
