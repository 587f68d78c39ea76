// From prompts to masks. The document holds prompts alone; what the server makes of them is kept here, by what was asked.
// So undo and redo find their masks at once, and a request that nobody wants any more is taken back.

import { isAbort } from './api.js';
import { currentObject, hasPrompts, promptsOf } from './model.js';
import { LevelMask, RleMask } from './rle.js';

const KEPT = 400;
const NO_MODEL = new Error('The server has no model for this; its terminal says why.');

/** What a person sees of a stage. */
export const STAGES = { clicks: 'Clicks', corrected: 'Corrected', exact: 'Exact' };

export class Results {
  #store;
  #api;
  #remote;
  #answers = new Map();
  #asked = new Map();
  #nextMask = 1;

  constructor(store, api, remote) {
    this.#store = store;
    this.#api = api;
    this.#remote = remote;
    store.subscribe(() => this.#follow());
    remote.renewed = (source) => this.#forget(source);
  }

  /** The models in use: `{click, exact, correct, subject}`, null where there is none. */
  get #models() { return this.#store.ui.chosenModels; }

  /** Stages of an object on a frame: `[{stage, state, answer, error, body}]`, those that are known, coarsest first. */
  stages(object, frame) {
    const { source } = this.#store.doc;
    const prompts = promptsOf(object, frame);
    const stages = [];
    if (!source || !hasPrompts(prompts)) return stages;
    const push = (stage, body) => {
      const kept = body ? this.#answers.get(this.#key(source, frame, body)) : { error: NO_MODEL };
      const found = { stage, body, state: kept?.error ? 'failed' : kept ? 'ready' : 'busy', answer: kept?.answer ?? null, error: kept?.error ?? null };
      stages.push(found);
      return found;
    };
    if (prompts.fixed && prompts.points.length === 0 && !prompts.box && !prompts.brush) {
      stages.push({ stage: 'clicks', body: null, state: 'ready', answer: prompts.fixed, error: null });
    } else {
      push('clicks', this.clicksBody(prompts));
    }
    const last = () => stages.at(-1);
    if (prompts.refine.length > 0 && last().answer && this.#models.correct) {
      const best = maskOf(last().answer, prompts.chosen);
      const box = prompts.box ?? (best ? corners(best.bbox) : null);
      if (box) push('corrected', { model: this.#models.correct, box, refine: prompts.refine });
    }
    if (prompts.exact && last().answer && this.#models.exact) {
      const best = maskOf(last().answer, last().stage === 'clicks' ? prompts.chosen : null);
      if (best) push('exact', { model: this.#models.exact, mask: this.reference(best) });
    }
    return stages;
  }

  /** The mask that counts: `{mask, answer, stage, record}`; null while there is none. */
  shown(object, frame) {
    const known = this.stages(object, frame).findLast((stage) => stage.answer);
    if (known) return this.ofStage(object, frame, known);
    const tracked = this.#store.doc.tracks[frame]?.[object.id];
    return tracked ? { ...this.#record(tracked), stage: 'tracked' } : null;
  }

  /** The same of one stage. */
  ofStage(object, frame, { stage, answer }) {
    const chosen = stage === 'clicks' ? promptsOf(object, frame).chosen : null;
    const record = maskOf(answer, chosen);
    return record ? { ...this.#record(record), stage, answer } : null;
  }

  #record(record) {
    return { record, mask: this.maskFor(record), number: this.numberFor(record) };
  }

  /** The pixels of a mask record, soft where they have come in. */
  maskFor(record) {
    record.unpacked ??= RleMask.fromCoco(record.rle);
    if (record.soft && !record.levels) this.#fetchLevels(record);
    return record.levels && record.levels !== 'asked' ? record.levels : record.unpacked;
  }

  /** A number that tells masks apart, another when their soft edges have come in. */
  numberFor(record) {
    const soft = record.levels && record.levels !== 'asked';
    record.number ??= this.#nextMask++;
    return soft ? -record.number : record.number;
  }

  /** Whether anything is asked for `object` on `frame` now. */
  busy(object, frame) {
    const { source } = this.#store.doc;
    return this.stages(object, frame).some((s) => s.state === 'busy' && this.#asked.has(this.#key(source, frame, s.body)));
  }

  /** Forgets failures, so that they are tried again. */
  retry() {
    for (const [key, { error }] of this.#answers) if (error) this.#answers.delete(key);
    this.#store.touch();
  }

  /** How a mask is named to the server: by its result, or, where the server has forgotten that, by its pixels. */
  reference(record) {
    const known = record.result && record.generation === this.#remote.generation(record.source);
    return known ? { result: record.result } : { rle: record.rle };
  }

  /** A mask of an answer learns where it belongs. */
  own = (record, source, frame) => Object.assign(record, { source, frame, generation: this.#remote.generation(source) });

  /** Waits until all that is wanted on the frame that is shown has come. */
  async settled() {
    const store = this.#store;
    const open = () => store.doc.objects.some((object) => this.stages(object, store.ui.frame).some((stage) => stage.state === 'busy'));
    while (open()) await new Promise((resolve) => setTimeout(resolve, 100));
  }

  /** The picture was sent again: its results are asked for again, too, so that soft ones stay soft. */
  #forget(source) {
    for (const key of this.#answers.keys()) if (key.startsWith(`${source.key}/`)) this.#answers.delete(key);
    this.#store.touch();
  }

  /** What is asked for clicks, a box, a stroke; null where there is no model for it. */
  clicksBody(prompts) {
    if (prompts.subject) return this.#models.subject ? { model: this.#models.subject } : null;
    const { points, box, brush, fixed, start: tracked } = prompts;
    const body = { model: this.#models.click, points, multimask: points.length === 1 && !box && !brush && !fixed && !tracked };
    if (box) body.box = box;
    const start = brush ?? fixed?.masks[0] ?? tracked;
    if (start) body.mask = this.reference(start);
    return this.#models.click ? body : null;
  }

  #key = (source, frame, body) => `${source.key}/${frame}/${JSON.stringify(body)}`;

  /** Asks for what the document wants and is not here; takes back what it wants no more. */
  #follow() {
    const { doc, ui } = this.#store;
    const wanted = new Map();
    if (doc.source && this.#models) {
      const of = currentObject(doc);
      const order = [of, ...doc.objects.filter((object) => object !== of)].filter(Boolean);
      for (const object of order) {
        for (const { state, body } of this.stages(object, ui.frame)) {
          if (state === 'busy' && body) wanted.set(this.#key(doc.source, ui.frame, body), body);
        }
      }
    }
    for (const [key, abort] of this.#asked) {
      if (!wanted.has(key)) {
        abort.abort();
        this.#asked.delete(key);
      }
    }
    for (const [key, body] of wanted) if (!this.#asked.has(key)) this.#ask(doc.source, ui.frame, key, body);
  }

  async #ask(source, frame, key, body) {
    const abort = new AbortController();
    this.#asked.set(key, abort);
    try {
      const answer = await this.#remote.onFrame(source, frame, (path) => this.#api.masks(path, body, { signal: abort.signal }));
      answer.masks.forEach((mask) => this.own(mask, source, frame));
      this.#keep(key, { answer });
    } catch (error) {
      if (!isAbort(error)) this.#keep(key, { error });
    } finally {
      if (this.#asked.get(key) === abort) this.#asked.delete(key);
      this.#store.touch();
    }
  }

  #keep(key, value) {
    this.#answers.set(key, value);
    for (const old of this.#answers.keys()) {
      if (this.#answers.size <= KEPT) break;
      this.#answers.delete(old);
    }
  }

  async #fetchLevels(record) {
    record.levels = 'asked';
    try {
      const blob = await this.#remote.onFrame(record.source, record.frame, (path) => this.#api.resultPng(path, record.result));
      record.levels = await levelsOf(blob);
      this.#store.touch();
    } catch {
      // the mask of yes and no is shown; downloads are made by the server, and are soft all the same
    }
  }
}

/** The candidate that counts: the chosen one, else the best. */
export const maskOf = (answer, chosen) => answer.masks[chosen ?? 0] ?? answer.masks[0] ?? null;

const corners = ([x, y, width, height]) => (width > 0 && height > 0 ? [x, y, x + width, y + height] : null);

/** Grey levels of a PNG. */
async function levelsOf(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: 'none', premultiplyAlpha: 'none' });
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  const levels = new Uint8Array(width * height);
  for (let i = 0; i < levels.length; i++) levels[i] = data[4 * i];
  return new LevelMask(width, height, levels);
}

