// Figures as people read them.

export function bytes(count) {
  if (count < 1e3) return `${count} B`;
  if (count < 1e6) return `${Math.round(count / 1e3)} kB`;
  return count < 1e9 ? `${(count / 1e6).toFixed(1)} MB` : `${(count / 1e9).toFixed(2)} GB`;
}

/** Bits a second. */
export function rate(bits) {
  return bits < 1e6 ? `${Math.round(bits / 1e3)} kbit/s` : `${(bits / 1e6).toFixed(1)} Mbit/s`;
}

/** A length of time in its two largest units. */
export function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 60) return `${s.toFixed(1)} s`;
  const minutes = Math.floor(s / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(s % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

const two = number => String(number).padStart(2, '0');

/** Local time of day, with as many digits as `step` (milliseconds) can tell apart. */
export function timeOfDay(ms, step = 1000) {
  const date = new Date(ms);
  const minutes = `${two(date.getHours())}:${two(date.getMinutes())}`;
  if (step >= 60_000) return minutes;
  const seconds = `${minutes}:${two(date.getSeconds())}`;
  if (step >= 1000) return seconds;
  return `${seconds}.${String(date.getMilliseconds()).padStart(3, '0')}`;
}

/** Local day. */
export function day(ms) {
  return new Date(ms).toLocaleDateString(undefined, { day: 'numeric', month: 'short', year: 'numeric' });
}

export function moment(ms, step = 1000) {
  return `${day(ms)} ${timeOfDay(ms, step)}`;
}

/** How long ago, as a person says it. */
export function ago(ms, now = Date.now()) {
  const past = Math.max(0, now - ms);
  return past < 1500 ? 'now' : `${duration(past < 60_000 ? Math.round(past / 1000) * 1000 : past).replace('.0 s', ' s')} ago`;
}

export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString('en')} ${number === 1 ? one : many}`;
}
