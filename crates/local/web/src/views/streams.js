// Every stream: what it holds, whether it receives, and what can be done with it.
import { h, icon, list, say, set } from '../lib/dom.js';
import { field, form, NAME } from '../lib/dialog.js';
import { ago, bytes, count, duration } from '../lib/format.js';
import { beside, download, edit, film, plus, trash } from '../lib/icons.js';
import { to } from '../lib/router.js';
import { Playback } from '../kvs/playback.js';
import { dot, empty, figures, heading, pill } from './common.js';

/** The last picture of a stream is asked for again after this, while it receives. */
const POSTER_MS = 10_000;
const POSTER_HEIGHT = 360;

const HOURS = value =>
  field(
    'Hours that media is kept',
    { name: 'hours', type: 'number', min: 0, max: 87_600, required: true, value },
    { hint: 'DataRetentionInHours, up to ten years. With 0 nothing is stored.' },
  );

export function streamsView({ server }) {
  const chosen = new Set();
  const together = h('a', { class: 'button' }, icon(beside), h('span', { text: 'Side by side' }));
  const choose = () => {
    together.hidden = chosen.size < 2;
    set(together, 'href', to('together', ...chosen));
  };
  const create = h('button', { class: 'primary', type: 'button', onclick: () => createStream(server) }, icon(plus), 'New stream');
  const cards = h('ul', { class: 'cards', 'aria-label': 'Streams' });
  const show = list(cards, stream => stream.arn, stream => card(server, stream, chosen, choose));
  const none = empty('No stream yet', 'A stream keeps what was recorded. A client that sends media creates one, and so does the agent when its manifest says so.');
  choose();
  return {
    title: 'Streams',
    element: h('div', {}, heading('Streams', 'What was recorded, and what is being recorded', together, create), none, cards),
    update({ streams }) {
      none.hidden = streams.length > 0;
      for (const name of chosen) if (!streams.some(stream => stream.name === name)) chosen.delete(name);
      choose();
      show(streams);
    },
  };
}

function card(server, stream, chosen, choose) {
  const { name, arn, region } = stream;
  const status = pill();
  const receives = h('span', { class: 'dot' });
  const facts = figures([['length', 'Length'], ['size', 'Size'], ['picture', 'Picture'], ['codecs', 'Codecs'], ['last', 'Last fragment'], ['kept', 'Kept for']]);
  const check = h('input', { type: 'checkbox', id: `choose-${name}`, onchange: () => (check.checked ? chosen.add(name) : chosen.delete(name), choose()) });
  const save = h('a', { class: 'button', href: `/_kvs/streams/${encodeURIComponent(name)}/media.mkv?region=${encodeURIComponent(region)}` }, icon(download), 'Download MKV');
  const poster = h('img', { alt: '', hidden: true });
  const playback = new Playback(server, stream);
  let asked = 0;
  let pictured = null;
  /** What the last fragment shows. Without it the place stays dark. */
  async function picture({ lastFragment }) {
    if (!lastFragment || lastFragment.number === pictured || Date.now() - asked < POSTER_MS) return;
    asked = Date.now();
    pictured = lastFragment.number;
    try {
      const url = await playback.image(lastFragment.producerMs, POSTER_HEIGHT);
      if (!url) return;
      poster.src = url;
      poster.hidden = false;
    } catch (error) {
      console.info('no picture', error.message);
    }
  }
  let now = stream;
  const change = h('button', { class: 'quiet round', type: 'button', 'aria-label': `Edit ${name}`, title: 'Edit', onclick: () => editStream(server, now) }, icon(edit));
  const remove = h('button', { class: 'quiet round', type: 'button', 'aria-label': `Delete ${name}`, title: 'Delete', onclick: () => deleteStream(server, name, arn) }, icon(trash));
  const element = h(
    'li',
    { class: 'card' },
    h('a', { class: 'poster', href: to('streams', name), tabindex: '-1', 'aria-hidden': 'true' }, icon(film), poster),
    h('div', { class: 'top' }, h('h2', {}, h('a', { href: to('streams', name), text: name })), status.element, h('div', { class: 'tools' }, change, remove)),
    h('div', { class: 'presence' }, receives),
    facts.element,
    h('div', { class: 'buttons' }, h('a', { class: 'button primary', href: to('streams', name), text: 'Open' }), save, h('label', { class: 'check', for: check.id }, check, 'Side by side')),
  );
  return {
    element,
    update(stream) {
      now = stream;
      picture(stream);
      status.update(stream.status);
      dot(receives, stream.putMedia.open > 0, stream.putMedia.open ? `Receives, ${count(stream.putMedia.open, 'session')}` : 'Receives nothing');
      facts.update({
        length: stream.fragments ? duration(stream.durationMs) : null,
        size: stream.fragments ? bytes(stream.bytes) : null,
        picture: stream.width ? `${stream.width} × ${stream.height}` : null,
        codecs: stream.codecs.join(', ') || null,
        last: stream.lastFragment ? ago(stream.lastFragment.persistedMs) : null,
        kept: stream.retentionHours ? count(stream.retentionHours, 'hour') : 'not kept',
      });
      save.hidden = !stream.fragments;
      for (const control of [change, remove]) control.disabled = stream.status !== 'ACTIVE';
    },
  };
}

function createStream(server) {
  form({ title: 'New stream', fields: [field('Name', { name: 'name', ...NAME }), HOURS(24)], action: 'Create' }, values =>
    server.createStream(values.get('name'), Number(values.get('hours'))),
  );
}

function editStream(server, stream) {
  form({ title: `Edit ${stream.name}`, fields: [HOURS(stream.retentionHours)], action: 'Save' }, values =>
    server.keep(stream, Number(values.get('hours'))),
  );
}

function deleteStream(server, name, arn) {
  form({ title: `Delete ${name}?`, text: 'What it has recorded goes with it.', action: 'Delete', danger: true }, () =>
    server.deleteStream(arn),
  );
}
