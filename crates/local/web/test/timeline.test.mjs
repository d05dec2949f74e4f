import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runs } from '../src/timeline/draw.js';
import { DAY, Scale, SECOND } from '../src/timeline/scale.js';
import { Tiles } from '../src/timeline/tiles.js';
import { property } from './chance.mjs';

const NOW = 1.8e12;

test('zooming keeps what is under the pointer, between a second and a month', () => {
  property(random => {
    const scale = new Scale(NOW, NOW + random(SECOND, 40 * DAY));
    for (let n = 0; n < 30; n++) {
      const at = scale.from + random(0, 1) * scale.length;
      const before = scale.x(at, 1000);
      scale.zoom(random(0.1, 5), at);
      assert.ok(scale.length >= SECOND - 1 && scale.length <= 31 * DAY + 1, `${scale.length}`);
      assert.ok(Math.abs(scale.x(at, 1000) - before) < 1, `${scale.x(at, 1000)}, not ${before}`);
      assert.ok(Math.abs(scale.ms(scale.x(at, 1000), 1000) - at) < 1);
    }
  });
});

test('ticks are round, in sight, and have room for their words', () => {
  property(random => {
    const scale = new Scale(NOW, NOW + SECOND * 2.6e6 ** random(0, 1));
    const { step, at } = scale.ticks(1000);
    assert.ok((step / scale.length) * 1000 >= 90 || step === 10 * DAY);
    for (const ms of at) {
      assert.ok(ms >= scale.from && ms <= scale.to);
      const local = ms - new Date(scale.from).getTimezoneOffset() * 60_000;
      assert.equal(Math.abs(local % step), 0);
    }
  });
});

const settled = () => new Promise(resolve => setImmediate(resolve));

test('only what is shown is asked for, in steps of at most a pixel, and once', async () => {
  const asked = [];
  const load = async (from, to, resolution) => {
    asked.push({ from, to, resolution });
    return { spans: [] };
  };
  const tiles = new Tiles(load, () => {});
  const scale = new Scale(NOW, NOW + DAY);
  for (const length of [DAY, DAY / 24, 60 * SECOND, SECOND]) {
    scale.show(NOW, NOW + length);
    asked.length = 0;
    tiles.spans(scale, 1200);
    await settled();
    assert.ok(asked.length > 0 && asked.length <= 4, `${asked.length} requests`);
    for (const { from, to, resolution } of asked) {
      assert.ok(resolution <= Math.max(1, length / 1200));
      assert.ok((to - from) / resolution < 8192, 'more steps than the server takes');
      assert.ok(to > scale.from && from < scale.to, 'out of sight');
    }
    asked.length = 0;
    tiles.spans(scale, 1200);
    await settled();
    assert.deepEqual(asked, []);
  }
});

test('what has grown is asked for again, and nothing before it', async () => {
  const asked = [];
  const load = async (from, to) => {
    asked.push({ from, to });
    return { spans: [{ fromMs: from, toMs: to }] };
  };
  const tiles = new Tiles(load, () => {});
  const scale = new Scale(NOW, NOW + 10_000);
  tiles.grown(NOW + 9000);
  tiles.spans(scale, 1000);
  await settled();
  const all = asked.splice(0);
  tiles.grown(NOW + 9500);
  // As if the second were over within which a tile is not asked for again.
  for (const tile of tiles.tiles.values()) tile.asked = 0;
  tiles.spans(scale, 1000);
  await settled();
  assert.ok(asked.length >= 1 && asked.length < all.length, `${asked.length} of ${all.length}`);
  for (const { to } of asked) assert.ok(to > NOW + 9000);
});

test('while a finer piece is loaded the coarser one is shown', async () => {
  let answer;
  const load = (from, to, resolution) =>
    resolution >= 64 ? Promise.resolve({ spans: [{ fromMs: from, toMs: to, coarse: true }] }) : new Promise(resolve => (answer = resolve));
  const tiles = new Tiles(load, () => {});
  const scale = new Scale(NOW, NOW + 100 * 1000);
  tiles.spans(scale, 1000);
  await settled();
  scale.zoom(0.1, NOW + 50_000);
  assert.ok(tiles.spans(scale, 1000).every(span => span.coarse));
  assert.ok(tiles.spans(scale, 1000).length > 0);
  assert.ok(answer, 'the finer piece is asked for');
});

test('a day of looking around keeps a bounded number of pieces', async () => {
  const tiles = new Tiles(async () => ({ spans: [] }), () => {});
  const scale = new Scale(NOW, NOW + SECOND);
  for (let n = 0; n < 500; n++) {
    tiles.spans(scale, 1000);
    await settled();
    scale.pan(5 * SECOND);
  }
  assert.ok(tiles.tiles.size <= 100, `${tiles.tiles.size}`);
});

test('runs end where the picture or the tracks change', () => {
  const span = (fromMs, width, codecs) => ({ fromMs, toMs: fromMs + 1, width, height: width && 9, codecs });
  const found = runs([span(1, 16, ['H.264']), span(2, 16, ['H.264']), span(3, 32, ['H.264']), span(4, null, ['AAC'])]);
  assert.deepEqual(found.map(({ label, from, to }) => [label, from, to]), [
    ['16×9 · H.264', 1, 3],
    ['32×9 · H.264', 3, 4],
    ['no picture · AAC', 4, 5],
  ]);
});
