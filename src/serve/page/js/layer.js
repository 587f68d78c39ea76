// Masks as something to look at: tints, edges, holes in a background. Everything is made for the part of the picture that
// is on the screen, at one cell for a pixel of the picture or of the screen, whichever is larger.

const KEPT = 160;

/** The grid of what a view shows: `{x0, y0, step, columns, rows}` in pixels of the picture. */
export function gridOf(view) {
  const [x0, y0, x1, y1] = view.visible;
  const step = Math.max(1, 1 / view.scale);
  return { x0, y0, step, columns: Math.max(0, Math.ceil((x1 - x0) / step)), rows: Math.max(0, Math.ceil((y1 - y0) / step)) };
}

export class Layers {
  #cells = new Map();

  /** Levels of the mask in the grid, 0..255. `number` tells masks apart. */
  cells(mask, number, grid, picture) {
    const key = `${number}/${grid.x0},${grid.y0},${grid.step},${grid.columns},${grid.rows}`;
    let found = this.#cells.get(key);
    if (!found) {
      found = { levels: new Uint8Array(grid.columns * grid.rows), edge: null };
      const [sx, sy] = [mask.width / picture.width, mask.height / picture.height];
      mask.sample(found.levels, grid.columns, grid.rows, grid.x0 * sx, grid.y0 * sy, grid.step * sx, grid.step * sy);
    }
    this.#cells.delete(key);
    this.#cells.set(key, found);
    if (this.#cells.size > KEPT) this.#cells.delete(this.#cells.keys().next().value);
    return found;
  }

  /** Draws the cells in one colour, `[r, g, b]`, as strongly as `opacity`. */
  tint(context, view, grid, levels, [r, g, b], opacity) {
    if (grid.columns === 0 || grid.rows === 0) return;
    const image = new ImageData(grid.columns, grid.rows);
    const { data } = image;
    for (let i = 0, at = 0; i < levels.length; i++, at += 4) {
      if (levels[i] === 0) continue;
      data[at] = r;
      data[at + 1] = g;
      data[at + 2] = b;
      data[at + 3] = levels[i] * opacity;
    }
    this.#put(context, view, grid, image);
  }

  /** Keeps of the canvas what the cells cover. */
  keep(context, view, grid, levels) {
    context.save();
    context.globalCompositeOperation = 'destination-in';
    if (grid.columns > 0 && grid.rows > 0) this.tint(context, view, grid, levels, [0, 0, 0], 1);
    else context.clearRect(0, 0, view.size.width, view.size.height);
    context.restore();
  }

  #put(context, view, grid, image) {
    const canvas = new OffscreenCanvas(grid.columns, grid.rows);
    canvas.getContext('2d').putImageData(image, 0, 0);
    const [sx, sy] = view.toScreen(grid.x0, grid.y0);
    const side = grid.step * view.scale;
    context.imageSmoothingEnabled = false;
    context.drawImage(canvas, sx, sy, grid.columns * side, grid.rows * side);
  }

  /** A line along the edge, between pixels: white within a dark one, or in the object's colour. */
  outline(context, view, grid, cells, colour, dpr) {
    cells.edge ??= edgePath(cells.levels, grid);
    context.save();
    const [sx, sy] = view.toScreen(grid.x0, grid.y0);
    const side = grid.step * view.scale;
    context.translate(sx, sy);
    context.scale(side, side);
    context.lineJoin = 'round';
    for (const [style, width] of [['rgb(0 0 0 / 0.55)', 3.2], ['#ffffff', 2.2], [colour, 1.2]]) {
      context.strokeStyle = style;
      context.lineWidth = (width * dpr) / side;
      context.stroke(cells.edge);
    }
    context.restore();
  }
}

/** The borders between inside and outside, joined along rows and columns. What goes on beyond the grid has none there. */
function edgePath(levels, { columns, rows }) {
  const path = new Path2D();
  const inside = (i, j) => levels[j * columns + i] > 127;
  trace(rows, columns, (j, i) => inside(i, j) !== inside(i, j - 1), (j, from, to) => {
    path.moveTo(from, j);
    path.lineTo(to, j);
  });
  trace(columns, rows, (i, j) => inside(i, j) !== inside(i - 1, j), (i, from, to) => {
    path.moveTo(i, from);
    path.lineTo(i, to);
  });
  return path;
}

/** Finds the stretches of borders on each line between two rows (or columns). */
function trace(lines, length, isBorder, found) {
  for (let line = 1; line < lines; line++) {
    for (let at = 0, from = -1; at <= length; at++) {
      const border = at < length && isBorder(line, at);
      if (border && from < 0) from = at;
      if (!border && from >= 0) {
        found(line, from, at);
        from = -1;
      }
    }
  }
}

/** `#rrggbb` as three numbers. */
export const rgb = (hex) => [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));
