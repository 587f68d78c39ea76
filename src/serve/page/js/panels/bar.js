// The bars around the picture: tools, undo and redo, zoom, what is being done, and what the mask covers.

import { byId, whenChanged } from '../dom.js';
import { currentObject, promptsOf } from '../model.js';
import { TOOLS } from '../tools.js';

export function bars(app) {
  const { store, view, commands, results, live } = app;
  for (const id of ['undo', 'redo', 'download', 'help', 'everything']) byId(id).addEventListener('click', () => commands[id]());
  byId('open').addEventListener('click', () => commands.open());
  for (const tool of Object.keys(TOOLS)) byId(`tool-${tool}`).addEventListener('change', () => commands.tool(tool));
  byId('label-1').addEventListener('change', () => commands.label(1));
  byId('label-0').addEventListener('change', () => commands.label(0));
  byId('zoom-in').addEventListener('click', () => view.zoom(1.4));
  byId('zoom-out').addEventListener('click', () => view.zoom(1 / 1.4));
  byId('zoom-fit').addEventListener('click', () => view.fit());
  byId('brush-size').addEventListener('input', (event) => store.set({ brush: event.target.valueAsNumber }));
  byId('stop').addEventListener('click', () => store.ui.job?.cancel());
  byId('pick-previous').addEventListener('click', () => app.everything.step(-1));
  byId('pick-next').addEventListener('click', () => app.everything.step(1));
  byId('pick').addEventListener('click', () => app.everything.pick());
  byId('panel-toggle').addEventListener('click', () => store.set({ panel: !store.ui.panel }));

  store.subscribe(whenChanged(() => [store.doc, store.next.undo, store.next.redo], () => {
    for (const [id, word] of [['undo', 'Undo'], ['redo', 'Redo']]) {
      const label = store.next[id];
      byId(id).disabled = label === null;
      byId(id).title = label === null ? word : `${word}: ${label}`;
    }
    byId('history').hidden = !store.doc.source && store.next.undo === null && store.next.redo === null;
    document.body.classList.toggle('has-picture', Boolean(store.doc.source));
    byId('start').hidden = Boolean(store.doc.source);
    // messages and progress lie over the picture, not over what is below it
    const under = store.doc.source ? byId('stage').parentElement : document.querySelector('main');
    if (byId('toasts').parentElement !== under) under.append(byId('job'), byId('toasts'));
    byId('file-name').textContent = store.doc.source?.name ?? '';
    document.title = store.doc.source ? `${store.doc.source.name} – hrseg` : 'hrseg: cut anything out';
  }));

  store.subscribe(whenChanged(() => [store.ui.tool, store.ui.label, store.ui.brush, store.ui.everything, store.ui.compare, store.ui.chosenModels, store.ui.panel], () => {
    const { tool, label, brush, everything, chosenModels, panel } = store.ui;
    byId(`tool-${tool}`).checked = true;
    byId(`label-${label}`).checked = true;
    byId('brush-row').hidden = tool !== 'brush';
    byId('labels').hidden = Boolean(everything) || Boolean(store.ui.compare) || tool === 'hand' || tool === 'box';
    byId('brush-size').value = String(brush);
    byId('tool-correct').closest('label').hidden = !chosenModels?.correct;
    byId('everything').setAttribute('aria-pressed', String(Boolean(everything)));
    byId('everything').hidden = !chosenModels?.everything;
    byId('pick-row').hidden = !everything;
    byId('pick').disabled = everything?.at === null;
    byId('stage').dataset.tool = everything ? 'pick' : tool;
    document.body.classList.toggle('panel-open', panel);
    byId('panel-toggle').setAttribute('aria-expanded', String(panel));
  }));

  store.subscribe(whenChanged(() => [store.ui.job, store.ui.preparing], () => {
    const { job, preparing } = store.ui;
    const shown = job ?? preparing;
    byId('job').hidden = !shown;
    byId('stop').hidden = !job;
    if (!shown) return;
    const { what, done, of, left } = shown;
    const parts = [of > 0 ? `${done} of ${of}` : null, left ? `${Math.ceil(left)} s left` : null].filter(Boolean);
    byId('job-text').textContent = parts.length > 0 ? `${what}: ${parts.join(', ')}` : `${what} …`;
    const meter = byId('job-meter');
    if (of > 0) {
      meter.max = of;
      meter.value = done;
    } else {
      meter.removeAttribute('value');
    }
  }));

  /** What the current object's mask covers, for everybody: a line below the picture, and the live region. */
  let told = null;
  store.subscribe(whenChanged(() => {
    const object = currentObject(store.doc);
    const found = object && store.doc.source ? results.shown(object, store.ui.frame) : null;
    return [store.doc.source, object?.name, found?.record, found?.stage, store.ui.frame];
  }, () => {
    const { source } = store.doc;
    const object = currentObject(store.doc);
    const found = object && source ? results.shown(object, store.ui.frame) : null;
    const size = source ? `${source.width} × ${source.height}` : '';
    // a second stage sees the picture, not what was clicked away
    const inside = ([x, y, label]) => label === 0 && found.record.unpacked.at(Math.floor(x), Math.floor(y));
    const again = found?.stage === 'exact' && promptsOf(object, store.ui.frame).points.some(inside);
    const covered = found && `${object.name} covers ${app.describe(found.record)}${again ? ': what was left out is in it again' : ''}`;
    byId('covers').textContent = found ? `${size} · ${covered}` : size;
    if (found && found.record !== told && !store.ui.job && !store.ui.playing) live.whisper(covered);
    told = found?.record ?? null;
    // where the panel is out of sight, its button says that there is something to choose
    const choice = found?.stage === 'clicks' && found.answer.masks.length > 1;
    byId('panel-toggle').querySelector('span').textContent = choice ? 'Which one?' : 'Options';
    byId('panel-toggle').classList.toggle('asks', choice);
  }));

  return () => {
    byId('zoom-level').textContent = `${Math.round((100 * view.scale) / (devicePixelRatio || 1))} %`;
  };
}
