// What the tests of the page share: a browser, ways to wait, and the pixels of a PNG.

import { existsSync } from 'node:fs';
import { inflateSync } from 'node:zlib';
import { chromium } from 'playwright-core';

/** Where the server is: `http://127.0.0.1:8080/`. */
export const BASE = process.env.HRSEG_URL ?? null;

const PLACES = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const executablePath = PLACES.find((path) => path && existsSync(path)) ?? null;

/** Why nothing can be tested here; false when it can. */
export const skip = !BASE ? 'skipped: HRSEG_URL does not say where `hrseg serve` is'
  : !executablePath ? 'skipped: there is no Chromium; install it or say where it is with CHROMIUM' : false;

let browser = null;

/** A fresh page in a context of its own; `seen` collects what it asked and what went wrong. `ready`: waits for the server's answers. */
export async function open({ url = BASE, ready = true, ...options } = {}) {
  browser ??= await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'] });
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, acceptDownloads: true, ...options });
  const seen = { urls: [], errors: [], masks: [], asked: [], cancelled: [] };
  context.on('request', (request) => {
    seen.urls.push(request.url());
    if (request.url().endsWith('/masks')) seen.asked.push(request.postDataJSON());
  });
  context.on('requestfailed', (request) => seen.cancelled.push(request.url()));
  context.on('response', async (response) => {
    if (!response.url().endsWith('/masks') || !response.ok()) return;
    const asked = response.request().postDataJSON();
    const answer = await response.json().catch(() => null);
    if (answer && !asked.preview) seen.masks.push(answer);
  });
  const page = await context.newPage();
  page.on('pageerror', (error) => seen.errors.push(error.message));
  page.on('console', (message) => {
    // what the browser says of an answer of 4xx is what the test asked for
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) seen.errors.push(message.text());
  });
  await page.goto(url);
  if (ready) await page.waitForSelector('html[data-ready]', { state: 'attached' });
  return { page, context, seen };
}

export async function closeAll() {
  await browser?.close();
  browser = null;
}

/** Waits until nothing is being worked on. */
export async function settled(page, timeout = 120_000) {
  await page.waitForTimeout(120);
  await page.waitForFunction(() => !document.querySelector('.spinner') && document.getElementById('job').hidden, null, { timeout });
  await page.waitForTimeout(80);
}

/** Opens a file by the page's own chooser. */
export async function openFile(page, path) {
  await page.setInputFiles('#files', path);
  await page.waitForFunction(() => document.body.classList.contains('has-picture'));
  await settled(page);
}

/** Where a place of the picture, in its pixels, is on the screen: it is shown whole and in the middle. */
export async function onScreen(page, { width, height }, x, y) {
  const box = await page.locator('#stage').boundingBox();
  const margin = Math.min(24, box.width / 10, box.height / 10);
  const scale = Math.min((box.width - 2 * margin) / width, (box.height - 2 * margin) / height, 8);
  return [box.x + box.width / 2 + (x - width / 2) * scale, box.y + box.height / 2 + (y - height / 2) * scale];
}

/** What the page says that the mask covers. */
export const covers = (page) => page.locator('#covers').textContent();

/** Presses Tab until an element has the focus. */
export async function tabTo(page, id, most = 60) {
  for (let i = 0; i < most; i++) {
    if (await page.evaluate(() => document.activeElement?.id) === id) return;
    await page.keyboard.press('Tab');
  }
  throw new Error(`Tab does not reach #${id}`);
}

/** Bytes of a download. */
export async function bytes(download) {
  const parts = [];
  for await (const part of await download.createReadStream()) parts.push(part);
  return Buffer.concat(parts);
}

/** Pixels of a PNG of 8 bits without interlacing: `{width, height, channels, data}`. */
export function readPng(file) {
  if (file.readUInt32BE(0) !== 0x89504e47) throw new Error('this is no PNG');
  const [width, height] = [file.readUInt32BE(16), file.readUInt32BE(20)];
  const channels = { 0: 1, 2: 3, 4: 2, 6: 4 }[file[25]];
  if (file[24] !== 8 || !channels || file[28] !== 0) throw new Error(`a PNG of type ${file[25]}, ${file[24]} bits`);
  const packed = [];
  for (let at = 8; at < file.length;) {
    const length = file.readUInt32BE(at);
    if (file.toString('latin1', at + 4, at + 8) === 'IDAT') packed.push(file.subarray(at + 8, at + 8 + length));
    at += length + 12;
  }
  const raw = inflateSync(Buffer.concat(packed));
  const stride = width * channels;
  const data = new Uint8Array(stride * height);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (stride + 1)];
    for (let i = 0; i < stride; i++) {
      const left = i >= channels ? data[y * stride + i - channels] : 0;
      const up = y > 0 ? data[(y - 1) * stride + i] : 0;
      const corner = y > 0 && i >= channels ? data[(y - 1) * stride + i - channels] : 0;
      data[y * stride + i] = raw[y * (stride + 1) + 1 + i] + predicted(filter, left, up, corner);
    }
  }
  return { width, height, channels, data };
}

function predicted(filter, left, up, corner) {
  if (filter === 0) return 0;
  if (filter === 1) return left;
  if (filter === 2) return up;
  if (filter === 3) return (left + up) >> 1;
  const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}
