// A look at single pixels, near the pointer: for clicks on errors that are no larger.

import { gridOf, rgb } from './layer.js';

const CELLS = 15;

export class Loupe {
  #app;
  #canvas;
  #place = null;

  constructor(app, canvas) {
    this.#app = app;
    this.#canvas = canvas;
    app.store.subscribe(() => this.#draw());
  }

  /** The pointer, or the crosshair, is here; null: nowhere. */
  at(x, y) {
    this.#place = x === null ? null : [x, y];
    this.#draw();
  }

  #draw() {
    const { store, pictures, stage, layers } = this.#app;
    const { doc, ui } = store;
    const wanted = Boolean(doc.source && this.#place && (ui.tool === 'correct' || ui.loupe) && !ui.compare && !ui.everything);
    this.#canvas.hidden = !wanted;
    if (!wanted) return;
    const side = this.#canvas.width;
    const cell = side / CELLS;
    const [px, py] = this.#place.map(Math.floor);
    const half = (CELLS - 1) / 2;
    const view = viewAt(doc.source, side, cell, px - half, py - half);
    const context = this.#canvas.getContext('2d');
    context.clearRect(0, 0, side, side);
    pictures.draw(context, view, doc.source, ui.frame);
    const grid = gridOf(view);
    for (const { object, found } of stage.shown()) {
      const cells = layers.cells(found.mask, found.number, grid, doc.source);
      layers.tint(context, view, grid, cells, rgb(object.colour), 0.45);
    }
    context.strokeStyle = 'rgb(128 128 128 / 0.4)';
    context.lineWidth = 1;
    context.beginPath();
    for (let i = 1; i < CELLS; i++) {
      context.moveTo(i * cell, 0);
      context.lineTo(i * cell, side);
      context.moveTo(0, i * cell);
      context.lineTo(side, i * cell);
    }
    context.stroke();
    for (const [style, width] of [['#000000', 4], ['#ffffff', 2]]) {
      context.strokeStyle = style;
      context.lineWidth = width;
      context.strokeRect(half * cell, half * cell, cell, cell);
    }
  }
}

/** A view of its own, whose top left corner shows a pixel of the picture. */
function viewAt({ width, height }, side, scale, left, top) {
  const [x, y] = [-left * scale, -top * scale];
  const within = (v, most) => Math.min(most, Math.max(0, v));
  return {
    scale, x, y, size: { width: side, height: side }, picture: { width, height },
    toScreen: (px, py) => [px * scale + x, py * scale + y],
    visible: [within(left, width), within(top, height), within(left + CELLS, width), within(top + CELLS, height)],
  };
}
