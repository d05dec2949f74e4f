// What several views show alike.
import { h, say, set } from '../lib/dom.js';

/** The heading of a view, which gets the focus when the view opens. */
export function heading(text, lead, ...more) {
  return h(
    'div',
    { class: 'heading' },
    h('div', {}, h('h1', { tabindex: '-1', text }), lead ? h('p', { class: 'lead', text: lead }) : null),
    ...more,
  );
}

/** A state in a word: ACTIVE is calm, CREATING and DELETING are under way. */
export function pill() {
  const element = h('span', { class: 'pill' });
  return {
    element,
    update(status) {
      say(element, status.charAt(0) + status.slice(1).toLowerCase());
      set(element, 'class', `pill ${status.toLowerCase()}`);
    },
  };
}

/** A dot and words: whether something is there. */
export function dot(element, on, text) {
  set(element, 'class', on ? 'dot on' : 'dot');
  say(element, text);
}

/** A message in the place of what is not there. */
export function empty(title, text, ...actions) {
  return h('div', { class: 'empty' }, h('h2', { text: title }), h('p', { text }), ...actions);
}

/** Pairs of a name and a figure, which are changed in place. */
export function figures(names) {
  const values = Object.fromEntries(names.map(([key]) => [key, h('dd', { text: '–' })]));
  const element = h('dl', { class: 'figures' }, names.map(([key, label]) => h('div', {}, h('dt', { text: label }), values[key])));
  return {
    element,
    update(texts) {
      for (const [key, text] of Object.entries(texts)) say(values[key], text ?? '–');
    },
  };
}
