// Everything by keyboard. On the picture the arrows move a crosshair, Enter is a click.

import { currentObject, withObject } from './model.js';
import { TOOLS } from './tools.js';

const FIELD = 'input:not([type=range],[type=checkbox],[type=radio]), textarea, select, [contenteditable]';
/** Arrow steps, in CSS pixels of the screen. */
const STEP = 16;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export function followKeys(app, canvas) {
  addEventListener('keydown', (event) => {
    if (document.querySelector('dialog[open]')) return;
    const control = event.ctrlKey || event.metaKey;
    if (control && !event.altKey && event.target.closest?.(FIELD) === null) {
      const key = event.key.toLowerCase();
      if (key === 'z') app.commands[event.shiftKey ? 'redo' : 'undo']();
      else if (key === 'y') app.commands.redo();
      else if (key === 'o') app.commands.open();
      else if (key === 's') app.commands.download();
      else return;
      event.preventDefault();
      return;
    }
    if (control || event.altKey || event.target.closest?.(FIELD)) return;
    const done = (document.activeElement === canvas && onPicture(app, event)) || anywhere(app, event);
    if (done) event.preventDefault();
  });
  canvas.addEventListener('blur', () => app.store.set({ cursor: null }));
}

/** Keys of the picture itself; whether this was one. */
function onPicture(app, event) {
  const { store, view, tools, live, loupe } = app;
  const { source } = store.doc;
  if (!source) return false;
  const arrow = ARROWS[event.key];
  if (arrow) {
    const step = event.shiftKey ? 1 : Math.max(1, (STEP * (devicePixelRatio || 1)) / view.scale);
    const from = store.ui.cursor ?? middle(view, source);
    const to = (at, by, most) => Math.min(most - 0.5, Math.max(0.5, Math.floor(at + by * step) + 0.5));
    const cursor = store.ui.cursor
      ? { x: to(from.x, arrow[0], source.width), y: to(from.y, arrow[1], source.height) }
      : from;
    store.set({ cursor });
    view.reveal(cursor.x, cursor.y);
    tools.point(cursor.x, cursor.y);
    loupe.at(cursor.x, cursor.y);
    live.whisper(`${Math.floor(cursor.x)}, ${Math.floor(cursor.y)}${where(app, cursor)}`);
    return true;
  }
  if (event.key === 'Enter' || event.key === 'Delete' || event.key === 'Backspace') {
    if (store.ui.everything && event.key === 'Enter' && !store.ui.cursor) {
      app.everything.pick();
      return true;
    }
    const cursor = store.ui.cursor ?? middle(view, source);
    store.set({ cursor });
    tools.tap(cursor.x, cursor.y, event.key === 'Enter' ? store.ui.label : 0);
    return true;
  }
  return false;
}

/** Keys that work wherever the focus is; whether this was one. */
function anywhere(app, event) {
  const { store, view, commands, tools } = app;
  const { ui, doc } = store;
  const { key } = event;
  if (key === '?') return run(commands.help);
  if (!doc.source || (!ui.singleKeys && key.length === 1)) return false;
  const tool = Object.entries(TOOLS).find(([, { key: of }]) => of === key.toLowerCase());
  if (tool) return run(() => commands.tool(tool[0]));
  switch (key.length === 1 ? key.toLowerCase() : key) {
    case 'x': return run(() => commands.label(1 - ui.label));
    case '+': case '=': return run(() => view.zoom(1.25, ...about(app)));
    case '-': return run(() => view.zoom(0.8, ...about(app)));
    case '0': return run(() => view.fit());
    case '9': return run(() => commands.pixels());
    case '1': case '2': case '3': return commands.candidate(Number(key) - 1);
    case 'n': return run(() => store.change('new object', (d) => withObject(d)));
    case 'e': return run(commands.exact);
    case 'a': return run(commands.everything);
    case 'd': return run(commands.download);
    case 'l': return run(() => (doc.source.video ? commands.frame(ui.frame + 1) : store.set({ loupe: !ui.loupe })));
    case 'j': return run(() => commands.frame(ui.frame - 1));
    case 'k': return run(commands.play);
    case '[': return run(() => store.set({ brush: Math.max(2, Math.round(ui.brush * 0.8)) }));
    case ']': return run(() => store.set({ brush: Math.min(200, Math.round(ui.brush * 1.25)) }));
    case ',': return Boolean(ui.everything) && run(() => app.everything.step(-1));
    case '.': return Boolean(ui.everything) && run(() => app.everything.step(1));
    case 'Escape': return run(() => escape(app, tools));
    default: return false;
  }
}

const run = (what) => {
  what();
  return true;
};

function escape({ store, everything }, tools) {
  const { ui } = store;
  if (tools.drag) tools.cancel();
  else if (ui.compare) store.set({ compare: null });
  else if (ui.everything) everything.close();
  else if (ui.job) ui.job.cancel();
  else store.set({ cursor: null });
}

/** The middle of what is seen. */
function middle(view, { width, height }) {
  const [x, y] = view.toPicture(view.size.width / 2, view.size.height / 2);
  const onto = (v, most) => Math.min(most - 0.5, Math.max(0.5, Math.floor(v) + 0.5));
  return { x: onto(x, width), y: onto(y, height) };
}

/** What a zoom by key keeps in place: the crosshair, or the middle. */
function about({ store, view }) {
  const { cursor } = store.ui;
  return cursor ? view.toScreen(cursor.x, cursor.y) : [view.size.width / 2, view.size.height / 2];
}

/** Whether a place is in the current object's mask, as words. */
function where({ store, results }, { x, y }) {
  const object = currentObject(store.doc);
  const found = object && results.shown(object, store.ui.frame);
  if (!found) return '';
  const { width, height } = store.doc.source;
  const inside = found.mask.at(Math.floor((x * found.mask.width) / width), Math.floor((y * found.mask.height) / height));
  return inside ? `, in ${object.name}` : ', outside';
}

