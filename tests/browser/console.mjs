// Does everything that the page of kvs-local is for, by mouse and by keyboard, in one headless Chromium, and has axe look at
// each view in both themes. `console.mjs URL STREAMS [FOLDER [PARTS]]`: STREAMS (comma-separated) are what agents record of the
// channel `studio`; pictures go into FOLDER; PARTS (comma-separated) leaves out the others.
// Prints a line for each step, and ends with 1 at the first that fails.
import { createRequire } from 'node:module';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { launch } from './chromium.mjs';
import { channels } from './console/channels.mjs';
import { live } from './console/live.mjs';
import { playback } from './console/playback.mjs';
import { streams } from './console/streams.mjs';
import { views } from './console/views.mjs';

const [url, recorded, folder, only] = process.argv.slice(2);
const parts = only?.split(',');
const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const browser = await launch('--use-fake-device-for-media-stream=fps=20');
const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, acceptDownloads: true });
context.setDefaultTimeout(20_000);
const complaints = [];

/** A page of the console; whatever it throws, or asks of another origin, fails the run. */
async function open(hash = '', prepare) {
  const page = await context.newPage();
  page.on('pageerror', error => complaints.push(`${error.stack}`));
  page.on('request', request => {
    const to = new URL(request.url());
    if (['http:', 'https:'].includes(to.protocol) && to.origin !== new URL(url).origin) complaints.push(`a request to ${to.origin}`);
  });
  page.on('console', message => message.type() === 'error' && /Content Security Policy/.test(message.text()) && complaints.push(message.text()));
  if (prepare) await page.addInitScript(prepare);
  await page.goto(`${url}/${hash}`);
  return page;
}

async function step(name, run) {
  const began = Date.now();
  try {
    await run();
    if (complaints.length) throw new Error(complaints.join('\n'));
  } catch (error) {
    const page = context.pages().at(-1);
    if (folder && page) await page.screenshot({ path: path.join(folder, 'failed.png'), timeout: 5000 }).catch(() => {});
    console.log(`FAILED ${name}: ${error.stack}`);
    await browser.close();
    process.exit(1);
  }
  console.log(`ok ${name} (${Date.now() - began} ms)`);
}

/** What axe finds on what is shown. */
async function accessible(page, what) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  const found = violations.map(({ id, help, nodes }) => `${id} (${help}): ${nodes.map(node => `${node.target} ${node.failureSummary}`).join('; ')}`);
  if (found.length) throw new Error(`axe on ${what}:\n${found.join('\n')}`);
}

/** Waits until `check` gives something true, and gives it. */
async function until(what, check) {
  const deadline = Date.now() + 20_000;
  let last;
  for (;;) {
    last = await check();
    if (last) return last;
    if (Date.now() > deadline) throw new Error(`${what}: not within 20 s`);
    await new Promise(resolve => setTimeout(resolve, 50));
  }
}

function equal(found, expected, what) {
  if (JSON.stringify(found) !== JSON.stringify(expected)) throw new Error(`${what}: ${JSON.stringify(found)}, not ${JSON.stringify(expected)}`);
}

/** An answer of the private API. */
async function api(path, order) {
  const answer = await fetch(`${url}/_kvs/${path}`, order && { method: 'POST', body: JSON.stringify(order) });
  return answer.json();
}

/** A picture for the documentation, as the page is now. */
async function picture(page, name) {
  if (!folder) return;
  const size = page.viewportSize();
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.evaluate(() => scrollTo(0, 0));
  await page.screenshot({ path: path.join(folder, `console-${name}.png`), fullPage: true });
  await page.setViewportSize(size);
}

const kit = { open, step, accessible, until, equal, api, picture, folder, recorded: recorded.split(','), context };
for (const part of [channels, live, streams, playback, views]) {
  if (!parts || parts.includes(part.name)) await part(kit);
}
await browser.close();
