// The first screen: choose a file, or a sample.

import { byId, fill, h } from './dom.js';

/** @returns a function that opens the chooser of files. */
export function startScreen({ store, opener }) {
  const files = byId('files');
  const folder = byId('folder');
  for (const input of [files, folder]) {
    input.addEventListener('change', () => {
      const chosen = [...input.files];
      input.value = '';
      opener.open(chosen);
    });
  }
  byId('choose').addEventListener('click', () => files.click());
  byId('choose-folder').addEventListener('click', () => folder.click());
  return {
    choose: () => files.click(),
    samples() {
      const samples = store.ui.info?.samples ?? [];
      byId('samples-part').hidden = samples.length === 0;
      fill(byId('samples'), samples.map((sample) => h('button', { type: 'button', class: 'sample', onclick: () => opener.sample(sample) },
        h('img', { src: sample.href, alt: '', width: 160, height: 107, decoding: 'async' }),
        h('span', {}, sample.title))));
    },
  };
}
