// What a person makes, as data: objects, and on each frame the prompts for them. A picture is a video of one frame.
// All functions give a new document and leave the old one as it is.

export const COLOURS = ['#2f8fff', '#ff8a1f', '#12b886', '#e5487f', '#9b6bff', '#d9b310', '#1fb6c9', '#ff6b5e'];

/**
 * Prompts of one object on one frame. `fixed` is an answer that was picked, not asked for; `start` the tracked mask that
 * the first click corrects; `chosen` the candidate (null: best).
 */
export const NO_PROMPTS = Object.freeze({
  points: [], box: null, brush: null, refine: [], exact: false, chosen: null, fixed: null,
  start: null, subject: false,
});

export const EMPTY = Object.freeze({
  source: null,
  objects: [],
  current: null,
  counted: 0,
  tracks: {},
  truth: null,
  look: { mode: 'tint', opacity: 0.5, outline: true, background: 'checker', colour: '#ffffff', picture: null },
});

export const currentObject = (doc) => doc.objects.find((object) => object.id === doc.current) ?? null;

export const promptsOf = (object, frame) => object?.frames[frame] ?? NO_PROMPTS;

export function hasPrompts(prompts) {
  return prompts.points.length > 0 || prompts.box !== null || prompts.brush !== null || prompts.fixed !== null
    || prompts.subject;
}

/** A new picture or video; what was made of the one before is in the history. */
export function withSource(doc, source) {
  const fresh = { ...EMPTY, look: { ...doc.look }, source };
  return withObject(fresh);
}

/** One object more, which becomes the current one. */
export function withObject(doc, { name = null, frames = {} } = {}) {
  const number = doc.counted + 1;
  const object = {
    id: number,
    name: name ?? `Object ${number}`,
    colour: COLOURS[(number - 1) % COLOURS.length],
    visible: true,
    frames,
  };
  return { ...doc, objects: [...doc.objects, object], current: number, counted: number };
}

export function withoutObject(doc, id) {
  const at = doc.objects.findIndex((object) => object.id === id);
  if (at < 0) return doc;
  const objects = doc.objects.filter((object) => object.id !== id);
  const tracks = Object.fromEntries(Object.entries(doc.tracks).map(([frame, masks]) => {
    const { [id]: _, ...others } = masks;
    return [frame, others];
  }));
  const current = doc.current === id ? (objects[Math.min(at, objects.length - 1)]?.id ?? null) : doc.current;
  const left = { ...doc, objects, tracks, current };
  return objects.length > 0 ? left : withObject(left);
}

export function changeObject(doc, id, patch) {
  return { ...doc, objects: doc.objects.map((object) => (object.id === id ? { ...object, ...patch } : object)) };
}

/** Changes the current object's prompts on `frame`; where there is no object, one is begun. */
export function changePrompts(doc, frame, patch) {
  const base = currentObject(doc) ? doc : withObject(doc);
  const object = currentObject(base);
  const before = promptsOf(object, frame);
  const prompts = { ...before, ...(typeof patch === 'function' ? patch(before) : patch) };
  const { [frame]: _, ...others } = object.frames;
  const any = hasPrompts(prompts) || prompts.refine.length > 0;
  return changeObject(base, object.id, { frames: any ? { ...others, [frame]: prompts } : others });
}

/** A click more. What was picked or tracked is what the clicks start from. */
export function withPoint(doc, frame, x, y, label) {
  const tracked = doc.tracks[frame]?.[doc.current] ?? null;
  return changePrompts(doc, frame, (p) => ({
    points: [...p.points, [x, y, label]], chosen: null, refine: [], subject: false,
    start: hasPrompts(p) ? p.start : tracked,
  }));
}

export function withBox(doc, frame, box) {
  return changePrompts(doc, frame, () => ({ box, chosen: null, refine: [], fixed: null, subject: false }));
}

export function withCorrection(doc, frame, x, y, label) {
  return changePrompts(doc, frame, (p) => ({ refine: [...p.refine, [x, y, label]] }));
}

/** Takes one click, or one correction, away again. */
export function withoutPoint(doc, frame, kind, n) {
  return changePrompts(doc, frame, (p) => ({ [kind]: p[kind].filter((_, at) => at !== n), chosen: null, ...(kind === 'points' && { refine: [] }) }));
}

export const changeLook = (doc, patch) => ({ ...doc, look: { ...doc.look, ...patch } });

/** Frames on which anything was prompted, in order. */
export function promptedFrames(doc) {
  const frames = new Set();
  for (const object of doc.objects) {
    for (const [frame, prompts] of Object.entries(object.frames)) if (hasPrompts(prompts)) frames.add(Number(frame));
  }
  return [...frames].sort((a, b) => a - b);
}

/** The masks that tracking told, laid over those before. `found` maps objects to `{rle, score}`. */
export function withTracked(doc, frame, found) {
  return { ...doc, tracks: { ...doc.tracks, [frame]: { ...doc.tracks[frame], ...found } } };
}
