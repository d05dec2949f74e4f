// Streams: made, changed, deleted; the timeline by wheel, drag and keys.

export async function streams({ open, step, until, equal, api, recorded }) {
  const page = await open('#/streams');
  const [first] = recorded;
  const card = name => page.locator('li.card', { has: page.getByRole('heading', { name, exact: true }) });

  await step('a stream is made by keyboard, kept longer by mouse, and deleted', async () => {
    await page.getByRole('button', { name: 'New stream' }).focus();
    await page.keyboard.press('Enter');
    await page.keyboard.type('attic');
    await page.keyboard.press('Enter');
    await card('attic').getByText('24 hours').waitFor();
    await page.getByRole('button', { name: 'Edit attic' }).click();
    await page.getByLabel('Hours that media is kept').fill('48');
    await page.getByRole('button', { name: 'Save' }).click();
    await card('attic').getByText('48 hours').waitFor();
    await page.getByRole('button', { name: 'Delete attic' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await card('attic').waitFor({ state: 'detached' });
  });

  await step('a stream opens with its timeline', async () => {
    await card(first).getByRole('link', { name: 'Open' }).click();
    await page.getByRole('heading', { name: 'Timeline' }).waitFor();
  });

  const timeline = page.locator('.timeline');
  const shown = async () => {
    const [from, to] = await Promise.all(['data-from', 'data-to'].map(name => timeline.getAttribute(name)));
    return { from: Number(from), to: Number(to), length: to - from };
  };
  const head = page.getByRole('slider', { name: `Playhead of ${first}` });
  const at = async () => Number(await head.getAttribute('aria-valuenow'));

  await step('the wheel zooms where the pointer is, a drag moves', async () => {
    await timeline.scrollIntoViewIfNeeded();
    const box = await timeline.boundingBox();
    const middle = { x: box.x + box.width / 2, y: box.y + 60 };
    await page.mouse.move(middle.x, middle.y);
    const before = await shown();
    await page.mouse.wheel(0, -600);
    const nearer = await until('less is shown', async () => {
      const now = await shown();
      return now.length < 0.6 * before.length && now;
    });
    const off = Math.abs((nearer.from + nearer.to) / 2 - (before.from + before.to) / 2);
    if (off > nearer.length / 50) throw new Error(`what was under the pointer moved by ${off} ms`);
    await page.mouse.down();
    await page.mouse.move(middle.x - 200, middle.y, { steps: 4 });
    await page.mouse.up();
    await until('it moved', async () => (await shown()).from > nearer.from + nearer.length / 10);
    const stretched = Math.abs((await shown()).length - nearer.length);
    if (stretched > 2) throw new Error(`a drag changed the length by ${stretched} ms`);
  });

  await step('a fragment is described under the pointer', async () => {
    await page.getByRole('button', { name: 'All', exact: true }).click();
    const box = await timeline.boundingBox();
    await page.mouse.move(box.x + box.width / 10, box.y + 60);
    await page.locator('.caption').filter({ hasText: /fragment …\d+ · .*×.*session of/ }).waitFor();
  });

  await step('keys zoom and move the playhead', async () => {
    await head.focus();
    const before = await shown();
    await page.keyboard.press('Home');
    const { firstMs } = (await api('state')).streams.find(stream => stream.name === first);
    await until('the first moment', async () => (await at()) === firstMs);
    await page.keyboard.press('+');
    await until('half is shown', async () => Math.abs((await shown()).length - before.length / 2) < 2);
    await page.keyboard.press('ArrowRight');
    const moved = (await shown()).length / 100;
    await until('a step', async () => Math.abs((await at()) - firstMs - moved) < 2);
    await page.keyboard.press('-');
    await until('all is shown', async () => Math.abs((await shown()).length - before.length) < 2);
  });

  await step('from a day to a second', async () => {
    for (const [name, length] of [['Day', 86_400_000], ['Hour', 3_600_000], ['Minute', 60_000], ['Second', 1000]]) {
      await page.getByRole('button', { name, exact: true }).click();
      await until(name, async () => (await shown()).length === length);
    }
  });

  await step('the densest timeline is drawn within a frame or two', async () => {
    // As many spans as the server can answer: one for each step.
    await page.route('**/timeline?*', route => {
      const query = new URL(route.request().url()).searchParams;
      const [from, to, resolution] = ['from', 'to', 'resolution'].map(name => Number(query.get(name)));
      const spans = [];
      for (let ms = from; ms < to; ms += resolution) {
        spans.push({ fromMs: ms, toMs: ms + resolution, coveredMs: resolution, fragments: 3, bytes: 1000 + (ms % 977), videoFrames: 1, width: 1280, height: 720, codecs: ['H.264'], sessionMs: 1 });
      }
      return route.fulfill({ json: { spans } });
    });
    await page.getByRole('button', { name: 'Day', exact: true }).click();
    const worst = await page.evaluate(async () => {
      const element = document.querySelector('.timeline');
      const box = element.getBoundingClientRect();
      const frames = [];
      let before = performance.now();
      for (let n = 0; n < 60; n++) {
        element.dispatchEvent(new WheelEvent('wheel', { deltaY: n < 30 ? -40 : 40, clientX: box.left + box.width / 2, bubbles: true, cancelable: true }));
        await new Promise(requestAnimationFrame);
        frames.push(performance.now() - before);
        before = performance.now();
      }
      return frames.sort((a, b) => a - b)[Math.floor(frames.length / 2)];
    });
    await page.unroute('**/timeline?*');
    if (worst > 50) throw new Error(`half of the frames took more than ${worst.toFixed(0)} ms`);
  });

  await step('a fault of uploads is set and cleared', async () => {
    await page.getByText('Faults', { exact: true }).click();
    await page.getByRole('button', { name: 'ERROR acknowledgement…' }).click();
    await page.getByLabel('ErrorId').fill('4503');
    await page.getByRole('button', { name: 'Set the fault' }).click();
    await page.getByText('Set now: error').waitFor();
    await page.getByRole('button', { name: 'Clear all' }).click();
    await page.getByText('No fault is set.').waitFor();
  });
  await page.close();
}
