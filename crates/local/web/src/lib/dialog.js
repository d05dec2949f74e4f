// Forms and questions in front of the page, and short news at its edge.
import { h } from './dom.js';

const news = () => document.getElementById('news');

/** Says something for some seconds; a screen reader reads it out. Bad news stays until it is closed. */
export function tell(text, bad = false) {
  const note = h('div', { class: bad ? 'note bad' : 'note', role: bad ? 'alert' : null }, h('span', { text }));
  const close = h('button', { class: 'quiet', type: 'button', text: 'Close', onclick: () => note.remove() });
  note.append(close);
  news().append(note);
  if (!bad) setTimeout(() => note.remove(), 6000);
}

/** Why something did not work, in the words of whoever said so. */
export function tellError(error) {
  console.warn(error);
  tell(error.name && error.name !== 'Error' ? `${error.name}: ${error.message}` : error.message, true);
}

/**
 * A form in front of the page. It closes when `submit` has done its work, and shows in itself what went wrong.
 * @param {{title: string, text?: string, fields?: Element[], action: string, danger?: boolean}} what
 * @param {(values: FormData) => Promise<void>} submit
 */
export function form({ title, text, fields = [], action, danger = false }, submit) {
  const error = h('p', { class: 'error', role: 'alert' });
  /** The focus goes back to where it was. */
  const end = () => {
    dialog.close();
    dialog.remove();
  };
  const go = h('button', { class: danger ? 'danger' : 'primary', type: 'submit', text: action });
  const body = h(
    'form',
    {
      novalidate: false,
      onsubmit: async event => {
        event.preventDefault();
        go.disabled = true;
        error.textContent = '';
        try {
          await submit(new FormData(body));
          end();
        } catch (problem) {
          error.textContent = problem.message;
        } finally {
          go.disabled = false;
        }
      },
    },
    h('h2', { id: 'dialog-title', text: title }),
    text ? h('p', { text }) : null,
    fields,
    error,
    h('div', { class: 'buttons' }, h('button', { type: 'button', text: 'Cancel', onclick: () => end() }), go),
  );
  const dialog = h('dialog', { 'aria-labelledby': 'dialog-title', onclose: () => dialog.remove() }, body);
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

let fieldNumber = 0;

/** A labelled input, select or text; `attributes` are the control's. */
export function field(label, attributes, { hint, options } = {}) {
  const id = `field-${fieldNumber++}`;
  const control = options
    ? h('select', { id, ...attributes }, options.map(([value, text]) => h('option', { value, text })))
    : h('input', { id, autocomplete: 'off', ...attributes });
  if (hint) control.setAttribute('aria-describedby', `${id}-hint`);
  return h(
    'div',
    { class: 'field' },
    h('label', { for: id, text: label }),
    control,
    hint ? h('p', { class: 'hint', id: `${id}-hint`, text: hint }) : null,
  );
}

/** What names of channels and streams may be. */
export const NAME = { required: true, maxlength: 256, pattern: '[a-zA-Z0-9_.\\-]+', title: 'Letters, digits, and _ . -' };
