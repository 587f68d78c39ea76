// The current object: its candidates, what can be done with its mask, and what went wrong.

import { byId, fill, h, percent, whenChanged } from '../dom.js';
import { currentObject, hasPrompts, promptsOf } from '../model.js';
import { STAGES } from '../results.js';
import { share } from './objects.js';

const SIZE = 96;
const SIZES = ['smallest', 'middle', 'largest'];

export function objectPanel(app) {
  const { store, results, commands, pictures, layers, live } = app;
  byId('exact').addEventListener('click', commands.exact);
  byId('correct').addEventListener('click', () => commands.tool(store.ui.tool === 'correct' ? 'click' : 'correct'));
  byId('subject').addEventListener('click', commands.subject);
  byId('start-over').addEventListener('click', commands.clear);

  /** The three masks of a single click, with what they cover. */
  function candidates(object, clicks) {
    const box = byId('candidates');
    const masks = clicks?.answer?.masks ?? [];
    byId('candidates-part').hidden = masks.length < 2;
    if (masks.length < 2) {
      fill(box);
      return;
    }
    const chosen = promptsOf(object, store.ui.frame).chosen ?? 0;
    const { source } = store.doc;
    const bySize = [...masks].sort((a, b) => a.area - b.area);
    fill(box, masks.map((record, n) => {
      const canvas = h('canvas', { width: 2 * SIZE, height: Math.round(2 * SIZE * Math.min(1.25, Math.max(0.6, source.height / source.width))), 'aria-hidden': 'true' });
      thumbnail(canvas, record, object.colour);
      const size = masks.length === 3 ? SIZES[bySize.indexOf(record)] : '';
      return h('label', { class: 'candidate' },
        h('input', {
          type: 'radio', name: 'candidate', checked: n === chosen, 'data-key': `candidate-${n}`, class: 'visually-hidden',
          'aria-label': `Candidate ${n + 1}, ${size}: ${percent(share(record, source))} of the picture`,
          onchange: () => commands.candidate(n),
        }),
        canvas,
        h('span', {}, `${n + 1} · ${percent(share(record, source))}`));
    }));
  }

  function thumbnail(canvas, record, colour) {
    const { source } = store.doc;
    const base = pictures.base(source, store.ui.frame);
    const context = canvas.getContext('2d');
    if (!base) return;
    const { width, height } = canvas;
    const scale = Math.min(width / source.width, height / source.height);
    const [w, hh] = [Math.max(1, Math.round(source.width * scale)), Math.max(1, Math.round(source.height * scale))];
    const [x, y] = [(width - w) / 2, (height - hh) / 2];
    const view = { scale, x, y, size: { width, height }, toScreen: (px, py) => [px * scale + x, py * scale + y] };
    const grid = { x0: 0, y0: 0, step: 1 / scale, columns: w, rows: hh };
    context.drawImage(base, view.x, view.y, w, hh);
    context.fillStyle = 'rgb(0 0 0 / 0.45)';
    context.fillRect(view.x, view.y, w, hh);
    const cells = layers.cells(results.maskFor(record), results.numberFor(record), grid, source);
    const colours = [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16));
    layers.tint(context, view, grid, cells, colours, 0.85);
  }

  /** What went wrong, where it did, with a way on. */
  let told = null;
  function trouble(stages) {
    const failed = stages.find((stage) => stage.state === 'failed');
    byId('trouble').hidden = !failed;
    const seen = told === failed?.error;
    told = failed?.error ?? null;
    if (!failed) return;
    // on a narrow screen the options may be away
    if (!seen && !byId('panel').checkVisibility()) live.say(failed.error.message, 'error');
    fill(byId('trouble'), h('p', {}, failed.error.message),
      h('button', { type: 'button', 'data-key': 'retry', onclick: () => results.retry() }, 'Try again'));
  }

  store.subscribe(whenChanged(
    () => {
      const { doc, ui } = store;
      const object = currentObject(doc);
      const stages = object ? results.stages(object, ui.frame) : [];
      const base = doc.source && pictures.base(doc.source, ui.frame);
      return [doc.source, object, ui.frame, ui.chosenModels, ui.tool, base, ...stages.flatMap((s) => [s.stage, s.state, s.answer])];
    },
    () => {
      const { doc, ui } = store;
      const object = currentObject(doc);
      if (!object || !doc.source) return;
      const prompts = promptsOf(object, ui.frame);
      const stages = results.stages(object, ui.frame);
      const shown = results.shown(object, ui.frame);
      candidates(object, prompts.subject ? null : stages[0]);
      trouble(stages);
      const exact = byId('exact');
      exact.disabled = !shown;
      exact.setAttribute('aria-pressed', String(prompts.exact));
      exact.classList.toggle('working', prompts.exact && stages.at(-1)?.state === 'busy');
      byId('correct').disabled = !shown;
      byId('correct').setAttribute('aria-pressed', String(ui.tool === 'correct'));
      byId('correct').hidden = !ui.chosenModels?.correct;
      byId('subject').hidden = !ui.chosenModels?.subject || hasPrompts(prompts) || Boolean(shown);
      byId('start-over').disabled = Object.keys(object.frames).length === 0 && !shown;
      const notes = stages.flatMap((stage) => stage.answer?.notes ?? []);
      const now = stages.findLast((stage) => stage.answer);
      byId('first-step').hidden = Boolean(shown) || stages.length > 0;
      byId('stage-name').textContent = shown ? (STAGES[now?.stage] ?? 'Tracked') : '';
      fill(byId('notes'), notes.map((note) => h('p', { class: 'note' }, note)));
    },
  ));
}
