import assert from 'node:assert/strict';
import { test } from 'node:test';
import { covers, mediaTime, momentOf } from '../src/player/clock.js';
import { correction } from '../src/player/together.js';
import { property } from './chance.mjs';

/** Segments one behind the other in the player, with gaps between some of them in the recording. */
function recording(random) {
  const segments = [];
  let [programDateTime, start] = [1.8e12, random(0, 100)];
  for (let n = 0; n < 20; n++) {
    const duration = random(0.5, 10);
    segments.push({ programDateTime, start, duration });
    start += duration;
    programDateTime += duration * 1000 + (random(0, 1) < 0.3 ? random(100, 60_000) : 0);
  }
  return segments;
}

test('a moment that is stored is played at its place, and is what is shown there', () => {
  property(random => {
    const segments = recording(random);
    for (const segment of segments) {
      const into = random(0.001, segment.duration - 0.001);
      const moment = segment.programDateTime + into * 1000;
      assert.ok(covers(segments, moment));
      const at = mediaTime(segments, moment);
      assert.ok(Math.abs(at - segment.start - into) < 1e-3, `${at}`);
      assert.ok(Math.abs(momentOf(segments, at) - moment) < 1);
    }
  });
});

test('a moment in a gap is played where the recording goes on, one after the end nowhere', () => {
  property(random => {
    const segments = recording(random);
    for (let n = 0; n + 1 < segments.length; n++) {
      const end = segments[n].programDateTime + segments[n].duration * 1000;
      const gap = segments[n + 1].programDateTime - end;
      if (gap < 10) continue;
      const moment = end + random(1, gap - 1);
      assert.ok(!covers(segments, moment));
      assert.equal(mediaTime(segments, moment), segments[n + 1].start);
    }
    const last = segments.at(-1);
    assert.equal(mediaTime(segments, last.programDateTime + last.duration * 1000 + 1), undefined);
    assert.equal(mediaTime(segments, segments[0].programDateTime - random(1, 1e6)), segments[0].start);
  });
});

test('a player that is behind runs faster, one that is ahead slower, and one that is far off jumps', () => {
  property(random => {
    const off = random(-3000, 3000);
    const how = correction(off);
    if (Math.abs(off) > 1000) assert.equal(how, 'jump');
    else if (Math.abs(off) < 60) assert.equal(how, 1);
    else assert.ok(off > 0 ? how > 1 && how < 1.2 : how < 1 && how > 0.8, `${off}: ${how}`);
  });
});
