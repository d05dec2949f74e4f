// Every channel: who is connected, and what can be done with it.
import { h, icon, list, say, set } from '../lib/dom.js';
import { field, form, NAME } from '../lib/dialog.js';
import { count } from '../lib/format.js';
import { camera, edit, play, plus, trash } from '../lib/icons.js';
import { to } from '../lib/router.js';
import { dot, empty, heading, pill } from './common.js';
import { faults } from './faults.js';

const TTL = value =>
  field(
    'Seconds that a message waits',
    { name: 'ttl', type: 'number', min: 5, max: 120, required: true, value },
    { hint: 'MessageTtlSeconds, 5 to 120: how long an offer waits for its recipient.' },
  );

export function channelsView({ server }) {
  const create = h('button', { class: 'primary', type: 'button', onclick: () => createChannel(server) }, icon(plus), 'New channel');
  const cards = h('ul', { class: 'cards', 'aria-label': 'Channels' });
  const show = list(cards, channel => channel.arn, channel => card(server, channel));
  const none = empty(
    'No channel yet',
    'A signaling channel is where a master, such as a camera, meets its viewers. Create one, or go live: that makes it.',
    h('a', { class: 'button', href: to('live') }, icon(camera), 'Go live'),
  );
  const element = h('div', {}, heading('Channels', 'Where masters and viewers meet', create), none, cards);
  return {
    title: 'Channels',
    element,
    update({ channels }) {
      none.hidden = channels.length > 0;
      show(channels);
    },
  };
}

function card(server, { name, arn, region }) {
  const status = pill();
  const master = h('span', { class: 'dot' });
  const viewers = h('span', { class: 'dot' });
  const chips = h('ul', { class: 'chips', 'aria-label': `Viewers of ${name}` });
  const showChips = list(chips, id => id, id => ({ element: h('li', { text: id, title: id }) }));
  const watch = h('a', { class: 'button', href: to('watch', name) }, icon(play), 'Watch');
  const share = h('a', { class: 'button', href: `${to('live')}?channel=${encodeURIComponent(name)}` }, icon(camera), 'Go live');
  const change = h('button', { class: 'quiet round', type: 'button', 'aria-label': `Edit ${name}`, title: 'Edit', onclick: () => editChannel(server, name, arn) }, icon(edit));
  const remove = h('button', { class: 'quiet round', type: 'button', 'aria-label': `Delete ${name}`, title: 'Delete', onclick: () => deleteChannel(server, name, arn) }, icon(trash));
  const broken = faults(server, { channel: name, region });
  const element = h(
    'li',
    { class: 'card' },
    h('div', { class: 'top' }, h('h2', { text: name }), status.element, h('div', { class: 'tools' }, change, remove)),
    h('p', { class: 'arn', text: arn }),
    h('div', { class: 'presence' }, master, viewers),
    chips,
    h('div', { class: 'buttons' }, watch, share),
    broken.element,
  );
  return {
    element,
    update(channel) {
      const serves = channel.status === 'ACTIVE' || channel.status === 'UPDATING';
      status.update(channel.status);
      dot(master, channel.master, channel.master ? 'Master connected' : 'No master');
      dot(viewers, channel.viewers.length > 0, channel.viewers.length ? count(channel.viewers.length, 'viewer') : 'No viewers');
      showChips(channel.viewers);
      broken.update(channel.faults);
      for (const control of [watch, share]) set(control, 'aria-disabled', serves ? null : 'true');
      for (const control of [change, remove]) control.disabled = channel.status !== 'ACTIVE';
    },
  };
}

function createChannel(server) {
  form(
    { title: 'New channel', fields: [field('Name', { name: 'name', ...NAME }), TTL(60)], action: 'Create' },
    values => server.createChannel(values.get('name'), Number(values.get('ttl'))),
  );
}

async function editChannel(server, name, arn) {
  const ttl = TTL('');
  form({ title: `Edit ${name}`, fields: [ttl], action: 'Save' }, async values => {
    // What has changed since the form was opened is changed: the version is that of now.
    const { Version } = await server.channel(arn);
    await server.updateChannel(arn, Version, Number(values.get('ttl')));
  });
  const now = await server.channel(arn);
  ttl.querySelector('input').value = now.SingleMasterConfiguration?.MessageTtlSeconds ?? 60;
}

function deleteChannel(server, name, arn) {
  form(
    {
      title: `Delete ${name}?`,
      text: 'Its master and its viewers are disconnected. What was recorded stays.',
      action: 'Delete',
      danger: true,
    },
    () => server.deleteChannel(arn),
  );
}
