// Draws the picture, the masks and the prompts, whenever something of it has changed.

import { currentObject, promptsOf } from './model.js';
import { gridOf, rgb } from './layer.js';
import { drawPrompts, drawCrosshair, drawDrag } from './marks.js';
import { drawFound } from './everything.js';

export class Stage {
  #app;
  #canvas;
  #context;
  #wanted = false;
  #backdrop = { file: null, bitmap: null };

  constructor(app, canvas) {
    this.#app = app;
    this.#canvas = canvas;
    this.#context = canvas.getContext('2d');
    new ResizeObserver(() => this.#resize()).observe(canvas);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.redraw());
    app.store.subscribe(() => this.redraw());
  }

  #resize() {
    const dpr = devicePixelRatio || 1;
    const size = { width: Math.max(1, Math.round(this.#canvas.clientWidth * dpr)), height: Math.max(1, Math.round(this.#canvas.clientHeight * dpr)) };
    if (this.#canvas.width === size.width && this.#canvas.height === size.height) return;
    Object.assign(this.#canvas, size);
    this.#app.view.setSize(size);
    this.redraw();
  }

  /** Draws once before the next picture of the screen. */
  redraw() {
    if (this.#wanted) return;
    this.#wanted = true;
    requestAnimationFrame(() => {
      this.#wanted = false;
      this.#draw();
    });
  }

  /** The objects that are shown with their masks. */
  shown() {
    const { store, results } = this.#app;
    return store.doc.objects
      .filter((object) => object.visible)
      .map((object) => ({ object, found: results.shown(object, store.ui.frame) }))
      .filter(({ found }) => found);
  }

  #draw() {
    const { view, store, tools } = this.#app;
    const { doc, ui } = store;
    const context = this.#context;
    const { width, height } = this.#canvas;
    context.clearRect(0, 0, width, height);
    if (!doc.source) return;
    const grid = gridOf(view);
    if (ui.compare) this.#compare(context, grid);
    else this.#scene(context, grid, this.shown());
    if (ui.everything) drawFound(this.#app, context, grid);
    const dpr = devicePixelRatio || 1;
    if (!ui.compare) {
      if (ui.hover) this.#preview(context, grid, ui.hover);
      const object = currentObject(doc);
      if (object?.visible && doc.look.mode !== 'cutout' && !ui.everything) drawPrompts(context, view, promptsOf(object, ui.frame), dpr);
      drawDrag(context, view, tools.drag, dpr);
    }
    if (ui.cursor) drawCrosshair(context, view, ui.cursor, dpr);
  }

  /** Picture and masks as the person wants to see them. */
  #scene(context, grid, shown) {
    const { view, store, pictures, layers } = this.#app;
    const { doc, ui } = store;
    const cells = shown.map(({ object, found }) => ({ object, cells: layers.cells(found.mask, found.number, grid, doc.source) }));
    if (doc.look.mode === 'cutout' && cells.length > 0) {
      const scratch = new OffscreenCanvas(context.canvas.width, context.canvas.height).getContext('2d');
      pictures.draw(scratch, view, doc.source, ui.frame);
      const all = cells.length === 1 ? cells[0].cells.levels : largest(cells.map((c) => c.cells.levels));
      layers.keep(scratch, view, grid, all);
      this.#background(context, doc.look);
      context.drawImage(scratch.canvas, 0, 0);
    } else {
      pictures.draw(context, view, doc.source, ui.frame);
      for (const { object, cells: one } of cells) {
        layers.tint(context, view, grid, one, rgb(object.colour), doc.look.opacity);
      }
    }
    if (doc.look.outline && doc.look.mode === 'tint') {
      const dpr = devicePixelRatio || 1;
      for (const { object, cells: one } of cells) layers.outline(context, view, grid, one, object.colour, dpr);
    }
  }

  /** One result left of the line, the other right of it. */
  #compare(context, grid) {
    const { left, right, at } = this.#app.store.ui.compare;
    const split = Math.round(context.canvas.width * at);
    const half = (found, x, width) => {
      context.save();
      context.beginPath();
      context.rect(x, 0, width, context.canvas.height);
      context.clip();
      this.#scene(context, grid, found ? [found] : []);
      context.restore();
    };
    half(left(), 0, split);
    half(right(), split, context.canvas.width - split);
    context.fillStyle = '#ffffff';
    context.fillRect(split - 1, 0, 2, context.canvas.height);
  }

  /** What a click here would give. */
  #preview(context, grid, { mask, number }) {
    const { view, layers, store } = this.#app;
    const colour = currentObject(store.doc)?.colour ?? '#2f8fff';
    const cells = layers.cells(mask, number, grid, store.doc.source);
    layers.tint(context, view, grid, cells, rgb(colour), 0.28);
    layers.outline(context, view, grid, cells, colour, (devicePixelRatio || 1) * 0.6);
  }

  #background(context, { background, colour, picture }) {
    const { view, store } = this.#app;
    const { width, height } = store.doc.source;
    const [x, y, w, h] = [view.x, view.y, width * view.scale, height * view.scale];
    context.save();
    context.beginPath();
    context.rect(x, y, w, h);
    context.clip();
    context.fillStyle = background === 'checker' ? '#ffffff' : colour;
    context.fillRect(x, y, w, h);
    if (background === 'checker') checker(context, x, y, w, h);
    if (background === 'picture' && picture) {
      if (this.#backdrop.file !== picture) this.#loadBackdrop(picture);
      const { bitmap } = this.#backdrop;
      if (bitmap) {
        context.imageSmoothingEnabled = true;
        context.drawImage(bitmap, ...covering(bitmap, width, height), x, y, w, h);
      }
    }
    context.restore();
  }

  async #loadBackdrop(file) {
    const loading = { file, bitmap: null };
    this.#backdrop = loading;
    try {
      loading.bitmap = await createImageBitmap(file);
      this.redraw();
    } catch {
      this.#app.live.say(`${file.name} cannot be shown as a background: choose a JPEG, PNG or WebP`, 'error');
    }
  }
}

/** The part of a bitmap, in its pixels, that fills `width` × `height` and keeps its shape. */
export function covering(bitmap, width, height) {
  const scale = Math.min(bitmap.width / width, bitmap.height / height);
  const [w, h] = [width * scale, height * scale];
  return [(bitmap.width - w) / 2, (bitmap.height - h) / 2, w, h];
}

function checker(context, x, y, w, h) {
  const side = 10 * (devicePixelRatio || 1);
  context.fillStyle = '#d9dbde';
  for (let j = 0; j * side < h; j++) {
    for (let i = j % 2; i * side < w; i += 2) context.fillRect(x + i * side, y + j * side, side, side);
  }
}

function largest(all) {
  const out = all[0].slice();
  for (const levels of all.slice(1)) levels.forEach((level, i) => { if (level > out[i]) out[i] = level; });
  return out;
}
