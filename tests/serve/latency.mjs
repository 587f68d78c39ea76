// How long a click takes in the browser, from the button's release until the mask is on the screen; and the server's part of it. Not a test: prints figures.
//
//   HRSEG_URL=http://127.0.0.1:8080/ node latency.mjs [PHOTO] [CLICKS]

import { resolve } from 'node:path';
import { closeAll, onScreen, open, openFile, settled, skip } from './browser.mjs';

if (skip) {
  console.log(skip);
  process.exit(1);
}
const photo = resolve(process.argv[2] ?? `${import.meta.dirname}/../data/photos/rocket.jpg`);
const clicks = Number(process.argv[3] ?? 60);

/** Armed before a click: milliseconds from the release of the button to the first frame that has the mask. */
const armed = () => {
  globalThis.clicked = new Promise((done) => {
    let released = 0;
    addEventListener('pointerup', () => { released = performance.now(); }, { capture: true, once: true });
    const covers = document.getElementById('covers');
    const watch = new MutationObserver(() => {
      if (!released || !covers.textContent.includes(' covers ')) return;
      watch.disconnect();
      // the next frame draws the mask; at the beginning of the one after it, it is on the screen
      requestAnimationFrame(() => requestAnimationFrame((now) => done(now - released)));
    });
    watch.observe(covers, { childList: true, characterData: true, subtree: true });
  });
};

const { page, seen } = await open();
await openFile(page, photo);
const size = await page.evaluate(async () => {
  const [, width, height] = document.getElementById('covers').textContent.match(/(\d+) × (\d+)/).map(Number);
  return { width, height };
});
const took = [];
for (let i = 0; i <= clicks; i++) {
  // spread over the picture by the golden ratio
  const [u, v] = [(i * 0.618034) % 1, (i * 0.754878) % 1].map((part) => 0.1 + 0.8 * part);
  await page.mouse.move(...await onScreen(page, size, u * size.width, v * size.height));
  await page.waitForTimeout(250); // as a hand rests; what hovering shows has come
  await page.evaluate(armed);
  await page.mouse.down();
  await page.mouse.up();
  const ms = await page.evaluate(() => globalThis.clicked);
  if (i > 0) took.push(ms); // the first one waits for the picture's embedding
  await page.keyboard.press('Control+z');
  await settled(page);
}
const server = seen.masks.slice(1).map(({ seconds }) => 1000 * (seconds.queue + seconds.embed + seconds.predict));
await closeAll();

const at = (values, part) => [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(part * values.length))];
for (const [what, values] of [['in the browser, button to screen', took], ['of it in the server', server]]) {
  console.log(`${what}: median ${at(values, 0.5).toFixed(0)} ms, 95th percentile ${at(values, 0.95).toFixed(0)} ms, ${values.length} clicks`);
}
