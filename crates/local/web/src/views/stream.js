// One stream: its player, its timeline, clips, figures of its uploads, faults.
import { h, icon, say, set } from '../lib/dom.js';
import { ago, bytes, count, duration, moment } from '../lib/format.js';
import { back, download, full, minus, pause, play, plus, scissors, silent, sound } from '../lib/icons.js';
import { to } from '../lib/router.js';
import { Playback } from '../kvs/playback.js';
import { Player } from '../player/player.js';
import { DAY, HOUR, MINUTE, Scale } from '../timeline/scale.js';
import { caption, Timeline } from '../timeline/timeline.js';
import { Thumbnails } from '../timeline/thumbnails.js';
import { dot, empty, figures, heading, pill } from './common.js';
import { faults } from './faults.js';

/** What a clip is at first, where it is played. */
const CLIP_MS = 10_000;
/** The time shown at first, at most. */
const FIRST_MS = 10 * MINUTE;

export function streamView({ server, rest }) {
  const name = rest[0] ?? '';
  const outer = h('div', {}, h('a', { class: 'back', href: to('streams') }, icon(back), 'Streams'), heading(name));
  let inner = null;
  const missing = empty('No such stream', `There is no stream ${name}, or no longer.`);
  missing.hidden = true;
  outer.append(missing);
  return {
    title: name,
    element: outer,
    update({ streams }) {
      const stream = streams.find(stream => stream.name === name);
      missing.hidden = Boolean(stream);
      if (!stream) {
        inner?.close();
        inner?.element.remove();
        inner = null;
        return;
      }
      if (!inner) {
        inner = opened(server, stream);
        outer.append(inner.element);
      }
      inner.update(stream);
    },
    close: () => inner?.close(),
  };
}

/** The end of what is stored. */
export const endOf = stream => (stream.lastFragment ? stream.lastFragment.producerMs + stream.lastFragment.durationMs : Date.now());

function opened(server, first) {
  let stream = first;
  const { name } = stream;
  const end = endOf(stream);
  const begin = stream.firstMs ?? end - MINUTE;
  const margin = Math.max(1000, 0.04 * Math.min(FIRST_MS, end - begin));
  const scale = new Scale(Math.max(begin, end - FIRST_MS) - margin, end + margin);
  const load = (from, to, resolution) => server.timeline(stream, from, to, resolution);
  const playback = new Playback(server, stream);
  const timeline = new Timeline(scale, load, { name });
  const thumbnails = new Thumbnails(timeline, playback);
  const video = h('video', { id: 'player', playsinline: true, 'aria-label': `Recording of ${name}` });
  video.muted = true;
  const player = new Player(playback, video, load);

  const message = h('p', {});
  const overlay = h('div', { class: 'stage-idle' }, message);
  const when = h('output', { class: 'clock', id: 'clock', 'aria-label': 'Time of the picture' });
  const badge = h('span', { class: 'badge live', text: 'Live', hidden: true });
  const stage = h('div', { class: 'stage' }, video, overlay, h('div', { class: 'badges' }, badge));
  const toggle = h('button', { type: 'button', id: 'play', onclick: () => (player.mode === 'idle' ? from(timeline.playhead ?? stream.firstMs) : player.toggle()) });
  const live = h('button', { type: 'button', id: 'go-live', text: 'Live', onclick: () => player.live() });
  const mute = h('button', { type: 'button', class: 'round', onclick: () => ((video.muted = !video.muted), controls()) });
  const large = h('button', { type: 'button', class: 'round', 'aria-label': 'Full screen', title: 'Full screen', onclick: () => stage.requestFullscreen?.() }, icon(full));

  function from(ms, play = true) {
    if (ms === null || ms === undefined) return;
    player.seek(ms, stream.firstMs ?? ms, endOf(stream), play);
  }
  function controls() {
    const playing = player.mode !== 'idle' && !video.paused;
    set(toggle, 'aria-label', playing ? 'Pause' : 'Play');
    toggle.replaceChildren(icon(playing ? pause : play), playing ? 'Pause' : 'Play');
    set(mute, 'aria-label', video.muted ? 'Sound on' : 'Sound off');
    mute.replaceChildren(icon(video.muted ? silent : sound));
    set(live, 'aria-pressed', String(player.mode === 'live'));
    badge.hidden = player.mode !== 'live';
  }
  player.addEventListener('change', () => {
    const at = player.moment;
    if (at !== undefined) {
      timeline.playhead = at;
      say(when, moment(at, 1));
      if (player.mode === 'live' || (!video.paused && at > scale.to)) follow(at);
    }
    say(message, player.message || (player.mode === 'idle' ? 'Click the timeline, or press Live.' : ''));
    overlay.hidden = !message.textContent;
    controls();
  });
  /** Moves on with what is played, when that leaves the right tenth. */
  function follow(at) {
    if (at > scale.to - scale.length / 10) scale.show(at - scale.length * 0.6, at + scale.length * 0.4);
  }
  timeline.addEventListener('seek', ({ detail: { moment, play } }) => from(moment, play));

  const text = caption(timeline, () => (stream.fragments ? `${count(stream.fragments, 'fragment')}, ${duration(stream.durationMs)}, since ${moment(stream.firstMs)}` : 'Nothing is stored yet.'));
  const zooms = [
    ['Day', DAY],
    ['Hour', HOUR],
    ['Minute', MINUTE],
    ['10 s', 10_000],
    ['Second', 1000],
  ].map(([label, length]) =>
    h('button', { type: 'button', text: label, onclick: () => {
      const middle = timeline.playhead ?? Math.min((scale.from + scale.to) / 2, endOf(stream));
      scale.show(middle - length / 2, middle + length / 2);
    } }),
  );
  const whole = h('button', { type: 'button', text: 'All', onclick: () => {
    const last = endOf(stream);
    const start = stream.firstMs ?? last - MINUTE;
    const edge = Math.max(500, 0.02 * (last - start));
    scale.show(start - edge, last + edge);
  } });
  const nearer = h('button', { type: 'button', class: 'round', 'aria-label': 'Zoom in', title: 'Zoom in', onclick: () => scale.zoom(0.5, timeline.playhead ?? undefined) }, icon(plus));
  const farther = h('button', { type: 'button', class: 'round', 'aria-label': 'Zoom out', title: 'Zoom out', onclick: () => scale.zoom(2, timeline.playhead ?? undefined) }, icon(minus));

  const clip = cutter({ timeline, playback, name, load, extent: () => [stream.firstMs, endOf(stream)] });
  const uploads = figures([
    ['open', 'Sessions now'],
    ['sessions', 'Sessions in all'],
    ['persisted', 'Fragments stored'],
    ['bytes', 'Bytes received'],
    ['lag', 'Lag'],
    ['refused', 'Refused'],
    ['errors', 'Errors'],
    ['cut', 'Cut off'],
  ]);
  const facts = figures([['state', 'Receives'], ['length', 'Length'], ['size', 'Size'], ['picture', 'Picture'], ['codecs', 'Codecs'], ['last', 'Last fragment']]);
  const status = pill();
  const broken = faults(server, { stream: name, region: stream.region });

  const element = h(
    'div',
    { class: 'stack' },
    h(
      'div',
      { class: 'split' },
      h('section', { class: 'panel', 'aria-label': 'Player' }, stage, h('div', { class: 'buttons player' }, toggle, live, mute, large, when)),
      h(
        'div',
        { class: 'stack' },
        h('section', { class: 'panel', 'aria-labelledby': 'stored' }, h('div', { class: 'top' }, h('h2', { id: 'stored', text: 'Stored' }), status.element), facts.element),
        h('section', { class: 'panel', 'aria-labelledby': 'uploads' }, h('h2', { id: 'uploads', text: 'Uploads' }), uploads.element, broken.element),
      ),
    ),
    h(
      'section',
      { class: 'panel', 'aria-labelledby': 'timeline-title' },
      h(
        'div',
        { class: 'top' },
        h('h2', { id: 'timeline-title', text: 'Timeline' }),
        h('div', { class: 'buttons tools segments', role: 'group', 'aria-label': 'Zoom' }, farther, whole, zooms, nearer),
      ),
      thumbnails.element,
      timeline.element,
      text.line,
      clip.element,
    ),
  );
  player.changed();
  return {
    element,
    update(now) {
      // One that was deleted and made again is another.
      if (now.firstMs !== stream.firstMs) timeline.tiles.clear();
      stream = now;
      timeline.extent(now.firstMs ?? endOf(now), endOf(now));
      text.refresh();
      status.update(now.status);
      facts.update({
        state: now.putMedia.open ? 'yes' : 'no',
        length: now.fragments ? duration(now.durationMs) : null,
        size: now.fragments ? bytes(now.bytes) : null,
        picture: now.width ? `${now.width} × ${now.height}` : null,
        codecs: now.codecs.join(', ') || null,
        last: now.lastFragment ? ago(now.lastFragment.persistedMs) : null,
      });
      const { putMedia } = now;
      const errors = Object.entries(putMedia.errors);
      uploads.update({
        open: String(putMedia.open),
        sessions: String(putMedia.sessions),
        persisted: String(putMedia.persisted),
        bytes: bytes(putMedia.bytes),
        lag: now.lagMs === null ? null : duration(now.lagMs),
        refused: String(putMedia.refused),
        errors: errors.length ? errors.map(([id, times]) => `${id}: ${times}`).join(', ') : 'none',
        cut: String(putMedia.cut),
      });
      broken.update(now.faults);
      live.disabled = now.putMedia.open === 0 && player.mode !== 'live';
      toggle.disabled = now.fragments === 0;
      clip.enable(now.fragments > 0);
    },
    close() {
      player.close();
      timeline.close();
      thumbnails.close();
    },
  };
}

/** Cutting a clip by two handles. */
function cutter({ timeline, playback, name, load, extent }) {
  const words = h('p', { class: 'hint', role: 'status' });
  const begin = h('button', { type: 'button', onclick: () => (timeline.selection ? done() : open()) }, icon(scissors), h('span', { text: 'Cut a clip' }));
  const save = h('button', { type: 'button', class: 'primary', hidden: true, onclick: () => get() }, icon(download), 'Download MP4');
  const describe = ({ from, to }) => say(words, `${moment(from, 1)} to ${moment(to, 1)}, ${duration(to - from)}. Whole fragments are cut. Drag the handles, or move them with the arrow keys.`);
  timeline.addEventListener('select', ({ detail }) => describe(detail));
  function open() {
    const [first, last] = extent();
    const { scale } = timeline;
    const length = Math.min(CLIP_MS, scale.length / 2, last - first);
    const middle = Math.min(Math.max(timeline.playhead ?? (Math.max(scale.from, first) + Math.min(scale.to, last)) / 2, first + length / 2), last - length / 2);
    timeline.select({ from: middle - length / 2, to: middle + length / 2 });
    save.hidden = false;
    say(begin.lastChild, 'No clip');
    describe(timeline.selection);
    timeline.start.focus();
  }
  function done() {
    timeline.select(null);
    save.hidden = true;
    say(begin.lastChild, 'Cut a clip');
    say(words, '');
  }
  async function get() {
    const { from, to } = timeline.selection;
    save.disabled = true;
    say(words, 'Cutting…');
    try {
      // The service takes fragments that begin within the range: the one that is shown at its start begins before.
      const { spans } = await load(Math.floor(from), Math.floor(from) + 1, 1);
      const begin = spans[0]?.fromMs ?? Math.floor(from);
      const url = URL.createObjectURL(await playback.clip(begin, Math.ceil(to)));
      const file = `${name}-${new Date(from).toISOString().replace(/[:.]/g, '-')}.mp4`;
      h('a', { href: url, download: file }).click();
      // The download has begun, and holds what it needs.
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
      say(words, `${file} is downloaded.`);
    } catch (error) {
      say(words, `No clip: ${error.message}`);
    } finally {
      save.disabled = false;
    }
  }
  return {
    element: h('div', { class: 'buttons clip' }, begin, save, words),
    enable: on => (begin.disabled = !on),
  };
}
