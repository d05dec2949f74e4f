// Several streams side by side on one clock: how a meeting of several cameras is watched.
import { h, icon, say, set } from '../lib/dom.js';
import { moment } from '../lib/format.js';
import { minus, pause, play, plus } from '../lib/icons.js';
import { to } from '../lib/router.js';
import { Playback } from '../kvs/playback.js';
import { Player } from '../player/player.js';
import { MINUTE, Scale } from '../timeline/scale.js';
import { Timeline } from '../timeline/timeline.js';
import { Clock } from '../player/together.js';
import { empty, heading } from './common.js';
import { endOf } from './stream.js';

export function togetherView({ server, rest }) {
  const wanted = [...new Set(rest)];
  const choose = h('div', { class: 'buttons', role: 'group', 'aria-label': 'Streams' });
  const none = empty('Choose two streams or more', 'They are shown side by side, each picture at the same moment of the clock.');
  const body = h('div', {});
  const element = h('div', {}, heading('Side by side', 'Several streams on one clock'), h('div', { class: 'panel' }, choose), none, body);
  let inner = null;
  let names = '';
  return {
    title: 'Side by side',
    element,
    update({ streams }) {
      const now = streams.map(stream => stream.name).join('\n');
      if (now !== names) {
        names = now;
        choose.replaceChildren(
          ...streams.map(({ name }) => {
            const shown = wanted.includes(name);
            const others = shown ? wanted.filter(other => other !== name) : [...wanted, name];
            return h('a', { class: shown ? 'button chosen' : 'button', href: to('together', ...others), text: name, 'aria-current': shown ? 'true' : null });
          }),
        );
      }
      const shown = wanted.map(name => streams.find(stream => stream.name === name)).filter(Boolean);
      none.hidden = shown.length >= 2;
      if (shown.length < 2) return;
      if (!inner) {
        inner = wall(server, shown);
        body.append(inner.element);
      }
      inner.update(shown);
    },
    close: () => inner?.close(),
  };
}

function wall(server, streams) {
  const last = Math.max(...streams.map(endOf));
  const first = Math.min(...streams.map(stream => stream.firstMs ?? last));
  const from = Math.max(first, last - 10 * MINUTE);
  const scale = new Scale(from - 1000, last + 1000);
  const when = h('output', { class: 'clock', 'aria-label': 'Time of the pictures' });
  const tiles = streams.map(stream => {
    const video = h('video', { playsinline: true, 'aria-label': `Recording of ${stream.name}` });
    video.muted = true;
    const note = h('p', {});
    const overlay = h('div', { class: 'stage-idle' }, note);
    const load = (a, b, resolution) => server.timeline(stream, a, b, resolution);
    const player = new Player(new Playback(server, stream), video, load);
    const tile = { stream, player, note, overlay };
    tile.timeline = new Timeline(scale, load, { name: stream.name, lane: true });
    tile.timeline.addEventListener('seek', ({ detail }) => clock.seek(detail.moment));
    tile.element = h('div', { class: 'tile' }, h('div', { class: 'stage' }, video, overlay), h('h2', {}, h('a', { href: to('streams', stream.name), text: stream.name })));
    tile.lane = h('div', { class: 'lane-row' }, h('span', { class: 'name', text: stream.name }), tile.timeline.element);
    return tile;
  });
  const clock = new Clock(
    tiles.map(tile => tile.player),
    () => tiles.map(({ stream }) => ({ first: stream.firstMs ?? 0, last: endOf(stream) })),
  );
  const toggle = h('button', { type: 'button', class: 'primary', onclick: () => clock.toggle() });
  clock.addEventListener('change', () => {
    const { now, playing } = clock;
    toggle.replaceChildren(icon(playing ? pause : play), playing ? 'Pause' : 'Play');
    say(when, moment(now, 1));
    for (const { player, timeline, note, overlay } of tiles) {
      timeline.playhead = now;
      say(note, player.message || (player.covers(now) ? '' : 'Nothing is stored of this moment.'));
      overlay.hidden = !note.textContent;
    }
    if (playing && now > scale.to) scale.show(now - scale.length * 0.1, now + scale.length * 0.9);
  });
  clock.seek(from);
  const zoom = (label, path, factor) => h('button', { type: 'button', class: 'round', 'aria-label': label, title: label, onclick: () => scale.zoom(factor, clock.now) }, icon(path));
  const element = h(
    'div',
    { class: 'stack' },
    h('div', { class: 'wall' }, tiles.map(tile => tile.element)),
    h(
      'section',
      { class: 'panel', 'aria-label': 'Timelines' },
      h('div', { class: 'buttons' }, toggle, zoom('Zoom out', minus, 2), zoom('Zoom in', plus, 0.5), when),
      h('div', { class: 'lanes' }, tiles.map(tile => tile.lane)),
    ),
  );
  return {
    element,
    update(now) {
      for (const tile of tiles) {
        tile.stream = now.find(stream => stream.arn === tile.stream.arn) ?? tile.stream;
        tile.timeline.extent(tile.stream.firstMs ?? endOf(tile.stream), endOf(tile.stream));
      }
    },
    close() {
      clock.close();
      for (const { player, timeline } of tiles) {
        player.close();
        timeline.close();
      }
    },
  };
}
