// The list of objects.

import { byId, fill, h, icon, percent, whenChanged } from '../dom.js';
import { changeObject, hasPrompts, promptsOf, withObject, withoutObject } from '../model.js';

export function objectsPanel(app) {
  const { store, results, live } = app;
  const list = byId('objects');
  byId('new-object').addEventListener('click', () => {
    store.change('new object', (doc) => withObject(doc));
    live.say('New object: click on what it is.');
  });

  const row = (object) => {
    const { doc } = store;
    const current = object.id === doc.current;
    const change = (label, patch, merge) => store.change(label, (d) => changeObject(d, object.id, patch), { merge });
    const select = () => store.change('other object', (d) => ({ ...d, current: object.id }), { merge: 'select' });
    return h('li', {
      class: current ? 'object current' : 'object',
      onclick: (event) => { if (!current && !event.target.closest('button, input, label')) select(); },
    },
      h('label', { class: 'swatch', title: `Colour of ${object.name}` },
        h('input', {
          type: 'color', value: object.colour, 'aria-label': `Colour of ${object.name}`, 'data-key': `colour-${object.id}`,
          oninput: (event) => change('colour', { colour: event.target.value }, `colour ${object.id}`),
        })),
      h('input', {
        class: 'name', value: object.name, maxlength: 100, 'aria-label': `Name of ${object.name}`, 'data-key': `name-${object.id}`, spellcheck: 'false',
        onfocus: () => { if (store.doc.current !== object.id) select(); },
        onchange: (event) => change('name', { name: event.target.value.trim() || object.name }),
      }),
      h('span', { class: 'share' }),
      h('button', {
        type: 'button', class: 'quiet', 'data-key': `eye-${object.id}`, 'aria-pressed': String(object.visible), 'aria-label': `Show ${object.name}`,
        title: object.visible ? 'Hide' : 'Show', onclick: () => change(object.visible ? 'hide' : 'show', { visible: !object.visible }),
      }, icon(object.visible ? 'eye' : 'eye-off')),
      h('button', {
        type: 'button', class: 'quiet', 'data-key': `delete-${object.id}`, 'aria-label': `Delete ${object.name}`, title: 'Delete (Ctrl Z brings it back)',
        onclick: () => {
          store.change('delete', (d) => withoutObject(d, object.id));
          live.say(`${object.name} deleted. Ctrl Z brings it back.`);
        },
      }, icon('bin')));
  };

  store.subscribe(whenChanged(
    () => [store.doc.current, ...store.doc.objects.map(({ id, name, visible }) => `${id} ${visible} ${name}`)],
    () => fill(list, store.doc.objects.map(row)),
  ));
  // colours apart: a chooser that is open must not lose the field that it belongs to
  store.subscribe(whenChanged(() => [store.doc.objects, store.doc.current], () => {
    list.querySelectorAll('.swatch').forEach((swatch, i) => {
      const { colour } = store.doc.objects[i];
      swatch.style.setProperty('--colour', colour);
      if (swatch.firstChild.value !== colour) swatch.firstChild.value = colour;
    });
  }));
  // what changes from frame to frame is but a number in each row
  const shown = () => store.doc.objects.map((object) => results.shown(object, store.ui.frame));
  store.subscribe(whenChanged(
    () => [store.doc.objects, store.doc.current, store.ui.frame, ...shown().map((found, i) => `${found?.number} ${results.busy(store.doc.objects[i], store.ui.frame)}`)],
    () => {
      const found = shown();
      list.querySelectorAll('.share').forEach((cell, i) => fill(cell, status(app, store.doc.objects[i], found[i])));
    },
  ));
}

function status({ results, store }, object, found) {
  if (results.busy(object, store.ui.frame)) return h('span', { class: 'spinner', role: 'img', 'aria-label': 'working' });
  if (found) return percent(share(found.record, store.doc.source));
  return hasPrompts(promptsOf(object, store.ui.frame)) ? '…' : '–';
}

/** How much of the picture a mask covers, 0..1. */
export function share(record, { width, height }) {
  const [h0, w0] = record.rle.size;
  return record.area_share ?? record.area / (w0 * h0 || width * height);
}
