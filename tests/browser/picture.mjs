// Takes a picture of the page that a running Chromium shows: `picture.mjs http://127.0.0.1:DEVTOOLS_PORT FILE.png`.
import { chromium } from 'playwright-core';

const [devtools, file] = process.argv.slice(2);
const browser = await chromium.connectOverCDP(devtools);
const page = browser
  .contexts()
  .flatMap(context => context.pages())
  .find(page => page.url().startsWith('http'));
if (!page) throw new Error('Chromium shows no page');
await page.setViewportSize({ width: 1100, height: 860 });
await page.screenshot({ path: file });
// It is not ours: the connection ends, the browser does not.
process.exit(0);
