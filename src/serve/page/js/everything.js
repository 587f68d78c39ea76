// All masks of the picture, to pick from.

import { isAbort } from './api.js';
import { COLOURS, withObject, changePrompts, currentObject, hasPrompts, promptsOf } from './model.js';
import { RleMask } from './rle.js';
import { Layers, rgb } from './layer.js';

export class Everything {
  #app;
  #abort = null;
  #kept = new WeakMap();

  constructor(app) {
    this.#app = app;
  }

  /** Looks for them, or shows those that were found before. */
  async show() {
    const { store, api, remote, results, live } = this.#app;
    const { source } = store.doc;
    if (!source || this.#abort) return;
    const known = this.#kept.get(source)?.[store.ui.frame];
    if (known) {
      this.#open(known);
      return;
    }
    const abort = new AbortController();
    this.#abort = abort;
    const { frame } = store.ui;
    const tell = (done, of) => store.set({ job: { what: 'Looking for everything', done, of, cancel: () => abort.abort() } });
    tell(0, 0);
    try {
      const answer = await remote.onFrame(source, frame, (path) => api.everything(path, { model: store.ui.chosenModels.everything }, {
        signal: abort.signal,
        onEvent: (_, { done, of }) => tell(done ?? 0, of ?? 0),
      }));
      const found = answer.masks
        .map((record, n) => ({ record: results.own(record, source, frame), mask: RleMask.fromCoco(record.rle), number: `all-${source.key}-${frame}-${n}` }))
        .sort((a, b) => b.record.area - a.record.area);
      this.#kept.set(source, { ...this.#kept.get(source), [frame]: found });
      if (store.doc.source === source) this.#open(found);
    } catch (error) {
      if (!isAbort(error)) live.say(`Not everything could be found: ${error.message}`, 'error');
    } finally {
      this.#abort = null;
      store.set({ job: null });
    }
  }

  #open(found) {
    this.#app.store.set({ everything: { found, at: null } });
    const many = found.length === 1 ? 'one thing' : `${found.length} things`;
    const keys = matchMedia('(pointer: coarse)').matches ? '' : ' Or step through them with comma and full stop, and press Enter.';
    this.#app.live.say(`${many} found: choose what you want.${keys}`);
  }

  close() {
    this.#abort?.abort();
    this.#app.store.set({ everything: null });
  }

  /** The smallest one under a place. */
  #under(x, y) {
    const { found } = this.#app.store.ui.everything;
    const { width, height } = this.#app.store.doc.source;
    for (let n = found.length - 1; n >= 0; n--) {
      const { mask } = found[n];
      if (mask.at(Math.floor((x * mask.width) / width), Math.floor((y * mask.height) / height))) return n;
    }
    return null;
  }

  /** The pointer is here. */
  point(x, y) {
    const { store } = this.#app;
    const at = x === null ? null : this.#under(x, y);
    if (at !== store.ui.everything.at) store.set({ everything: { ...store.ui.everything, at } });
  }

  /** The next one (1) or the one before (-1), from large to small. */
  step(by) {
    const { store, live } = this.#app;
    const { found, at } = store.ui.everything;
    if (found.length === 0) return;
    const next = at === null ? (by > 0 ? 0 : found.length - 1) : (at + by + found.length) % found.length;
    store.set({ everything: { ...store.ui.everything, at: next } });
    live.say(`${next + 1} of ${found.length}: ${this.#app.describe(found[next].record)}`);
  }

  /** Makes an object of the one that is meant, or of the one at a place. */
  pick(x = null, y = null) {
    const { store, live } = this.#app;
    const { found, at } = store.ui.everything;
    const n = x === null ? at : this.#under(x, y);
    if (n === null) {
      live.say('Nothing was found there.');
      return;
    }
    const { frame } = store.ui;
    const { record } = found[n];
    const fixed = { masks: [record], notes: [] };
    store.change('pick', (doc) => {
      const object = currentObject(doc);
      const free = object && !hasPrompts(promptsOf(object, frame)) && !doc.tracks[frame]?.[object.id];
      return changePrompts(free ? doc : withObject(doc), frame, { fixed });
    });
  }
}

/** All of it as one picture, for the grid that was drawn last. */
const drawn = { found: null, key: '', canvas: null };

/** Draws what was found: all of it faintly, the one that is meant strongly. */
export function drawFound({ view, layers, store }, context, grid) {
  const { found, at } = store.ui.everything;
  const key = Object.values(grid).join();
  if (drawn.found !== found || drawn.key !== key) {
    const coloured = found.map(({ mask }, n) => ({ mask, colour: rgb(COLOURS[n % COLOURS.length]) }));
    Object.assign(drawn, { found, key, canvas: Layers.compose(coloured, grid, store.doc.source, 0.45) });
  }
  layers.put(context, view, grid, drawn.canvas);
  const meant = found[at];
  if (meant) {
    const cells = layers.cells(meant.mask, meant.number, grid, store.doc.source);
    layers.tint(context, view, grid, cells, rgb(COLOURS[at % COLOURS.length]), 0.6);
    layers.outline(context, view, grid, cells, '#ffffff', devicePixelRatio || 1);
  }
}
