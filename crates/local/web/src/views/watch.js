// A channel live, as one more viewer.
import { h, icon, list, say, set } from '../lib/dom.js';
import { rate } from '../lib/format.js';
import { back, full, silent, sound } from '../lib/icons.js';
import { to } from '../lib/router.js';
import { Viewer } from '../kvs/viewer.js';
import { dot, figures, heading } from './common.js';

export function watchView({ server, rest }) {
  const name = rest[0] ?? '';
  const video = h('video', { id: 'watched', autoplay: true, playsinline: true, 'aria-label': `${name}, live` });
  // Browsers play what is silent without being asked.
  video.muted = true;
  const status = h('p', { id: 'status', role: 'status', text: 'Connecting…' });
  const overlay = h('div', { class: 'stage-idle' }, h('p', {}));
  const badge = h('span', { class: 'badge live', text: 'Live', hidden: true });
  const mute = h('button', { type: 'button', 'aria-pressed': 'false', onclick: () => ((video.muted = !video.muted), muted()) }, icon(silent), h('span', { text: 'Sound is off' }));
  function muted() {
    set(mute, 'aria-pressed', String(!video.muted));
    mute.replaceChildren(icon(video.muted ? silent : sound), h('span', { text: video.muted ? 'Sound is off' : 'Sound is on' }));
  }
  const stage = h('div', { class: 'stage' }, video, overlay, h('div', { class: 'badges' }, badge));
  const large = h('button', { type: 'button', onclick: () => stage.requestFullscreen?.() }, icon(full), 'Full screen');
  const master = h('span', { class: 'dot' });
  const others = h('ul', { class: 'chips', 'aria-label': 'Viewers' });
  const showOthers = list(others, id => id, id => ({ element: h('li', { text: id, title: id }) }));
  const facts = figures([['size', 'Picture'], ['rate', 'Frames a second'], ['bits', 'Bit rate'], ['codec', 'Codec'], ['lost', 'Packets lost']]);

  let viewer = null;
  let timer = null;
  function begin(channel) {
    viewer = new Viewer(server, channel.arn);
    viewer.addEventListener('status', ({ detail }) => {
      set(status, 'class', detail.kind);
      say(status, detail.text);
      badge.hidden = overlay.hidden = detail.kind === 'good';
      badge.hidden = !overlay.hidden;
      say(overlay.firstChild, detail.text);
    });
    viewer.addEventListener('stream', () => {
      video.srcObject = viewer.stream;
      video.play().catch(error => console.warn('play', error));
    });
    viewer.masterIs(channel.master);
    viewer.start().catch(error => {
      set(status, 'class', 'bad');
      say(status, error.message);
      say(overlay.firstChild, error.message);
    });
    timer = setInterval(async () => {
      const now = await viewer.figures();
      if (!now) return;
      facts.update({
        size: now.width ? `${now.width} × ${now.height}` : null,
        rate: now.frames === null ? null : now.frames.toFixed(0),
        bits: now.bits === null ? null : rate(now.bits),
        codec: now.codec,
        lost: String(now.lost),
      });
    }, 1000);
  }

  const element = h(
    'div',
    {},
    h('a', { class: 'back', href: to('channels') }, icon(back), 'Channels'),
    heading(name, 'Live, as one more viewer'),
    h(
      'div',
      { class: 'split' },
      h('section', { class: 'panel', 'aria-label': 'Picture' }, stage, h('div', { class: 'buttons' }, mute, large), status),
      h(
        'div',
        { class: 'stack' },
        h('section', { class: 'panel', 'aria-labelledby': 'arrives' }, h('h2', { id: 'arrives', text: 'What arrives' }), facts.element),
        h('section', { class: 'panel', 'aria-labelledby': 'connected' }, h('h2', { id: 'connected', text: 'Connected' }), h('p', {}, master), others),
      ),
    ),
  );
  return {
    title: name,
    element,
    update({ channels }) {
      const channel = channels.find(channel => channel.name === name);
      if (!channel) {
        say(status, 'There is no such channel.');
        set(status, 'class', 'bad');
        return;
      }
      dot(master, channel.master, channel.master ? 'Master connected' : 'No master');
      showOthers(channel.viewers);
      if (!viewer) begin(channel);
      else viewer.masterIs(channel.master);
    },
    close() {
      clearInterval(timer);
      viewer?.stop();
    },
  };
}
