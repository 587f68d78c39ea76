// What pointing at the picture does, for each tool. Pointer and keyboard end up here, in pixels of the picture.

import { changePrompts, currentObject, promptsOf, withBox, withCorrection, withoutPoint, withPoint } from './model.js';
import { RleMask } from './rle.js';

/** Longest side of a painted mask: coarse is what it is for. */
const BRUSH_SIDE = 1024;
/** A click so near to a mark, in CSS pixels, takes it away. */
const ON_MARK = 9;
/** Two clicks that follow each other so soon, in milliseconds, are a double click. */
const DOUBLE_CLICK = 350;

export const TOOLS = {
  click: { label: 'Click', key: 'c', hint: 'Click on what you want. Right click, or Alt and click, leaves something out.' },
  box: { label: 'Box', key: 'b', hint: 'Draw a box around it.' },
  brush: { label: 'Brush', key: 'r', hint: 'Paint roughly over it; right button, or Leave out, wipes.' },
  correct: { label: 'Correct', key: 'p', hint: 'Click on what is wrong in the mask: where it is missing, or with Leave out where it is too much.' },
  hand: { label: 'Move', key: 'h', hint: 'Drag the picture.' },
};

export class Tools {
  #app;
  #tapped = { at: -Infinity, label: null };
  /** What is being drawn. */
  drag = null;

  constructor(app) {
    this.#app = app;
  }

  get tool() { return this.#app.store.ui.tool; }

  /** Whether a pointer that moves with its button down draws, and does not pan. */
  get draws() {
    const { ui } = this.#app.store;
    return !ui.everything && !ui.compare && (this.tool === 'box' || this.tool === 'brush');
  }

  /** A click, or Enter: at a place, on the object (1) or on what does not belong to it (0). */
  tap(x, y, label = this.#app.store.ui.label) {
    const { store, everything, hover } = this.#app;
    const { doc, ui } = store;
    if (!doc.source || ui.compare || !this.#inside(x, y)) return;
    if (ui.everything) {
      everything.pick(x, y);
      return;
    }
    [x, y] = [round(x), round(y)];
    hover.stop();
    // the second half of a double click means nothing more than the first
    const now = performance.now();
    const twice = label === this.#tapped.label && now - this.#tapped.at < DOUBLE_CLICK;
    this.#tapped = { at: now, label };
    if (this.#takeMark(x, y, twice)) return;
    if (this.tool === 'correct') {
      store.change('correction', (d) => withCorrection(d, ui.frame, x, y, label));
    } else if (this.tool === 'box') {
      this.#corner(x, y);
    } else if (this.tool === 'brush') {
      this.begin(x, y, label);
      this.end();
    } else if (this.tool === 'click') {
      if (label === 0 && !this.#hasMask()) {
        this.#app.live.say('There is nothing to leave anything out of yet: first click on what you want.');
        return;
      }
      store.change(label ? 'click' : 'click that leaves out', (d) => withPoint(d, ui.frame, x, y, label));
    }
  }

  /** Takes the mark away that is at a place, or leaves it there `twice`; false where there is none. */
  #takeMark(x, y, twice) {
    const { store, view } = this.#app;
    const kind = { click: 'points', correct: 'refine' }[this.tool];
    const marks = kind ? promptsOf(currentObject(store.doc), store.ui.frame)[kind] : [];
    const reach = (ON_MARK * (devicePixelRatio || 1)) / view.scale;
    const n = marks.findLastIndex(([mx, my]) => Math.hypot(mx - x, my - y) <= reach);
    if (n < 0 || twice) return n >= 0;
    store.change('click taken away', (d) => withoutPoint(d, store.ui.frame, kind, n));
    return true;
  }

  /** The pointer moved without a button; null when it left. */
  point(x, y) {
    const { store, hover, everything } = this.#app;
    const { ui } = store;
    if (ui.everything) everything.point(x, y);
    if (this.tool === 'brush' && !this.drag?.canvas) {
      this.drag = x === null ? null : { kind: 'ring', at: [x, y], radius: this.#radius() };
      this.#app.stage.redraw();
    } else if (this.drag?.kind === 'box' && this.drag.half && x !== null) {
      this.#stretch(x, y);
    }
    if (this.tool === 'click' && !ui.everything && !ui.compare && x !== null && this.#inside(x, y)) hover.at(x, y);
    else hover.stop();
  }

  begin(x, y, label = this.#app.store.ui.label) {
    this.#app.hover.stop();
    if (this.tool === 'box') this.drag = { kind: 'box', from: this.#onto(x, y), box: null };
    if (this.tool === 'box') this.#stretch(x, y);
    if (this.tool === 'brush') this.#beginStroke(x, y, label);
  }

  move(x, y) {
    if (this.drag?.kind === 'box') this.#stretch(x, y);
    else if (this.drag?.canvas) this.#stroke(x, y);
  }

  end() {
    const { drag } = this;
    if (drag?.kind === 'box') {
      this.drag = null;
      const [x0, y0, x1, y1] = drag.box;
      if (x1 - x0 >= 2 && y1 - y0 >= 2) this.#commitBox(drag.box);
    } else if (drag?.canvas) {
      this.#commitStroke(drag);
    }
    this.#app.stage.redraw();
  }

  cancel() {
    this.drag = null;
    this.#app.hover.stop();
    this.#app.stage.redraw();
  }

  #hasMask() {
    const { store, results } = this.#app;
    const object = currentObject(store.doc);
    return object !== null && (results.shown(object, store.ui.frame) !== null || promptsOf(object, store.ui.frame).points.length > 0
      || promptsOf(object, store.ui.frame).box !== null);
  }

  // boxes

  #corner(x, y) {
    if (this.drag?.half) {
      this.#stretch(x, y);
      this.end();
      return;
    }
    this.drag = { kind: 'box', half: true, from: this.#onto(x, y), box: [x, y, x, y] };
    this.#app.live.say('First corner set. Go to the opposite corner and press Enter.');
    this.#app.stage.redraw();
  }

  #stretch(x, y) {
    const [fx, fy] = this.drag.from;
    const [tx, ty] = this.#onto(x, y);
    this.drag.box = [Math.min(fx, tx), Math.min(fy, ty), Math.max(fx, tx), Math.max(fy, ty)].map(round);
    this.#app.stage.redraw();
  }

  #commitBox(box) {
    const { store } = this.#app;
    store.change('box', (d) => withBox(d, store.ui.frame, box));
  }

  // the brush

  #radius() {
    const { store, view } = this.#app;
    return (store.ui.brush * (devicePixelRatio || 1)) / view.scale;
  }

  #beginStroke(x, y, label) {
    const { store } = this.#app;
    const { source } = store.doc;
    const object = currentObject(store.doc);
    const scale = Math.min(1, BRUSH_SIDE / Math.max(source.width, source.height));
    const [width, height] = [source.width, source.height].map((side) => Math.max(1, Math.round(side * scale)));
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext('2d', { willReadFrequently: true });
    const before = promptsOf(object, store.ui.frame).brush;
    if (before) {
      const grid = new Uint8Array(width * height);
      RleMask.fromCoco(before.rle).sample(grid, width, height, 0, 0, 1, 1);
      const image = new ImageData(width, height);
      grid.forEach((value, i) => { if (value) image.data.set([47, 143, 255, 255], 4 * i); });
      context.putImageData(image, 0, 0);
    }
    context.lineCap = 'round';
    context.lineJoin = 'round';
    context.strokeStyle = object?.colour ?? '#2f8fff';
    if (!label) context.globalCompositeOperation = 'destination-out';
    this.drag = { kind: 'brush', canvas, context, scale, at: [x, y], radius: this.#radius() };
    this.#stroke(x, y);
  }

  #stroke(x, y) {
    const { drag } = this;
    const { context, scale } = drag;
    context.lineWidth = Math.max(1, 2 * drag.radius * scale);
    context.beginPath();
    context.moveTo(drag.at[0] * scale, drag.at[1] * scale);
    context.lineTo(x * scale + 0.01, y * scale);
    context.stroke();
    drag.at = [x, y];
    this.#app.stage.redraw();
  }

  #commitStroke({ canvas, context }) {
    const { store } = this.#app;
    this.drag = null;
    const { width, height } = canvas;
    const { data } = context.getImageData(0, 0, width, height);
    const grid = new Uint8Array(width * height);
    let any = false;
    for (let i = 0; i < grid.length; i++) if (data[4 * i + 3] > 127) any = grid[i] = 1;
    const brush = any ? { rle: RleMask.fromGrid(grid, width, height).toCoco() } : null;
    store.change('stroke', (d) => changePrompts(d, store.ui.frame, () => ({
      brush, chosen: null, refine: [], fixed: null, subject: false,
    })));
  }

  #inside(x, y) {
    const { width, height } = this.#app.store.doc.source;
    return x >= 0 && y >= 0 && x < width && y < height;
  }

  #onto(x, y) {
    const { width, height } = this.#app.store.doc.source;
    return [Math.min(width, Math.max(0, x)), Math.min(height, Math.max(0, y))];
  }
}

/** A quarter of a pixel is as exact as anybody points. */
const round = (v) => Math.round(v * 4) / 4;
