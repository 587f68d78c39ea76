// The mask under the pointer before anybody clicks. A request is taken back as soon as the pointer moves on; there is
// never more than one.

import { currentObject, promptsOf, withPoint } from './model.js';
import { maskOf } from './results.js';

const REST_MS = 60;

export class Hover {
  #app;
  #timer = 0;
  #abort = null;

  constructor(app) {
    this.#app = app;
    app.store.subscribe(({ doc, ui }) => {
      if (ui.hover && (ui.hover.doc !== doc || ui.hover.label !== ui.label)) this.stop();
    });
  }

  /** The pointer is here, in pixels of the picture. */
  at(x, y) {
    const { store } = this.#app;
    if (!store.ui.ready || !store.ui.preview) return;
    this.#cancel();
    this.#timer = setTimeout(() => this.#ask(x, y), REST_MS);
  }

  /** It is nowhere. */
  stop() {
    this.#cancel();
    if (this.#app.store.ui.hover) this.#app.store.set({ hover: null });
  }

  #cancel() {
    clearTimeout(this.#timer);
    this.#abort?.abort();
    this.#abort = null;
  }

  async #ask(x, y) {
    const { store, api, remote, results } = this.#app;
    const { doc, ui } = store;
    const prompts = promptsOf(currentObject(doc), ui.frame);
    if (!ui.chosenModels?.click || (ui.label === 0 && prompts.points.length === 0)) return;
    // what a click would ask
    const after = promptsOf(currentObject(withPoint(doc, ui.frame, x, y, ui.label)), ui.frame);
    const body = { ...results.clicksBody(after), preview: true };
    const abort = new AbortController();
    this.#abort = abort;
    try {
      const answer = await remote.onFrame(doc.source, ui.frame, (path) => api.masks(path, body, { signal: abort.signal }));
      const record = maskOf(answer, null);
      if (this.#abort !== abort || store.doc !== doc || !record) return;
      store.set({ hover: { mask: results.maskFor(record), number: results.numberFor(record), doc, label: ui.label } });
    } catch {
      // a preview that does not come is missed by nobody; a click tells what is wrong
    }
  }
}
