// The page as a person uses it: upload, click, correct, make exact, download.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { RleMask } from '../../src/serve/page/js/rle.js';
import { BASE, bytes, closeAll, covers, onScreen, open, openFile, readPng, settled, skip } from './browser.mjs';

const here = (name) => join(import.meta.dirname, name);
/** A cup, 360x240 once it is turned as its EXIF orientation (6) says. */
const TURNED = { file: here('turned.jpg'), width: 360, height: 240, cup: [170, 95] };

after(closeAll);

/** A place in the mask that is far from its edge, in its pixels. */
function deepInside({ rle: { size: [height, width], counts } }) {
  const mask = RleMask.fromCoco({ size: [height, width], counts });
  for (let reach = 24; reach > 0; reach -= 3) {
    for (let y = reach; y < height - reach; y += 3) {
      for (let x = reach; x < width - reach; x += 3) {
        if ([[0, 0], [reach, 0], [-reach, 0], [0, reach], [0, -reach]].every(([dx, dy]) => mask.at(x + dx, y + dy))) return [x, y];
      }
    }
  }
  throw new Error('the mask is empty');
}

test('a turned photo: click, negative click, undo, exact, download', { skip }, async () => {
  const { page, seen } = await open();
  await openFile(page, TURNED.file);
  assert.match(await covers(page), /360 × 240/);

  await page.mouse.click(...await onScreen(page, TURNED, ...TURNED.cup));
  await settled(page);
  const first = await covers(page);
  assert.match(first, /covers [\d.]+\s%/);
  assert.match(await page.locator('#live').textContent(), /covers [\d.]+\s% of the picture/);
  const [mask] = seen.masks.at(-1).masks;
  assert.deepEqual(mask.rle.size, [240, 360]);
  const three = await page.locator('#candidates input').count();
  assert.equal(three, seen.masks.at(-1).masks.length);

  const wrong = deepInside(mask);
  await page.mouse.click(...await onScreen(page, TURNED, ...wrong), { button: 'right' });
  await settled(page);
  assert.notEqual(await covers(page), first);
  assert.deepEqual(seen.asked.findLast((asked) => !asked.preview).points.map((point) => point[2]), [1, 0]);

  await page.mouse.click(...await onScreen(page, TURNED, ...wrong));
  await settled(page);
  assert.equal(await covers(page), first, 'a click on a mark takes it away');
  await page.keyboard.press('Control+z');
  await settled(page);
  assert.notEqual(await covers(page), first);

  await page.keyboard.press('Control+z');
  await settled(page);
  assert.equal(await covers(page), first, 'undo brings the mask back');
  await page.keyboard.press('Control+Shift+Z');
  await settled(page);
  assert.notEqual(await covers(page), first, 'redo takes it away');
  await page.click('#undo');
  await settled(page);

  await page.click('#exact');
  await settled(page);
  assert.equal(await page.locator('#stage-name').textContent(), 'Exact');
  const exact = seen.masks.at(-1);
  assert.equal(exact.masks[0].soft, true);

  await page.click('#download');
  await page.uncheck('#freed');
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('#save')]);
  assert.equal(download.suggestedFilename(), 'turned.cutout.png');
  const cutout = readPng(await bytes(download));
  assert.deepEqual([cutout.width, cutout.height, cutout.channels], [360, 240, 4]);
  const alpha = RleMask.fromCoco(exact.masks[0].rle);
  for (let y = 0; y < 240; y++) {
    for (let x = 0; x < 360; x++) {
      // levels are whole numbers: 127 may be a little more than one half
      const level = cutout.data[4 * (y * 360 + x) + 3];
      if (level !== 127) assert.equal(level > 127, alpha.at(x, y), `alpha at ${x},${y}`);
    }
  }
  compareWithCommand(cutout, TURNED, seen.asked.filter((asked) => !asked.preview)[0].points[0]);
  assert.deepEqual(seen.errors, []);
});

/** The same by `hrseg segment`, where the variable HRSEG names the command: pixel by pixel. */
function compareWithCommand(cutout, { file }, [x, y]) {
  const { HRSEG, HRSEG_TEST_WEIGHTS } = process.env;
  if (!HRSEG) return;
  const out = mkdtempSync(join(tmpdir(), 'hrseg-serve-'));
  const weights = (name) => (HRSEG_TEST_WEIGHTS ? ['--weights', join(HRSEG_TEST_WEIGHTS, name)] : []);
  const segment = (folder, ...options) => execFileSync(HRSEG, ['segment', file, '-o', join(out, folder), ...options], { stdio: 'ignore' });
  segment('coarse', ...weights('mobile_sam.pt'), '--point', `${x},${y}`, '--multimask', '--format', 'mask');
  segment('exact', ...weights('isnet_general_use.safetensors'), '--model', 'sam+isnet', '--mask', join(out, 'coarse', 'turned.mask.png'), '--format', 'cutout');
  const expected = readPng(readFileSync(join(out, 'exact', 'turned.cutout.png')));
  assert.equal(Buffer.compare(Buffer.from(cutout.data), Buffer.from(expected.data)), 0, 'the same pixels as `hrseg segment`');
}

test('several objects: names, colours, candidates, and all of it undone', { skip }, async () => {
  const { page } = await open();
  await openFile(page, TURNED.file);
  await page.mouse.click(...await onScreen(page, TURNED, ...TURNED.cup));
  await settled(page);
  await page.keyboard.press('2');
  await settled(page);
  assert.equal(await page.locator('#candidates input').nth(1).isChecked(), true);
  await page.click('#new-object');
  await page.mouse.click(...await onScreen(page, TURNED, 330, 30));
  await settled(page);
  const rows = page.locator('#objects .object');
  assert.equal(await rows.count(), 2);
  await rows.nth(1).locator('.name').fill('Table');
  await rows.nth(1).locator('.name').press('Tab');
  assert.match(await covers(page), /Table covers/);
  await rows.nth(1).getByRole('button', { name: 'Delete Table' }).click();
  assert.equal(await rows.count(), 1);
  await page.locator('#stage').focus();
  for (let steps = 0; steps < 20 && await page.locator('#undo').isEnabled(); steps++) await page.keyboard.press('Control+z');
  assert.equal(await page.locator('#start').isVisible(), true, 'all undone is the first screen');
  for (let steps = 0; steps < 20 && await page.locator('#redo').isEnabled(); steps++) await page.click('#redo');
  await page.keyboard.press('Control+z');
  await settled(page);
  assert.equal(await rows.nth(1).locator('.name').inputValue(), 'Table');
});

test('the mask under the pointer comes before a click, and goes when the pointer does', { skip }, async () => {
  const { page, seen } = await open();
  await openFile(page, TURNED.file);
  const preview = page.waitForResponse((response) => response.url().endsWith('/masks') && response.request().postDataJSON().preview);
  await page.mouse.move(...await onScreen(page, TURNED, ...TURNED.cup));
  const answer = await (await preview).json();
  assert.ok(answer.masks[0].area > 0);
  assert.equal(answer.masks[0].result, undefined, 'a preview is not kept');
  // one that takes its time is taken back when the pointer moves on
  await page.route('**/masks', async (route) => {
    await new Promise((resolve) => setTimeout(resolve, 700));
    await route.continue().catch(() => {});
  });
  const cancelled = page.waitForEvent('requestfailed', (request) => request.url().endsWith('/masks'));
  const slow = page.waitForRequest('**/masks');
  await page.mouse.move(...await onScreen(page, TURNED, 60, 60));
  await slow;
  await page.mouse.move(5, 5);
  assert.match((await cancelled).failure().errorText, /ABORTED/);
  await settled(page);
  assert.ok(!(await covers(page)).includes('%'), 'nothing was clicked');
  assert.deepEqual(seen.errors, []);
});

test('box, brush, everything, compare', { skip }, async () => {
  const { page, seen } = await open();
  await openFile(page, TURNED.file);
  const drag = async (from, to) => {
    await page.mouse.move(...await onScreen(page, TURNED, ...from));
    await page.mouse.down();
    await page.mouse.move(...await onScreen(page, TURNED, ...to), { steps: 5 });
    await page.mouse.up();
    await settled(page);
  };
  await page.keyboard.press('b');
  await drag([100, 20], [260, 190]);
  const { box } = seen.asked.at(-1);
  box.forEach((v, i) => assert.ok(Math.abs(v - [100, 20, 260, 190][i]) <= 1.5, `box ${box}`));
  await page.click('#compare');
  await page.locator('#divider').focus();
  await page.keyboard.press('ArrowLeft');
  assert.equal(await page.locator('#compare-sides').isVisible(), true);
  await page.keyboard.press('Escape');
  assert.equal(await page.locator('#compare-sides').isVisible(), false);

  await page.keyboard.press('n');
  await page.keyboard.press('r');
  await drag([120, 90], [200, 100]);
  const { mask } = seen.asked.at(-1);
  assert.ok(RleMask.fromCoco(mask.rle).at(160, 95), 'the stroke is in the mask');

  await page.click('#everything');
  await settled(page, 600_000);
  await page.locator('#stage').focus();
  await page.keyboard.press('.');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Escape');
  await settled(page);
  assert.equal(await page.locator('#objects .object').count(), 3);
  assert.deepEqual(seen.errors, []);
});

test('what is wrong is corrected under the loupe, and the correction undone', { skip }, async (t) => {
  const { models } = await (await fetch(new URL('v1/models', BASE))).json();
  const corrects = models.find(({ tasks }) => tasks.includes('refine'));
  if (!corrects) return t.skip('skipped: the server has no Pi-SAM');
  const { page, seen } = await open();
  await openFile(page, TURNED.file);
  await page.mouse.click(...await onScreen(page, TURNED, ...TURNED.cup));
  await settled(page);
  const stage = () => page.locator('#stage-name').textContent();
  assert.equal(await stage(), 'Clicks');
  await page.keyboard.press('p');
  const [x, y] = [185, 120];
  await page.mouse.move(...await onScreen(page, TURNED, x, y));
  assert.equal(await page.locator('#loupe').isVisible(), true, 'single pixels are shown');
  await page.mouse.click(...await onScreen(page, TURNED, x, y));
  await settled(page);
  const { model, box, refine: [[cx, cy, label]] } = seen.asked.at(-1);
  assert.deepEqual([model, box.length, label], [corrects.name, 4, 1]);
  assert.ok(Math.hypot(cx - x, cy - y) < 2, `a correction at ${cx}, ${cy}`);
  assert.equal(await stage(), 'Corrected');
  await page.keyboard.press('Control+z');
  await settled(page);
  assert.equal(await stage(), 'Clicks');
  assert.deepEqual(seen.errors, []);
});

test('a truth gives figures', { skip }, async () => {
  const { page } = await open();
  await openFile(page, TURNED.file);
  await page.mouse.click(...await onScreen(page, TURNED, ...TURNED.cup));
  await settled(page);
  await page.click('#download');
  await page.click('#download-dialog label:has-text("Mask")');
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('#save')]);
  const truth = join(mkdtempSync(join(tmpdir(), 'hrseg-serve-')), 'truth.png');
  writeFileSync(truth, await bytes(download));
  await page.click('summary:has-text("Measure")');
  await page.setInputFiles('#truth', truth);
  await page.waitForSelector('#scores tr');
  assert.match(await page.locator('#scores tr', { hasText: 'IoU' }).first().textContent(), /1\.0000/);
});

test('a file that is no picture is refused in words, and nothing is lost', { skip }, async () => {
  const { page, seen } = await open();
  await openFile(page, TURNED.file);
  await page.mouse.click(...await onScreen(page, TURNED, ...TURNED.cup));
  await settled(page);
  const before = await covers(page);
  await page.setInputFiles('#files', { name: 'broken.png', mimeType: 'image/png', buffer: Buffer.from('\x89PNG no more') });
  await page.waitForSelector('.toast.error');
  assert.match(await page.locator('.toast.error').textContent(), /broken\.png could not be opened: \S/);
  assert.equal(await covers(page), before);
  assert.deepEqual(seen.errors, []);
});

test('a click that fails is told where it failed, and can be tried again', { skip }, async () => {
  const { page } = await open();
  await openFile(page, TURNED.file);
  await page.route('**/masks', (route) => route.abort('connectionrefused'));
  await page.mouse.click(...await onScreen(page, TURNED, ...TURNED.cup));
  await page.waitForSelector('#trouble button');
  assert.match(await page.locator('#trouble').textContent(), /does not answer/);
  await page.unroute('**/masks');
  // the server is back, and busy: it says when to come again
  let busy = 1;
  await page.route('**/masks', (route) => (busy-- > 0
    ? route.fulfill({ status: 503, headers: { 'Retry-After': '1', 'Content-Type': 'application/problem+json' }, body: '{"code": "busy"}' })
    : route.continue()));
  await page.click('#trouble button');
  await page.waitForFunction(() => document.getElementById('covers').textContent.includes('%'), null, { timeout: 60_000 });
  assert.equal(await page.locator('#trouble').isVisible(), false);
});

test('a model that is still being fetched is waited for, and a double click is a click', { skip }, async () => {
  const { page, seen } = await open();
  const turns = { embeddings: 6, masks: 6 };
  for (const what of Object.keys(turns)) {
    await page.route(`**/${what}`, (route) => (turns[what]-- > 0
      ? route.fulfill({
        status: 409, headers: { 'Retry-After': '0' }, contentType: 'application/problem+json',
        body: JSON.stringify({ code: 'loading', title: 'the model is being loaded', detail: 'still being loaded' }),
      })
      : route.continue()));
  }
  await openFile(page, TURNED.file);
  await page.mouse.dblclick(...await onScreen(page, TURNED, ...TURNED.cup));
  await settled(page);
  assert.match(await covers(page), /covers [\d.]+\s%/);
  assert.ok(turns.embeddings < 0 && turns.masks < 0, 'both were asked until they answered');
  assert.equal(await page.locator('#toasts').textContent(), '', 'nothing was said to have failed');
  assert.deepEqual(seen.errors, []);
});

test('a picture that the server has forgotten is sent again', { skip }, async () => {
  const { page, seen } = await open();
  await openFile(page, TURNED.file);
  const id = /\/images\/([^/]+)\/embeddings/.exec(seen.urls.find((url) => url.includes('/embeddings')))[1];
  assert.equal((await fetch(new URL(`v1/images/${id}`, BASE), { method: 'DELETE' })).status, 204);
  await page.mouse.click(...await onScreen(page, TURNED, ...TURNED.cup));
  await settled(page);
  const first = await covers(page);
  assert.match(first, /covers [\d.]+\s%/);

  // and so are the results that were asked for, when something is made of them
  await page.click('#exact');
  await settled(page);
  const exact = await covers(page);
  const now = /\/images\/([^/]+)\/masks/.exec(seen.urls.findLast((url) => url.endsWith('/masks')))[1];
  assert.notEqual(now, id);
  assert.equal((await fetch(new URL(`v1/images/${now}`, BASE), { method: 'DELETE' })).status, 204);
  await page.click('#download');
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('#save')]);
  const { data } = readPng(await bytes(download));
  assert.ok(data.some((v, i) => i % 4 === 3 && v > 0 && v < 255), 'its edges are still soft');
  await settled(page);
  assert.equal(await covers(page), exact);
});

test('nothing leaves the server, and the content security policy holds', { skip }, async () => {
  const { page, seen } = await open();
  await page.locator('.sample').first().click();
  await page.waitForFunction(() => document.body.classList.contains('has-picture'));
  await settled(page);
  const { origin } = new URL(BASE);
  for (const url of seen.urls) assert.ok(url.startsWith(`${origin}/`) || url.startsWith('blob:'), url);
  const { headers } = await page.evaluate(async () => ({ headers: Object.fromEntries((await fetch('/')).headers) }));
  assert.match(headers['content-security-policy'], /default-src 'self'/);
  assert.ok(!/unsafe/.test(headers['content-security-policy']));
  assert.equal(headers['x-content-type-options'], 'nosniff');
  assert.deepEqual(seen.errors, []);
});
