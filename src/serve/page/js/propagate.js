// Objects through a video: from prompts on some frames to masks on all.

import { isAbort } from './api.js';
import { hasPrompts, promptedFrames, withTracked } from './model.js';

/** Masks come frame by frame; they are laid into the document this often, as one step to undo. */
const EVERY_MS = 250;

export class Tracker {
  #app;

  constructor(app) {
    this.#app = app;
  }

  /** Tracks all prompted objects: `forward`, `backward` from the frame that is shown, or `both` from the first prompted one. */
  async track(direction) {
    const { store, live } = this.#app;
    const { doc, ui } = store;
    const frames = promptedFrames(doc);
    if (frames.length === 0) {
      live.say('There is nothing to track yet: click on something in a frame.');
      return;
    }
    const body = {
      model: ui.chosenModels.video, direction, from: direction === 'both' ? null : ui.frame, to: null, prompts: this.#prompts(doc),
    };
    await this.#follow('Tracking', 'track', (path, options) => this.#app.api.propagate(path, body, options));
  }

  /** Finds what a sentence says. */
  async describe(text) {
    const { store } = this.#app;
    const object = store.doc.current ?? 1;
    const body = { model: store.ui.chosenModels.text, text, clip: null, object };
    await this.#follow(`Looking for “${text}”`, 'track by words', (path, options) => this.#app.api.describe(path, body, options));
  }

  #prompts(doc) {
    const prompts = [];
    for (const object of doc.objects) {
      for (const [frame, p] of Object.entries(object.frames)) {
        if (!hasPrompts(p)) continue;
        const of = { frame: Number(frame), object: object.id };
        const mask = p.brush ?? p.fixed?.masks[0];
        if (mask && p.points.length === 0 && !p.box) prompts.push({ ...of, mask: { rle: mask.rle } });
        else if (p.subject) {
          const shown = this.#app.results.shown(object, Number(frame));
          if (shown) prompts.push({ ...of, mask: { rle: shown.record.rle } });
        } else prompts.push({ ...of, ...(p.points.length > 0 && { points: p.points }), ...(p.box && { box: p.box }) });
      }
    }
    return prompts;
  }

  async #follow(what, label, ask) {
    const { store, remote, live } = this.#app;
    const { source } = store.doc;
    if (store.ui.job) return;
    const abort = new AbortController();
    const step = `${label} ${Date.now()}`;
    let waiting = {};
    let last = 0;
    let told = 0;
    const show = (patch) => store.set({ job: { what, done: 0, of: 0, cancel: () => abort.abort(), ...patch } });
    const lay = () => {
      const found = Object.entries(waiting);
      waiting = {};
      last = Date.now();
      if (found.length === 0 || store.doc.source !== source) return;
      store.change(label, (doc) => found.reduce((d, [frame, masks]) => withTracked(d, frame, masks), doc), { merge: step });
    };
    // a frame is shown when its pixels are here; those that come in between are passed by
    let loading = false;
    const follow = async (frame) => {
      if (loading) return;
      loading = true;
      await this.#app.pictures.load(source, frame).catch(() => {});
      loading = false;
      if (!abort.signal.aborted && store.ui.job && store.doc.source === source) store.set({ frame, hover: null });
    };
    const onEvent = (event, data) => {
      if (event === 'stage') show({ done: data.done ?? 0, of: data.of ?? 0 });
      if (event !== 'frame') return;
      told++;
      show({ done: data.done, of: data.of, left: data.seconds_left });
      waiting[data.frame] = Object.fromEntries(data.objects.map((found) => [found.object, { ...found, source, frame: data.frame }]));
      follow(data.frame);
      if (Date.now() - last > EVERY_MS) lay();
    };
    store.set({ playing: false, everything: null, compare: null });
    show({});
    try {
      await remote.onWhole(source, (path) => ask(path, { signal: abort.signal, onEvent }));
      lay();
      live.say(`Done: masks on ${count(told)}. Look through them; where it is wrong, click and track again.`);
    } catch (error) {
      lay();
      if (isAbort(error)) live.say(`Stopped; ${count(told)} are done and kept.`);
      else live.say(`Tracking stopped: ${error.message} ${count(told)} are done and kept.`, 'error');
    } finally {
      store.set({ job: null });
    }
  }
}

const count = (frames) => (frames === 1 ? 'one frame' : `${frames} frames`);
