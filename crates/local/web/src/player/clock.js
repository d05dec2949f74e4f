// Between the time of a recording and that of the player, by the playlist's EXT-X-PROGRAM-DATE-TIME.
// A segment is `{programDateTime: ms since 1970, start: s, duration: s}`, in the order of play.

const endOf = segment => segment.programDateTime + segment.duration * 1000;

/** Where a moment is played, in seconds; one in a gap is played where the recording goes on. Nothing after the end. */
export function mediaTime(segments, ms) {
  const segment = segments.find(segment => endOf(segment) > ms);
  if (!segment) return undefined;
  return segment.start + Math.max(0, ms - segment.programDateTime) / 1000;
}

/** The moment that is shown at a position. */
export function momentOf(segments, seconds) {
  const segment = segments.findLast(segment => segment.start <= seconds) ?? segments[0];
  if (!segment) return undefined;
  return segment.programDateTime + Math.min(segment.duration, Math.max(0, seconds - segment.start)) * 1000;
}

/** Whether something is stored at a moment. */
export function covers(segments, ms) {
  return segments.some(segment => segment.programDateTime <= ms && ms < endOf(segment));
}
