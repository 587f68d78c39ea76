// Videos, and the server's token.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { BASE, bytes, closeAll, covers, onScreen, open, openFile, settled, skip } from './browser.mjs';

const CLIP = { file: join(import.meta.dirname, 'clip.gif'), width: 160, height: 96, frames: 8, ball: [38, 48] };

/** How long tracking may take where there is little of a processor, in milliseconds. */
const SLOW = 900_000;

after(closeAll);

/** Whether the server has a model for a job. */
async function can(task) {
  const { models } = await (await fetch(new URL('v1/models', BASE))).json();
  return models.some(({ tasks }) => tasks.includes(task));
}

test('an object through a clip: click, track, undo, stop, download', { skip }, async (t) => {
  if (!await can('video')) return t.skip('skipped: the server has no model that tracks');
  const { page, seen } = await open();
  await openFile(page, CLIP.file);
  assert.match(await page.locator('#frame-number').textContent(), /1 \/ 8/);
  await page.mouse.click(...await onScreen(page, CLIP, ...CLIP.ball));
  await settled(page);
  await page.click('#track-both');
  await settled(page, SLOW);
  const lane = () => page.locator('#lanes canvas').first().getAttribute('aria-label');
  assert.match(await lane(), /masks on 8 of 8 frames/);
  await page.locator('#stage').focus();
  await page.keyboard.press('j');
  await settled(page);
  assert.match(await covers(page), /covers [\d.]+\s%/);
  await page.keyboard.press('Control+z');
  assert.match(await lane(), /masks on 0 of 8 frames/, 'tracking is one step');
  await page.keyboard.press('Control+Shift+Z');
  assert.match(await lane(), /masks on 8 of 8/);

  await page.click('#download');
  await page.click('#download-dialog label:has-text("DAVIS")');
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('#save')]);
  assert.equal((await bytes(download)).toString('latin1', 0, 2), 'PK');

  // once more, and stopped
  await page.locator('#frame').fill('0');
  await page.keyboard.press('n');
  await page.mouse.click(...await onScreen(page, CLIP, 130, 20));
  await settled(page);
  // in the page itself, as soon as a frame is told: a small model is done before a click from here arrives
  await page.evaluate(() => {
    const text = document.getElementById('job-text');
    const stop = (_, watch) => {
      if (!text.textContent.includes(' of ')) return;
      watch.disconnect();
      document.getElementById('stop').click();
    };
    new MutationObserver(stop).observe(text, { childList: true, characterData: true, subtree: true });
  });
  await page.click('#track-forward');
  await settled(page, SLOW);
  assert.match(await page.locator('#toasts').textContent(), /Stopped; .+ done and kept|Done/);
  assert.deepEqual(seen.errors, []);
});

test('pictures that are chosen together are the frames of a video', { skip }, async () => {
  const { page } = await open();
  const buffer = readFileSync(join(import.meta.dirname, 'turned.jpg'));
  await openFile(page, ['10.jpg', '9.jpg', '1.jpg'].map((name) => ({ name, mimeType: 'image/jpeg', buffer })));
  assert.match(await page.locator('#frame-number').textContent(), /1 \/ 3/);
  assert.match(await covers(page), /360 × 240/);
});

test('a video by a sentence', { skip }, async (t) => {
  if (!await can('text')) return t.skip('skipped: the server has no mpg-sam2');
  const { page } = await open();
  await openFile(page, CLIP.file);
  await page.fill('#sentence', 'the yellow ball');
  await page.keyboard.press('Enter');
  await settled(page, SLOW);
  assert.match(await page.locator('#lanes canvas').first().getAttribute('aria-label'), /masks on 8 of 8 frames/);
});

/** The address with the token, as a server with `--host` prints it. */
const TOKEN_URL = process.env.HRSEG_TOKEN_URL;
test('the token comes behind the hash, leaves the address, and goes in a header', { skip: skip || (!TOKEN_URL && 'skipped: HRSEG_TOKEN_URL is not set') }, async () => {
  const { page, context, seen } = await open({ url: TOKEN_URL });
  assert.equal(new URL(page.url()).hash, '');
  assert.ok(seen.urls.every((url) => !url.includes(TOKEN_URL.split('token=')[1])), 'no address carries it');
  assert.deepEqual(await context.cookies(), []);
  await page.locator('.sample').first().waitFor();
  await page.reload();
  await page.locator('.sample').first().waitFor();

  const { page: bare } = await open({ url: new URL(TOKEN_URL).origin, ready: false });
  const dialog = bare.locator('#token-dialog');
  await dialog.waitFor();
  await bare.fill('#token', 'something else');
  await bare.keyboard.press('Enter');
  await bare.locator('#token-wrong').waitFor();
  await bare.fill('#token', TOKEN_URL.split('token=')[1]);
  await bare.keyboard.press('Enter');
  await bare.locator('.sample').first().waitFor();
});
