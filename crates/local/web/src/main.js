// The page: its views, and what they share.
import { h, icon, say, set } from './lib/dom.js';
import * as icons from './lib/icons.js';
import { place, Router, to } from './lib/router.js';
import { themeSwitch } from './lib/theme.js';
import { Server } from './kvs/server.js';
import { NONE } from './media/devices.js';
import { Sharing } from './media/sharing.js';
import { channelsView } from './views/channels.js';
import { liveView } from './views/live.js';
import { streamsView } from './views/streams.js';
import { streamView } from './views/stream.js';
import { togetherView } from './views/together.js';
import { watchView } from './views/watch.js';

const parameters = new URLSearchParams(location.search);
const server = new Server();
const sharing = new Sharing(server);

/** What the form of `Go live` says at first: from the address, or what was chosen last. */
const wishes = {
  channel: parameters.get('channel') ?? 'front-door-camera',
  picture: parameters.get('video') === '0' ? NONE : '',
  sound: parameters.get('audio') === '0' ? NONE : '',
  size: '1280x720',
  rate: '30',
};

/** For tests: what the page knows. */
window.kvsLocal = {
  get state() {
    return server.state;
  },
  get status() {
    return sharing.status.text;
  },
  get errors() {
    return sharing.errors;
  },
  get viewers() {
    return sharing.viewers;
  },
  get signaling() {
    return sharing.master?.connected ?? false;
  },
};

const VIEWS = {
  channels: channelsView,
  live: liveView,
  watch: watchView,
  streams: given => (given.rest.length ? streamView : streamsView)(given),
  together: togetherView,
};
const NAVIGATION = [
  ['channels', 'Channels', icons.channels],
  ['live', 'Go live', icons.camera],
  ['streams', 'Streams', icons.streams],
  ['together', 'Side by side', icons.beside],
];
/** Under which entry a view is. */
const ENTRY = { watch: 'channels' };

const onAir = h('a', { class: 'badge live', href: to('live'), text: 'Live', hidden: true });
const connection = h('span', { class: 'dot', role: 'status' });
const region = h('span', { class: 'region' });
const links = NAVIGATION.map(([name, text, path]) => h('a', { href: to(name), 'data-view': name }, icon(path), h('span', { text })));
document.querySelector('header').append(
  h('a', { class: 'brand', href: to('channels'), 'aria-label': 'kvs-local' }, h('img', { src: 'logo.svg', alt: '' }), h('span', { text: 'kvs-local' })),
  h('nav', { 'aria-label': 'Views' }, links),
  h('div', { class: 'side' }, onAir, connection, region, themeSwitch()),
);

const router = new Router(document.querySelector('main'), opened => {
  const make = VIEWS[opened.name] ?? channelsView;
  return make({ server, sharing, wishes, ...opened });
});
router.changed = () => {
  const name = place().name || 'channels';
  const entry = ENTRY[name] ?? name;
  for (const link of links) set(link, 'aria-current', link.dataset.view === entry ? 'page' : null);
  if (server.state) router.view.update?.(server.state);
};

server.addEventListener('state', () => router.view.update?.(server.state));
server.addEventListener('connection', () => {
  set(connection, 'class', server.connected ? 'dot on' : 'dot bad');
  say(connection, server.connected ? 'Connected' : 'kvs-local does not answer');
});
sharing.addEventListener('change', () => (onAir.hidden = !sharing.live));
server.config().then(
  config => say(region, `${config.region} · ${config.version}`),
  error => say(region, error.message),
);
// A clock of seconds: what was “2 s ago” is older now.
setInterval(() => server.state && !document.hidden && router.view.update?.(server.state), 1000);

// An address with a channel, as the demo gives it, is about going live.
if (!location.hash && parameters.has('channel')) history.replaceState(null, '', `${location.search}${to('live')}`);
router.go();
server.watch();
if (parameters.get('start') === '1') document.getElementById('form')?.requestSubmit();
