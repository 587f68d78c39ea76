// Makes the pictures of docs/images: `HRSEG_URL=http://127.0.0.1:8080/ node screenshots.mjs [FOLDER]`. Look at them.

import { join } from 'node:path';
import { closeAll, onScreen, open, openFile, settled, skip } from './browser.mjs';

const folder = process.argv[2] ?? join(import.meta.dirname, '../../docs/images');
if (skip) throw new Error(skip);
const photo = (name) => join(import.meta.dirname, '../data/photos', name);
const CUP = { width: 600, height: 400 };
const CLOCK = { width: 1280, height: 720 };
const shot = (page, name) => page.screenshot({ path: join(folder, `serve-${name}.png`) });
const click = async (page, size, x, y) => {
  await page.mouse.click(...await onScreen(page, size, x, y));
  await settled(page);
};

{
  const { page } = await open();
  await shot(page, 'start');
  await openFile(page, photo('coffee.jpg'));
  await click(page, CUP, 300, 210);
  await page.click('#new-object');
  await click(page, CUP, 360, 285);
  await shot(page, 'wide');
  await page.click('#exact');
  await settled(page);
  await page.click('#compare');
  await settled(page);
  await shot(page, 'compare');
}
{
  const { page } = await open({ colorScheme: 'dark' });
  await openFile(page, photo('dandelion.jpg'));
  await click(page, CLOCK, 350, 220);
  await page.click('#exact');
  await settled(page);
  await page.click('label:has(#mode-cutout)');
  await settled(page);
  await shot(page, 'dark');
}
{
  const { page } = await open({ viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 });
  await openFile(page, photo('coffee.jpg'));
  await page.touchscreen.tap(...await onScreen(page, CUP, 300, 210));
  await settled(page);
  await page.click('#panel-toggle');
  await settled(page);
  await shot(page, 'narrow');
}
{
  const { page } = await open();
  const clip = { width: 160, height: 96 };
  await openFile(page, join(import.meta.dirname, 'clip.gif'));
  // frame by frame, for want of weights that track
  for (const [x, y, dx] of [[38, 48, 6], [130, 22, -4]]) {
    if (x > 100) await page.click('#new-object');
    for (let frame = 0; frame < 8; frame++) {
      await page.locator('#frame').fill(String(frame));
      await settled(page);
      await click(page, clip, x + dx * frame, y);
    }
  }
  await page.locator('#frame').fill('4');
  await settled(page);
  await shot(page, 'video');
}
await closeAll();
