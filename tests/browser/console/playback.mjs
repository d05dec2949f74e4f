// What was recorded is watched: played, jumped through, cut, seen small along the line, and beside another.
import { readFile } from 'node:fs/promises';

export async function playback({ open, step, until, equal, api, picture, recorded }) {
  const [first] = recorded;
  const stored = async name => (await api('state')).streams.find(stream => stream.name === name);
  const page = await open(`#/streams/${first}`);
  const video = page.locator('#player');
  const time = (of = video) => of.evaluate(element => element.currentTime);
  const timeline = page.locator('.timeline');
  const head = page.getByRole('slider', { name: `Playhead of ${first}` });
  const at = async () => Number(await head.getAttribute('aria-valuenow'));
  await timeline.scrollIntoViewIfNeeded();

  await step('pictures stand along the line', async () => {
    await until('a picture', () => page.locator('.thumbnails img').first().evaluate(image => image.naturalWidth > 0));
  });

  await step('a click on the line plays from there', async () => {
    await page.getByRole('button', { name: 'All', exact: true }).click();
    const box = await timeline.boundingBox();
    await page.mouse.click(box.x + box.width * 0.1, box.y + 60);
    await until('the picture', async () => (await video.evaluate(element => element.videoWidth)) > 0);
    const before = await time();
    await until('it goes on', async () => (await time()) > before + 0.5);
    const from = Number(await timeline.getAttribute('data-from'));
    const length = Number(await timeline.getAttribute('data-to')) - from;
    const off = (await at()) - (from + length * 0.1);
    if (off < -1000 || off > 8000) throw new Error(`played ${off} ms from where the click was`);
    await page.locator('#clock').filter({ hasText: /\d\d:\d\d:\d\d/ }).waitFor();
  });

  await step('the picture stands and goes on', async () => {
    await page.mouse.move(0, 0);
    await page.locator('#play').click();
    await picture(page, 'stream');
    await page.emulateMedia({ colorScheme: 'dark' });
    await picture(page, 'stream-dark');
    await page.emulateMedia({ colorScheme: 'light' });
    await page.locator('#play').click();
    await timeline.scrollIntoViewIfNeeded();
  });

  await step('pause, play and jump by keyboard', async () => {
    const toggle = page.locator('#play');
    await toggle.focus();
    await page.keyboard.press('Enter');
    await until('a pause', () => video.evaluate(element => element.paused));
    await head.focus();
    await page.keyboard.press('Home');
    const { firstMs } = await stored(first);
    await until('the first picture', async () => Math.abs((await at()) - firstMs) < 1500 && (await video.evaluate(element => element.readyState > 1 && !element.seeking)));
    if (await video.evaluate(element => element.paused)) {
      await toggle.focus();
      await page.keyboard.press('Space');
    }
    const before = await time();
    await until('it goes on', async () => (await time()) > before + 0.3);
    await toggle.click();
  });

  await step('a clip is cut by two handles and downloaded', async () => {
    // Within the first fragment: the service refuses a clip over a change of the SPS, with which Chromium's stream begins.
    await head.focus();
    await page.keyboard.press('Home');
    await page.getByRole('button', { name: 'Second', exact: true }).click();
    await page.getByRole('button', { name: 'Cut a clip' }).click();
    const start = page.getByRole('slider', { name: 'Start of the clip' });
    const end = page.getByRole('slider', { name: 'End of the clip' });
    const value = async handle => Number(await handle.getAttribute('aria-valuenow'));
    await start.focus();
    const before = await value(end);
    await page.keyboard.press('Home');
    await until('the first moment', async () => (await value(start)) === (await stored(first)).firstMs);
    await page.keyboard.press('ArrowRight');
    await until('a step', async () => (await value(start)) > (await stored(first)).firstMs);
    const box = await end.evaluate(element => element.getBoundingClientRect().toJSON());
    await page.mouse.move(box.x, box.y + 30);
    await page.mouse.down();
    await page.mouse.move(box.x - 40, box.y + 30, { steps: 4 });
    await page.mouse.up();
    await until('the end moved', async () => (await value(end)) < before);
    const download = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Download MP4' }).click();
    const file = await download;
    if (!/\.mp4$/.test(file.suggestedFilename())) throw new Error(`the clip is called ${file.suggestedFilename()}`);
    const data = await readFile(await file.path());
    equal(data.subarray(4, 8).toString('latin1'), 'ftyp', 'the first box');
    await page.getByRole('button', { name: 'No clip' }).click();
    equal(await start.isVisible(), false, 'a handle');
    await page.close();
  });

  await step('streams are watched side by side on one clock', async () => {
    const wall = await open('#/streams');
    for (const name of recorded) await wall.locator('li.card', { has: wall.getByRole('heading', { name, exact: true }) }).getByLabel('Side by side').check();
    await wall.locator('.heading').getByRole('link', { name: 'Side by side' }).click();
    await wall.locator('.lane').first().waitFor();
    // Where both have something.
    const all = await Promise.all(recorded.map(stored));
    const both = Math.max(...all.map(stream => stream.firstMs)) + 1000;
    const lane = wall.locator('.lane').first();
    const position = async () => {
      const [from, to] = await Promise.all(['data-from', 'data-to'].map(name => lane.getAttribute(name)));
      return (both - from) / (to - from);
    };
    await lane.scrollIntoViewIfNeeded();
    const box = await lane.boundingBox();
    await wall.mouse.click(box.x + box.width * (await position()), box.y + 60);
    const videos = wall.locator('.wall video');
    for (let n = 0; n < recorded.length; n++) await until(`picture ${n}`, () => videos.nth(n).evaluate(element => element.readyState > 1));
    const play = wall.getByRole('button', { name: 'Play' });
    await play.focus();
    await wall.keyboard.press('Enter');
    for (let n = 0; n < recorded.length; n++) {
      const before = await time(videos.nth(n));
      await until(`picture ${n} goes on`, async () => (await time(videos.nth(n))) > before + 0.3);
    }
    await picture(wall, 'together');
    await wall.getByRole('button', { name: 'Pause' }).click();
    await until('all stand', () => videos.evaluateAll(all => all.every(element => element.paused)));
    await wall.close();
  });
}
