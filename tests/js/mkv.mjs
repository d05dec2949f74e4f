// The frames in what GetMedia and GetMediaForFragmentList send: Matroska (RFC 9559), a document for each fragment.

import { createHash } from 'node:crypto';

const EBML = 0x1a45dfa3;
// Entered instead of skipped, so that their sizes, which may be unknown, are no matter.
const MASTERS = new Set([
  0x18538067 /* Segment */, 0x1654ae6b /* Tracks */, 0xae /* TrackEntry */, 0x1f43b675 /* Cluster */,
  0xa0 /* BlockGroup */, 0x1254c367 /* Tags */, 0x7373 /* Tag */, 0x67c8 /* SimpleTag */,
]);

/** A number whose length is told by the zeros before its first one; `undefined` when it is not all there. */
function vint(bytes, at, keepMarker) {
  const length = Math.clz32(bytes[at] ?? 0) - 23;
  if (at + length > bytes.length || length > 8) return undefined;
  let value = keepMarker ? bytes[at] : bytes[at] & (0xff >> length);
  for (let i = 1; i < length; i++) value = value * 256 + bytes[at + i];
  return { value, end: at + length };
}

/** The elements that are all there, in order. */
function* elements(bytes) {
  for (let at = 0; at < bytes.length;) {
    const id = vint(bytes, at, true);
    const size = id && vint(bytes, id.end, false);
    if (!size) return;
    const enter = MASTERS.has(id.value);
    at = enter ? size.end : size.end + size.value;
    if (at > bytes.length) return;
    yield { id: id.value, data: enter ? undefined : bytes.subarray(size.end, at) };
  }
}

const uint = data => data.reduce((value, byte) => value * 256 + byte, 0);

/** Of each document: the service's tags, its clusters' times, and its frames with track type (1 is video), time and hash. */
export function documents(bytes) {
  const found = [];
  let [document, track, types, cluster, name] = [];
  for (const { id, data } of elements(bytes)) {
    if (id === EBML) {
      document = { tags: {}, clusters: [], frames: [] };
      types = {};
      found.push(document);
    } else if (!document) throw new Error(`an element ${id.toString(16)} before the EBML header`);
    else if (id === 0xd7) track = uint(data);
    else if (id === 0x83) types[track] = data[0];
    else if (id === 0xe7) document.clusters.push(cluster = uint(data));
    else if (id === 0x45a3) name = data.toString();
    else if (id === 0x4487) document.tags[name] = data.toString();
    else if (id === 0xa3 || id === 0xa1) {
      const { value, end } = vint(data, 0, false);
      document.frames.push({
        type: types[value],
        time: cluster + data.readInt16BE(end),
        key: (data[end + 2] & 0x80) !== 0,
        hash: createHash('sha256').update(data.subarray(end + 3)).digest('hex'),
      });
    }
  }
  return found;
}
