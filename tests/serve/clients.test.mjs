// The clients in docs/serve.md, as they stand there.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { BASE } from './browser.mjs';

const here = (name) => join(import.meta.dirname, name);
const docs = readFileSync(here('../../docs/serve.md'), 'utf8');
const example = (language) => new RegExp(`<!-- test: ${language} -->\\n\`\`\`${language}\\n([\\s\\S]*?)\`\`\``).exec(docs)[1];
const lacks = (program) => (!BASE && 'skipped: HRSEG_URL is not set')
  || (spawnSync(program, ['--version']).error ? `skipped: there is no ${program}` : false);
const isPng = (file) => readFileSync(file).readUInt32BE(0) === 0x89504e47;

test('ten lines of Python', { skip: lacks('python3') }, () => {
  const cwd = mkdtempSync(join(tmpdir(), 'hrseg-serve-'));
  const told = execFileSync('python3', ['-c', example('python'), BASE.replace(/\/$/, ''), here('turned.jpg'), '170', '95'], { cwd });
  assert.match(String(told), /^[1-9]\d* pixels/);
  assert.ok(isPng(join(cwd, 'cutout.png')));
});

test('curl', { skip: lacks('curl') }, () => {
  const cwd = mkdtempSync(join(tmpdir(), 'hrseg-serve-'));
  execFileSync('sh', ['-ec', example('sh')], { cwd, env: { ...process.env, SERVER: BASE.replace(/\/$/, ''), PHOTO: here('turned.jpg') } });
  assert.ok(isPng(join(cwd, 'mask.png')));
});
