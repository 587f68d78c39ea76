// The page without a mouse: by keyboard alone, by touch, and read by axe-core.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { bytes, closeAll, covers, onScreen, open, openFile, readPng, settled, skip, tabTo } from './browser.mjs';

const here = (name) => join(import.meta.dirname, name);
const TURNED = { width: 360, height: 240 };
const axe = skip ? '' : readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

after(closeAll);

test('by keyboard alone', { skip }, async () => {
  const { page, seen } = await open();
  const chooser = page.waitForEvent('filechooser'); // before the keys: the browser has to be told to wait with its dialogue
  await tabTo(page, 'choose');
  await page.keyboard.press('Enter');
  await (await chooser).setFiles(here('turned.jpg'));
  await page.waitForFunction(() => document.body.classList.contains('has-picture'));
  await settled(page);
  assert.equal(await page.evaluate(() => document.activeElement.id), 'stage', 'the picture has the focus');

  await page.keyboard.press('ArrowLeft');
  for (let i = 0; i < 2; i++) await page.keyboard.press('ArrowUp');
  assert.match(await page.locator('#live').textContent(), /^\d+, \d+/, 'the place is told');
  await page.keyboard.press('Enter');
  await settled(page);
  const first = await covers(page);
  assert.match(first, /covers [\d.]+\s%/);

  for (let i = 0; i < 2; i++) await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Delete');
  await settled(page);
  assert.deepEqual(seen.asked.findLast((asked) => !asked.preview).points.map((point) => point[2]), [1, 0]);
  await page.keyboard.press('Control+z');
  await settled(page);
  assert.equal(await covers(page), first);

  await page.keyboard.press('e');
  await settled(page);
  assert.equal(await page.locator('#stage-name').textContent(), 'Exact');

  await page.keyboard.press('d');
  await tabTo(page, 'save');
  const [download] = await Promise.all([page.waitForEvent('download'), page.keyboard.press('Enter')]);
  const { width, height, channels } = readPng(await bytes(download));
  assert.deepEqual([width, height, channels], [360, 240, 4]);

  const zoom = () => page.locator('#zoom-level').textContent();
  await page.locator('#stage').focus();
  const before = await zoom();
  await page.keyboard.press('+');
  assert.notEqual(await zoom(), before);
  await page.keyboard.press('0');
  assert.equal(await zoom(), before);

  // a box by its two corners
  await page.keyboard.press('n');
  await page.keyboard.press('b');
  await page.keyboard.press('ArrowLeft');
  await page.keyboard.press('Enter');
  for (let i = 0; i < 3; i++) {
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowDown');
  }
  await page.keyboard.press('Enter');
  await settled(page);
  assert.equal(seen.asked.findLast((asked) => !asked.preview).box.length, 4);
  assert.deepEqual(seen.errors, []);
});

test('by touch, on a narrow screen', { skip }, async () => {
  const { page, context } = await open({ viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 });
  await openFile(page, here('turned.jpg'));
  await page.touchscreen.tap(...await onScreen(page, TURNED, 170, 95));
  await settled(page);
  assert.match(await covers(page), /covers [\d.]+\s%/);
  assert.equal(await page.locator('#panel-toggle').textContent(), 'Which one?', 'the way to the candidates is shown');
  await page.click('#panel-toggle');
  for (const viewport of [{ width: 390, height: 780 }, { width: 320, height: 640 }]) {
    await page.setViewportSize(viewport);
    const out = await page.evaluate(() => [...document.querySelectorAll('button, input, select, .labels')]
      .filter((element) => element.checkVisibility() && !element.closest('#thumbs') && !element.classList.contains('visually-hidden'))
      .filter((element) => element.getBoundingClientRect().right > innerWidth + 0.5 || element.getBoundingClientRect().left < -0.5)
      .map((element) => element.id || element.textContent));
    assert.deepEqual(out, [], `nothing sticks out at ${viewport.width} pixels`);
  }
  await page.setViewportSize({ width: 390, height: 780 });
  await page.click('#panel-toggle');
  await page.waitForTimeout(200);

  const zoom = async () => Number.parseInt(await page.locator('#zoom-level').textContent(), 10);
  const before = await zoom();
  const session = await context.newCDPSession(page);
  const [x, y] = await onScreen(page, TURNED, 180, 120);
  const touch = (type, reach) => session.send('Input.dispatchTouchEvent', {
    type, touchPoints: reach === null ? [] : [{ x: x - reach, y, id: 1 }, { x: x + reach, y, id: 2 }],
  });
  await touch('touchStart', 30);
  for (let reach = 40; reach <= 90; reach += 10) await touch('touchMove', reach);
  await touch('touchEnd', null);
  await page.waitForTimeout(200);
  assert.ok(await zoom() >= 2 * before, `pinching ${before} % gives ${await zoom()} %`);
});

for (const colorScheme of ['light', 'dark']) {
  test(`axe finds nothing serious, ${colorScheme}`, { skip }, async () => {
    const { page } = await open({ colorScheme, reducedMotion: 'reduce' });
    const check = async (what) => {
      await page.evaluate(axe);
      const { violations, passes } = await page.evaluate(() => axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
      const told = violations.map(({ id, impact, nodes }) => `${what}: ${impact} ${id}: ${nodes.map((node) => node.target).join(', ')}`);
      assert.ok(passes.length > 10, `${what}: axe looked at something`);
      assert.deepEqual(told, []);
    };
    await check('first screen');
    await openFile(page, here('turned.jpg'));
    await check('picture');
    await page.mouse.click(...await onScreen(page, TURNED, 170, 95));
    await settled(page);
    for (const summary of await page.locator('summary').all()) await summary.click();
    await check('mask');
    await page.click('label:has(#mode-cutout)');
    await page.click('#compare');
    await check('comparison');
    await page.keyboard.press('Escape');
    await page.click('#download');
    await check('download');
    await page.keyboard.press('Escape');
    await page.click('#help');
    await check('keys');
    await page.keyboard.press('Escape');
    await page.setInputFiles('#files', here('clip.gif'));
    await page.waitForFunction(() => document.body.classList.contains('has-video'));
    await settled(page);
    await check('video');
  });
}
