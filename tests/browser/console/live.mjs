// Going live and watching: a master and a viewer in one browser.

const time = video => video.evaluate(element => element.currentTime);

export async function live({ open, step, until, equal, api, picture, recorded }) {
  const page = await open('?channel=studio#/live');
  const status = page.locator('#status');
  let watcher;

  await step('one sees and hears oneself before going live', async () => {
    await page.getByRole('button', { name: 'Preview' }).click();
    await status.filter({ hasText: 'Nobody sees this but you.' }).waitFor();
    const video = page.locator('#preview');
    await until('the picture', async () => (await time(video)) > 0.2);
    await until('the level', async () => Number(await page.getByRole('meter').getAttribute('aria-valuenow')) > -60);
  });

  await step('going live by keyboard', async () => {
    await page.getByLabel('Channel', { exact: true }).focus();
    await page.keyboard.press('Enter');
    await status.filter({ hasText: 'Sharing on channel studio.' }).waitFor();
    await page.locator('.stage .badge.live').waitFor();
    const channel = (await api('state')).channels.find(channel => channel.name === 'studio');
    equal(channel.master, true, 'the master of studio');
  });

  await step('a channel is watched as one more viewer', async () => {
    watcher = await open('#/channels');
    const card = watcher.locator('li.card', { has: watcher.getByRole('heading', { name: 'studio' }) });
    await card.getByText('Master connected').waitFor();
    await card.getByRole('link', { name: 'Watch' }).focus();
    await watcher.keyboard.press('Enter');
    const video = watcher.locator('#watched');
    await until('the picture', async () => (await time(video)) > 0.5);
    await watcher.locator('#status').filter({ hasText: 'Live.' }).waitFor();
    await watcher.locator('dl.figures').getByText('H264').waitFor();
    const [channel] = (await api('state')).channels;
    const id = channel.viewers.find(id => id.startsWith('kvs-local-page-'));
    await page.locator('#viewers li', { hasText: id }).getByText('connected').waitFor();
    await watcher.getByRole('button', { name: 'Sound is off' }).click();
    equal(await video.evaluate(element => element.muted), false, 'muted');
    await watcher.getByRole('button', { name: 'Sound is on' }).focus();
    await watcher.keyboard.press('Space');
    equal(await video.evaluate(element => element.muted), true, 'muted');
  });

  await step('who records, and that it receives, is shown', async () => {
    const recordings = page.getByRole('list', { name: 'Recordings' });
    for (const name of recorded) {
      await recordings.locator('li', { hasText: name }).filter({ hasText: 'receives' }).waitFor();
    }
    await picture(page, 'live');
  });

  await step('an output that does not receive is shown with its reason', async () => {
    const output = page.getByRole('list', { name: 'Outputs' }).locator('li', { hasText: 'nowhere' });
    await output.filter({ hasText: 'interrupted' }).getByText('127.0.0.1:9').waitFor();
    equal((await output.textContent()).includes('key'), false, 'the stream key');
  });

  await step('another resolution goes on without a new connection', async () => {
    const viewers = await page.evaluate(() => window.kvsLocal.viewers);
    await page.getByLabel('Resolution').selectOption('640x360');
    const video = watcher.locator('#watched');
    await until('the smaller picture', async () => (await video.evaluate(element => element.videoHeight)) === 360);
    equal(await page.evaluate(() => window.kvsLocal.viewers), viewers, 'the viewers');
  });

  await step('a device that is unplugged is said, and another takes its place', async () => {
    await page.evaluate(() => {
      const [track] = document.getElementById('preview').srcObject.getVideoTracks();
      track.stop();
      // Chromium's fake camera cannot be unplugged: this is what a page sees of it.
      track.dispatchEvent(new Event('ended'));
    });
    await status.filter({ hasText: 'was unplugged or stopped. Choose another.' }).waitFor();
    await page.getByLabel('Resolution').selectOption('1280x720');
    await status.filter({ hasText: 'Sharing on channel studio.' }).waitFor();
    const video = watcher.locator('#watched');
    const before = await time(video);
    await until('the picture goes on', async () => (await time(video)) > before + 0.5);
  });

  await step('a recording is played live', async () => {
    const [name] = recorded;
    const player = await open(`#/streams/${name}`);
    await until('ten seconds are stored', async () => (await api('state')).streams.find(stream => stream.name === name).durationMs > 10_000);
    await player.getByRole('button', { name: 'Live' }).click();
    const video = player.locator('#player');
    await until('the picture', async () => (await time(video)) > 0.5 && !(await video.evaluate(element => element.seeking)));
    const before = await time(video);
    await until('it goes on', async () => (await time(video)) > before + 1);
    await player.locator('.stage .badge.live').waitFor();
    const shown = Number(await player.getByRole('slider', { name: `Playhead of ${name}` }).getAttribute('aria-valuenow'));
    const late = Date.now() - shown;
    if (late < 0 || late > 20_000) throw new Error(`live is ${late} ms late`);
    await player.close();
  });

  await step('sharing goes on while another view is open, and ends with a click', async () => {
    await page.getByRole('link', { name: 'Streams' }).click();
    await page.getByRole('heading', { name: 'Streams', exact: true }).waitFor();
    await page.locator('header .badge.live').click();
    await page.getByRole('button', { name: 'Stop' }).click();
    await status.filter({ hasText: 'Nothing is shared.' }).waitFor();
    await watcher.locator('#status').filter({ hasText: 'No master is connected.' }).waitFor();
  });

  await step('the picture comes back with the master', async () => {
    await page.getByRole('button', { name: 'Go live' }).click();
    await watcher.locator('#status').filter({ hasText: 'Live.' }).waitFor();
    await page.getByRole('button', { name: 'Stop' }).focus();
    await page.keyboard.press('Enter');
    await watcher.close();
    await page.close();
  });

  await step('a camera that is refused, missing or busy is said in words', async () => {
    const refused = await open('#/live', () => {
      navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', window.refusal));
    });
    for (const [name, words] of [
      ['NotAllowedError', 'Allow it in the address bar'],
      ['NotFoundError', 'No camera or microphone was found.'],
      ['NotReadableError', 'in use by another program'],
    ]) {
      await refused.evaluate(refusal => (window.refusal = refusal), name);
      await refused.getByRole('button', { name: 'Go live' }).click();
      await refused.locator('#status').filter({ hasText: words }).waitFor();
    }
    await refused.close();
  });
}
