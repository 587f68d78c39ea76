// The mask against a truth that the person has.

import { isAbort } from '../api.js';
import { byId, fill, h, percent, whenChanged } from '../dom.js';
import { currentObject } from '../model.js';

export function measurePanel(app) {
  const { store, api, remote, results, live } = app;
  const drop = byId('truth-drop');
  let abort = null;

  async function take(file) {
    if (!file) return;
    const { source } = store.doc;
    const { frame } = store.ui;
    byId('truth-trouble').hidden = true;
    try {
      const answer = await remote.onFrame(source, frame, (path) => api.uploadTruth(path, file));
      store.change('true mask', (doc) => ({ ...doc, truth: { file, name: file.name, frame, ids: { [source.key]: answer.truth } } }));
      const notes = answer.notes?.length > 0 ? ` Note: ${answer.notes.join('; ')}.` : '';
      live.say(`${file.name} is the truth.${notes}`);
    } catch (error) {
      byId('truth-trouble').hidden = false;
      byId('truth-trouble').textContent = `${file.name}: ${error.message}`;
      live.whisper(error.message);
    }
  }
  byId('choose-truth').addEventListener('click', () => byId('truth').click());
  byId('truth').addEventListener('change', (event) => {
    take(event.target.files[0]);
    event.target.value = '';
  });
  byId('forget-truth').addEventListener('click', () => store.change('no true mask', (doc) => ({ ...doc, truth: null })));
  drop.addEventListener('dragover', () => drop.classList.add('over'));
  drop.addEventListener('dragleave', () => drop.classList.remove('over'));
  drop.addEventListener('drop', (event) => {
    event.preventDefault();
    drop.classList.remove('over');
    take(event.dataTransfer.files[0]);
  });

  async function measure(truth, found) {
    abort?.abort();
    const own = new AbortController();
    abort = own;
    const { source } = store.doc;
    try {
      const { scores } = await remote.onFrame(source, truth.frame, async (path) => {
        const body = { truth: truth.ids[source.key], mask: results.reference(found.record) };
        try {
          return await api.scores(path, body, { signal: own.signal });
        } catch (error) {
          // the picture was sent again, and its truth with it
          if (error.code !== 'unknown-id') throw error;
          truth.ids[source.key] = (await api.uploadTruth(path, truth.file, { signal: own.signal })).truth;
          return api.scores(path, { ...body, truth: truth.ids[source.key] }, { signal: own.signal });
        }
      });
      show(scores);
    } catch (error) {
      if (isAbort(error)) return;
      fill(byId('scores'), h('tr', {}, h('td', { colspan: 2 }, error.message)));
    }
  }

  function show(scores) {
    fill(byId('scores'), scores.map(({ label, value, better }) => h('tr', {},
      h('th', { scope: 'row', title: better === 'higher' ? 'Higher is better' : 'Lower is better' }, `${label} ${better === 'higher' ? '↑' : '↓'}`),
      h('td', {}, value === null ? '–' : Math.abs(value) >= 10 ? value.toFixed(0) : value.toFixed(4)))));
    const iou = scores.find(({ metric }) => metric === 'mask_iou');
    if (iou) live.whisper(`IoU with the true mask: ${percent(iou.value)}`);
  }

  const now = () => {
    const object = currentObject(store.doc);
    return object && store.doc.source ? results.shown(object, store.ui.frame) : null;
  };
  store.subscribe(whenChanged(
    () => [store.doc.truth, now()?.number, store.ui.frame],
    () => {
      const { truth } = store.doc;
      const found = now();
      byId('forget-truth').hidden = !truth;
      byId('truth-name').textContent = truth ? truth.name : 'Drop the true mask here, or';
      const here = truth && truth.frame === store.ui.frame;
      byId('scores-table').hidden = !here || !found;
      if (here && found) measure(truth, found);
    },
  ));
}
