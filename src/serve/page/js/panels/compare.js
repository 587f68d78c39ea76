// Two results side by side, with a line to move.

import { byId, fill, h, whenChanged } from '../dom.js';
import { currentObject } from '../model.js';
import { STAGES } from '../results.js';

export function comparePanel(app) {
  const { store, results } = app;
  const slider = byId('divider');
  const choices = () => store.doc.objects.flatMap((object) => {
    const several = store.doc.objects.length > 1 ? `${object.name}: ` : '';
    const known = results.stages(object, store.ui.frame).filter((stage) => stage.answer).map((stage) => ({
      key: `${object.id}/${stage.stage}`, label: several + STAGES[stage.stage],
      show: () => ({ object, found: results.ofStage(object, store.ui.frame, stage) }),
    }));
    const candidates = known.length > 0 ? candidatesOf(object, several) : [];
    return [...known, ...candidates];
  }).concat({ key: 'nothing', label: 'The picture alone', show: () => null });

  function candidatesOf(object, several) {
    const [clicks] = results.stages(object, store.ui.frame);
    if (!(clicks?.answer?.masks.length > 1)) return [];
    return clicks.answer.masks.map((record, n) => ({
      key: `${object.id}/candidate ${n + 1}`, label: `${several}Candidate ${n + 1}`,
      show: () => ({ object, found: { record, mask: results.maskFor(record), number: results.numberFor(record) } }),
    }));
  }

  const find = (key) => choices().find((choice) => choice.key === key);
  const begin = (keys) => {
    const half = (key) => () => {
      const shown = find(key)?.show();
      return shown?.found ? shown : null;
    };
    store.set({ compare: { keys, left: half(keys[0]), right: half(keys[1]), at: store.ui.compare?.at ?? 0.5 }, everything: null, hover: null });
  };

  byId('compare').addEventListener('click', () => {
    if (store.ui.compare) {
      store.set({ compare: null });
      return;
    }
    const own = choices().filter((choice) => choice.key.startsWith(`${store.doc.current}/`) && !choice.key.includes('candidate'));
    const right = own.at(-1)?.key ?? 'nothing';
    begin([own.length > 1 ? own.at(-2).key : 'nothing', right]);
    slider.focus();
  });
  for (const [side, id] of [[0, 'compare-left'], [1, 'compare-right']]) {
    byId(id).addEventListener('change', (event) => {
      const keys = [...store.ui.compare.keys];
      keys[side] = event.target.value;
      begin(keys);
    });
  }
  slider.addEventListener('input', () => store.set({ compare: { ...store.ui.compare, at: slider.valueAsNumber / 1000 } }));

  store.subscribe(whenChanged(
    () => {
      const object = currentObject(store.doc);
      const any = object && results.shown(object, store.ui.frame);
      return [store.ui.compare, Boolean(any), store.doc.objects, ...choices().map((choice) => choice.key)];
    },
    () => {
      const { compare } = store.ui;
      const object = currentObject(store.doc);
      byId('compare').disabled = !compare && !(object && results.shown(object, store.ui.frame));
      byId('compare').setAttribute('aria-pressed', String(Boolean(compare)));
      byId('compare-sides').hidden = !compare;
      byId('divider-row').hidden = !compare;
      if (!compare) return;
      byId('divider-row').style.setProperty('--at', String(compare.at));
      slider.value = String(Math.round(compare.at * 1000));
      slider.setAttribute('aria-valuetext', `${Math.round(compare.at * 100)} percent from the left`);
      ['compare-left', 'compare-right'].forEach((id, side) => fill(byId(id), choices().map(({ key, label }) => h('option', { value: key, selected: key === compare.keys[side] }, label))));
    },
  ));
}
