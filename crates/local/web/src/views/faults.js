// Faults on buttons: what `POST /_kvs/faults` can do to a channel or a stream.
import { h, say } from '../lib/dom.js';
import { field, form, tell, tellError } from '../lib/dialog.js';
import { bolt } from '../lib/icons.js';
import { icon } from '../lib/dom.js';

const AFTER = () => field('After', { name: 'after', type: 'number', min: 0, value: 0 }, { hint: 'So many go unharmed first.' });
const TIMES = () => field('Times', { name: 'times', type: 'number', min: 0, value: 1 }, { hint: '0: until it is cleared.' });
const CALL = calls => () => field('Call', { name: 'call' }, { options: calls.map(call => [call, call]) });
const NUMBER = (label, name, attributes) => () => field(label, { name, type: 'number', required: true, ...attributes });
const STORE = () => field('What arrives', { name: 'store' }, { options: [['', 'is lost'], ['yes', 'is stored']] });

const CHANNEL_CALLS = ['DescribeSignalingChannel', 'GetSignalingChannelEndpoint', 'GetIceServerConfig'];
const STREAM_CALLS = ['PutMedia', 'DescribeStream', 'GetDataEndpoint'];

const http = calls => ['http_error', 'Answer with an error', [CALL(calls), NUMBER('HTTP status', 'status', { min: 400, max: 599, value: 500 }), AFTER, TIMES]];
const late = calls => ['delay_response', 'Answer late', [CALL(calls), NUMBER('Milliseconds', 'ms', { min: 1, value: 5000 }), AFTER, TIMES]];

/** `[action, words, fields]` */
const OF_CHANNEL = [
  ['go_away', 'Send GO_AWAY', []],
  ['reconnect_ice_server', 'Send RECONNECT_ICE_SERVER', []],
  ['close', 'Close connections', [NUMBER('Close code', 'code', { min: 1000, max: 4999, value: 1001 })]],
  http(CHANNEL_CALLS),
  late(CHANNEL_CALLS),
];
const OF_STREAM = [
  ['reset', 'Reset the connection', [AFTER, TIMES]],
  ['error', 'ERROR acknowledgement', [NUMBER('ErrorId', 'id', { min: 4000, max: 5999, value: 4500 }), AFTER, TIMES]],
  ['no_acks', 'No acknowledgements', [STORE, AFTER, TIMES]],
  ['no_persisted', 'No PERSISTED', [STORE, AFTER, TIMES]],
  ['delay_persisted', 'PERSISTED comes late', [NUMBER('Milliseconds', 'ms', { min: 1, value: 5000 }), AFTER, TIMES]],
  ['stop_reading', 'Stop reading', [AFTER, TIMES]],
  ['slow_reading', 'Read slowly', [NUMBER('Bytes a second', 'bytesPerSecond', { min: 1, value: 20_000 }), AFTER, TIMES]],
  http(STREAM_CALLS),
  late(STREAM_CALLS),
];

const NUMBERS = ['after', 'times', 'status', 'ms', 'code', 'id', 'bytesPerSecond'];

/**
 * Buttons for one channel or stream, and how many faults it has.
 * @param {import('../kvs/server.js').Server} server
 * @param {{channel?: string, stream?: string, region: string}} subject
 */
export function faults(server, subject) {
  const actions = subject.channel ? OF_CHANNEL : OF_STREAM;
  const order = async (action, values = new FormData()) => {
    const members = { ...subject, action };
    for (const [name, value] of values) members[name] = name === 'store' ? value === 'yes' : NUMBERS.includes(name) ? Number(value) : value;
    const answer = await server.fault(members);
    if (answer.connections !== undefined) tell(answer.connections === 1 ? 'It reached one connection.' : `It reached ${answer.connections} connections.`);
    else tell(action === 'clear' ? 'Faults are cleared.' : 'The fault is set.');
  };
  const buttons = actions.map(([action, text, fields]) =>
    h('button', {
      type: 'button',
      text: fields.length ? `${text}…` : text,
      onclick: () => {
        if (!fields.length) return order(action).catch(tellError);
        form({ title: text, fields: fields.map(make => make()), action: 'Set the fault' }, values => order(action, values));
      },
    }),
  );
  const active = h('p', { class: 'hint', role: 'status' });
  const clear = h('button', { type: 'button', text: 'Clear all', onclick: () => order('clear').catch(tellError) });
  return {
    element: h(
      'details',
      { class: 'faults' },
      h('summary', {}, icon(bolt), 'Faults'),
      h('p', { class: 'hint', text: 'Break something on purpose, and see what your client makes of it.' }),
      h('div', { class: 'buttons' }, buttons, clear),
      active,
    ),
    update(list) {
      say(active, list?.length ? `Set now: ${list.map(words).join('; ')}` : 'No fault is set.');
    },
  };
}

function words(fault) {
  if (typeof fault === 'string') return fault;
  return Object.entries(fault)
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([name, value]) => (name === 'action' ? value : `${name} ${value}`))
    .join(', ');
}
