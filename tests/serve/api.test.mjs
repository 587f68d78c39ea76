// The API as docs/serve.md promises it, seen from outside: what is answered, and what is refused and how.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { RleMask } from '../../src/serve/page/js/rle.js';
import { BASE, readPng } from './browser.mjs';

const skip = BASE ? false : 'skipped: HRSEG_URL does not say where `hrseg serve` is';
const photo = readFileSync(join(import.meta.dirname, 'turned.jpg'));
const at = (path) => new URL(path, BASE);
const JSON_TYPE = { 'Content-Type': 'application/json' };
const post = (path, body, headers = JSON_TYPE) =>
  fetch(at(path), { method: 'POST', headers, body: headers === JSON_TYPE && typeof body !== 'string' ? JSON.stringify(body) : body });
const upload = (bytes = photo, type = 'image/jpeg') => post('v1/images', bytes, { 'Content-Type': type });
let image = null;

/** An answer is a problem of this status and code, with a sentence. */
async function isProblem(response, status, code) {
  const told = `${response.url}: ${response.status}`;
  assert.equal(response.status, status, told);
  assert.match(response.headers.get('content-type'), /^application\/problem\+json/, told);
  const problem = await response.json();
  assert.equal(problem.code, code);
  assert.equal(problem.status, status);
  assert.equal(problem.type, `urn:hrseg:problem:${code}`);
  assert.ok(problem.detail.length > 5, 'a sentence');
  return problem;
}

/** A request with headers that `fetch` does not let through. */
function bare(path, headers, method = 'GET') {
  const { hostname, port } = new URL(BASE);
  return new Promise((resolve, reject) => {
    const asked = request({ hostname, port, path, method, headers }, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(parts).toString() }));
    });
    asked.on('error', reject);
    asked.end();
  });
}

before(async () => {
  if (skip) return;
  const answer = await upload();
  assert.equal(answer.status, 201);
  image = await answer.json();
  assert.equal(answer.headers.get('location'), `/v1/images/${image.id}`);
});

test('an image is upright, and its pixels are, too', { skip }, async () => {
  assert.deepEqual([image.width, image.height, image.orientation], [360, 240, 6]);
  assert.ok(image.id.length >= 22, 'an id of 128 random bits');
  const answer = await fetch(at(`v1/images/${image.id}/pixels`));
  assert.equal(answer.headers.get('content-type'), 'image/png');
  const whole = readPng(Buffer.from(await answer.arrayBuffer()));
  assert.deepEqual([whole.width, whole.height], [360, 240]);
  const part = readPng(Buffer.from(await (await fetch(at(`v1/images/${image.id}/pixels?x=100&y=50&width=40&height=30`))).arrayBuffer()));
  assert.deepEqual([part.width, part.height], [40, 30]);
  for (let c = 0; c < 3; c++) assert.equal(part.data[c], whole.data[3 * (50 * 360 + 100) + c]);
  const small = readPng(Buffer.from(await (await fetch(at(`v1/images/${image.id}/pixels?max_side=90`))).arrayBuffer()));
  assert.deepEqual([small.width, small.height], [90, 60]);
});

test('multipart is taken, its file name is not', { skip }, async () => {
  const form = new FormData();
  form.append('image', new Blob([photo]), '../../etc/passwd');
  const answer = await fetch(at('v1/images'), { method: 'POST', body: form });
  assert.equal(answer.status, 201);
  assert.ok(!JSON.stringify(await answer.json()).includes('passwd'));
});

test('masks: RLE, PNG and the result are the same mask', { skip }, async () => {
  const asked = { points: [[170, 95, 1]] };
  const { masks, width, height } = await (await post(`v1/images/${image.id}/masks`, asked)).json();
  assert.deepEqual([width, height], [360, 240]);
  const [mask] = masks;
  const runs = RleMask.fromCoco(mask.rle);
  assert.equal(runs.area, mask.area);
  assert.ok(mask.area > 0);
  const png = await post(`v1/images/${image.id}/masks`, JSON.stringify(asked), { ...JSON_TYPE, Accept: 'image/png' });
  assert.equal(png.headers.get('content-type'), 'image/png');
  assert.ok(png.headers.get('hrseg-result'));
  const kept = await fetch(at(`v1/images/${image.id}/results/${mask.result}`));
  assert.deepEqual(Buffer.from(await kept.arrayBuffer()), Buffer.from(await png.arrayBuffer()));
});

test('one embedding for two that ask at once', { skip }, async () => {
  const { id } = await (await upload()).json();
  const ask = async () => {
    const answer = await fetch(at(`v1/images/${id}/embeddings`), { method: 'POST', headers: { ...JSON_TYPE, Accept: 'text/event-stream' }, body: '{}' });
    assert.match(answer.headers.get('content-type'), /^text\/event-stream/);
    return answer.text();
  };
  for (const text of await Promise.all([ask(), ask()])) assert.match(text, /event: ready\ndata: \{/);
});

test('what is wrong is told in problems', { skip }, async () => {
  await isProblem(await fetch(at('v1/images/nobody')), 404, 'unknown-id');
  await isProblem(await fetch(at('v1/nothing')), 404, 'unknown-route');
  await isProblem(await post(`v1/images/${image.id}/masks`, '{"points": [[1'), 400, 'invalid-request');
  await isProblem(await post(`v1/images/${image.id}/masks`, { model: '../../weights.pt', points: [[1, 1, 1]] }), 404, 'unknown-model');
  await isProblem(await post(`v1/images/${image.id}/masks`, { points: [[5000, 10, 1]] }), 422, 'invalid-prompt');
  await isProblem(await post(`v1/images/${image.id}/masks`, { mask: { result: 'nobody' } }), 404, 'unknown-id');
  await isProblem(await upload(Buffer.from('GIF89a, but not much more')), 422, 'unreadable');
  await isProblem(await upload(photo.subarray(0, 4000)), 422, 'unreadable');
  await isProblem(await upload(Buffer.alloc(0)), 422, 'unreadable');
});

/** The address of a server that wants a token and finds no ffmpeg. */
const TOKEN_URL = process.env.HRSEG_TOKEN_URL;
test('a video file without ffmpeg is a problem of its own', { skip: skip || (!TOKEN_URL && 'skipped: HRSEG_TOKEN_URL is not set') }, async () => {
  const headers = { 'Content-Type': 'video/mp4', Authorization: `Bearer ${TOKEN_URL.split('token=')[1]}` };
  const video = Buffer.concat([Buffer.from([0, 0, 0, 16]), Buffer.from('ftypisom\0\0\x02\0', 'latin1'), Buffer.alloc(64)]);
  const answer = await fetch(new URL('v1/videos', new URL(TOKEN_URL).origin), { method: 'POST', headers, body: video });
  const { detail } = await isProblem(answer, 422, 'no-ffmpeg');
  assert.match(detail, /`ffmpeg`.+ frames, a GIF/);
  assert.doesNotMatch(detail, /\/tmp|^\//, 'no path of the machine');
});

test('a deleted image is gone', { skip }, async () => {
  const { id } = await (await upload()).json();
  assert.equal((await fetch(at(`v1/images/${id}`), { method: 'DELETE' })).status, 204);
  await isProblem(await fetch(at(`v1/images/${id}`)), 404, 'unknown-id');
  await isProblem(await post(`v1/images/${id}/masks`, { points: [[1, 1, 1]] }), 404, 'unknown-id');
});

test('no other page can drive it', { skip }, async () => {
  const { host } = new URL(BASE);
  assert.equal((await bare('/v1/models', { Host: 'evil.example' })).status, 421);
  assert.equal((await bare('/v1/models', { Host: host, Origin: 'http://evil.example' })).status, 403);
  assert.equal((await bare('/v1/models', { Host: host, Origin: 'null' })).status, 403);
  const own = await bare('/v1/models', { Host: host, Origin: `http://${host}` });
  assert.equal(own.status, 200);
  for (const { headers } of [own, await bare('/v1/images', { Host: host, Origin: 'http://evil.example', 'Access-Control-Request-Method': 'POST' }, 'OPTIONS')]) {
    assert.ok(!Object.keys(headers).some((name) => name.startsWith('access-control-')), 'no CORS');
    assert.equal(headers['set-cookie'], undefined);
  }
  assert.equal(own.headers['x-content-type-options'], 'nosniff');
});

test('no path leads out of the page', { skip }, async () => {
  const { host } = new URL(BASE);
  for (const path of ['/../Cargo.toml', '/js/../../../../Cargo.toml', '/%2e%2e/%2e%2e/Cargo.toml', '/samples/..%2f..%2fCargo.toml', '//etc/passwd']) {
    const { status, body } = await bare(path, { Host: host });
    assert.ok(status >= 400 && !body.includes('[package]') && !body.includes('root:'), `${path}: ${status}`);
  }
});

test('an aborted request harms nobody', { skip }, async () => {
  const abort = new AbortController();
  const asked = fetch(at(`v1/images/${image.id}/everything`), {
    method: 'POST', headers: { ...JSON_TYPE, Accept: 'text/event-stream' }, body: '{}', signal: abort.signal,
  }).then((response) => response.text());
  setTimeout(() => abort.abort(), 150);
  await assert.rejects(asked, { name: 'AbortError' });
  assert.equal((await post(`v1/images/${image.id}/masks`, { points: [[170, 95, 1]] })).status, 200);
});

test('alive, ready', { skip }, async () => {
  assert.equal((await fetch(at('healthz'))).status, 200);
  assert.equal((await fetch(at('readyz'))).status, 200);
});
