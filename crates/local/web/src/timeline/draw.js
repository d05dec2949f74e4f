// A timeline as a picture: hours above, what is stored as bars as high as its rate of bits, below it the size of its picture.
import { day, timeOfDay } from '../lib/format.js';
import { DAY } from './scale.js';

const AXIS = 24;
const BAND = { top: 32, height: 52 };
const SIZES = { top: BAND.top + BAND.height + 8, height: 18 };
/** Height of a whole timeline, and of one that is a lane among others. */
export const HEIGHT = SIZES.top + SIZES.height + 4;
export const LANE_HEIGHT = BAND.top + BAND.height + 6;

/** A fragment that is at least so wide is told apart from the next. */
const APART = 5;

export function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = name => style.getPropertyValue(`--${name}`).trim();
  return { ink: of('ink'), soft: of('soft'), line: of('line'), accent: of('accent'), band: of('band'), live: of('live'), select: of('select') };
}

/**
 * @param {CanvasRenderingContext2D} context scaled to CSS pixels
 * @param {{scale: import('./scale.js').Scale, spans: object[], width: number, height: number, lane: boolean, now: number,
 *   playhead?: number, hover?: number, selection?: {from: number, to: number}, colour: object}} what
 */
export function draw(context, { scale, spans, width, height, lane, now, playhead, hover, selection, colour }) {
  context.clearRect(0, 0, width, height);
  context.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  const x = ms => scale.x(ms, width);
  axis(context, scale, width, height, colour);
  context.fillStyle = colour.band;
  const end = Math.min(width, x(now));
  context.fillRect(0, BAND.top, Math.max(0, end), BAND.height);
  bars(context, spans, x, colour);
  if (!lane) {
    sizes(context, spans, x, width, colour);
    sessions(context, spans, x, colour);
  }
  if (selection) {
    const [left, right] = [x(selection.from), x(selection.to)];
    context.fillStyle = colour.select;
    context.fillRect(left, AXIS, right - left, height - AXIS);
  }
  if (hover !== undefined) rule(context, x(hover), height, colour.soft, 1);
  if (now >= scale.from && now <= scale.to) {
    context.setLineDash([2, 3]);
    rule(context, x(now), height, colour.live, 1);
    context.setLineDash([]);
  }
  if (playhead !== undefined) rule(context, x(playhead), height, colour.live, 2);
}

function rule(context, x, height, style, width) {
  context.strokeStyle = style;
  context.lineWidth = width;
  context.beginPath();
  context.moveTo(Math.round(x) + 0.5, AXIS - 6);
  context.lineTo(Math.round(x) + 0.5, height);
  context.stroke();
}

function axis(context, scale, width, height, colour) {
  const { step, at } = scale.ticks(width);
  context.textBaseline = 'middle';
  context.textAlign = 'left';
  for (const ms of at) {
    const x = Math.round(scale.x(ms, width)) + 0.5;
    context.strokeStyle = colour.line;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(x, 0);
    context.lineTo(x, height);
    context.stroke();
    const date = new Date(ms);
    const midnight = !date.getHours() && !date.getMinutes() && !date.getSeconds() && !date.getMilliseconds();
    context.fillStyle = midnight ? colour.ink : colour.soft;
    const label = midnight || step >= DAY ? day(ms) : timeOfDay(ms, step);
    if (x + 5 + context.measureText(label).width < width) context.fillText(label, x + 5, AXIS / 2);
  }
}

function bars(context, spans, x, colour) {
  // As high as its rate, beside the highest that is shown; nothing is lower than can be seen.
  const rate = span => span.bytes / Math.max(1, span.coveredMs);
  const most = Math.max(...spans.map(rate), 1e-9);
  for (const span of spans) {
    const left = x(span.fromMs);
    const wide = x(span.toMs) - left;
    const gap = span.fragments === 1 && wide >= APART ? 1 : 0;
    const covered = span.coveredMs / Math.max(1, span.toMs - span.fromMs);
    context.fillStyle = colour.accent;
    // A span with holes is as faint as it is empty.
    context.globalAlpha = 0.28 * covered;
    context.fillRect(left, BAND.top, Math.max(1, wide - gap), BAND.height);
    context.globalAlpha = 0.35 + 0.65 * covered;
    const high = Math.max(2, (BAND.height - 4) * (rate(span) / most));
    context.fillRect(left, BAND.top + BAND.height - high, Math.max(1, wide - gap), high);
  }
  context.globalAlpha = 1;
}

/** Runs of one size of picture: a line and, where there is room, the size. */
export function runs(spans) {
  const found = [];
  for (const span of spans) {
    const label = [span.width ? `${span.width}×${span.height}` : 'no picture', ...span.codecs].join(' · ');
    const last = found.at(-1);
    if (last?.label === label) last.to = Math.max(last.to, span.toMs);
    else found.push({ label, from: span.fromMs, to: span.toMs });
  }
  return found;
}

function sizes(context, spans, x, width, colour) {
  for (const run of runs(spans)) {
    const left = Math.max(0, x(run.from));
    const right = Math.min(width, x(run.to));
    if (right < 0 || left > width) continue;
    context.fillStyle = colour.accent;
    context.globalAlpha = 0.7;
    context.fillRect(left, SIZES.top, Math.max(1, right - left - 1), 2);
    context.globalAlpha = 1;
    const room = right - left - 8;
    if (room > context.measureText(run.label).width) {
      context.fillStyle = colour.soft;
      context.fillText(run.label, left + 2, SIZES.top + 11);
    }
  }
}

/** Where a PutMedia session begins: a notch in the band. */
function sessions(context, spans, x, colour) {
  let before = null;
  context.fillStyle = colour.ink;
  for (const span of spans) {
    if (span.sessionMs && span.sessionMs !== before) {
      const at = x(span.fromMs);
      context.beginPath();
      context.moveTo(at - 4, BAND.top - 6);
      context.lineTo(at + 4, BAND.top - 6);
      context.lineTo(at, BAND.top);
      context.fill();
    }
    before = span.sessionMs;
  }
}
