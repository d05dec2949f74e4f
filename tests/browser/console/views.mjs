// Each view in both themes and from a telephone to a wide screen: axe finds nothing, nothing is wider than the screen.
import path from 'node:path';

export async function views({ open, step, accessible, equal, folder, recorded }) {
  const shown = [
    ['channels', '#/channels'],
    ['live', '#/live'],
    ['watch', '#/watch/studio'],
    ['streams', '#/streams'],
    ['stream', `#/streams/${recorded[0]}`],
    ['together', `#/together/${recorded.join('/')}`],
  ];
  const page = await open('#/channels');
  await page.emulateMedia({ reducedMotion: 'reduce' });
  for (const theme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme: theme });
    for (const [name, hash] of shown) {
      await step(`${name}, ${theme}`, async () => {
        await page.goto(`${page.url().split('#')[0]}${hash}`);
        await page.locator('h1').waitFor();
        equal(await page.evaluate(() => document.documentElement.dataset.theme), theme, 'the theme');
        for (const [width, height] of [[1920, 1080], [360, 740]]) {
          await page.setViewportSize({ width, height });
          const wide = await page.evaluate(() => document.documentElement.scrollWidth);
          if (wide > width) throw new Error(`${wide} pixels wide on a screen of ${width}`);
          if (folder) await page.screenshot({ path: path.join(folder, `${name}-${theme}-${width}.png`) });
        }
        // axe at the telephone's size, and at the wide one once: there all is in sight.
        await accessible(page, `${name}, ${theme}, narrow`);
        await page.setViewportSize({ width: 1920, height: 1080 });
        await accessible(page, `${name}, ${theme}, wide`);
      });
    }
  }

  await step('the theme is switched by mouse and by keyboard, and kept', async () => {
    const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
    await page.getByRole('button', { name: 'Use the light theme' }).click();
    equal(await theme(), 'light', 'the theme');
    await page.reload();
    equal(await theme(), 'light', 'the theme after a reload');
    await page.getByRole('button', { name: 'Use the dark theme' }).focus();
    await page.keyboard.press('Enter');
    equal(await theme(), 'dark', 'the theme');
  });

  await step('the first Tab leads past the header', async () => {
    await page.reload();
    await page.keyboard.press('Tab');
    equal(await page.evaluate(() => document.activeElement.className), 'skip', 'the first that has the focus');
  });
  await page.close();
}
