// Masks as something to look at: tints, edges, holes in a background. Everything is made for the part of the picture that
// is on the screen, at one cell for a pixel of the picture or of the screen, whichever is larger.

/** Bytes of cells and of their tints that are kept. */
const KEPT_BYTES = 192e6;
/** Grids begin and end at multiples of so many cells, so that a small move of the picture needs nothing new. */
const BLOCK = 256;

/** The grid of what a view shows: `{x0, y0, step, columns, rows}` in pixels of the picture. */
export function gridOf(view) {
  const [x0, y0, x1, y1] = view.visible;
  const step = Math.max(1, 1 / view.scale);
  const block = BLOCK * step;
  const { width, height } = view.picture;
  const begin = (v) => Math.floor(v / block) * block;
  const cells = (from, v, most) => Math.max(0, Math.ceil((Math.min(most, Math.ceil(v / block) * block) - from) / step));
  const [left, top] = [begin(x0), begin(y0)];
  const any = x1 > x0 && y1 > y0;
  return { x0: left, y0: top, step, columns: any ? cells(left, x1, width) : 0, rows: any ? cells(top, y1, height) : 0 };
}

export class Layers {
  #cells = new Map();
  #bytes = 0;

  /** Levels of the mask in the grid, 0..255. `number` tells masks apart. */
  cells(mask, number, grid, picture) {
    const key = `${number}/${grid.x0},${grid.y0},${grid.step},${grid.columns},${grid.rows}`;
    let found = this.#cells.get(key);
    if (!found) {
      found = { levels: levelsIn(mask, grid, picture), edge: null, tint: null };
      this.#bytes += 5 * found.levels.length;
    }
    this.#cells.delete(key);
    this.#cells.set(key, found);
    for (const [oldest, { levels }] of this.#cells) {
      if (this.#bytes <= KEPT_BYTES || oldest === key) break;
      this.#bytes -= 5 * levels.length;
      this.#cells.delete(oldest);
    }
    return found;
  }

  /** Draws the cells in one colour, `[r, g, b]`, as strongly as `opacity`. */
  tint(context, view, grid, cells, colour, opacity) {
    if (grid.columns === 0 || grid.rows === 0) return;
    const kind = `${colour},${opacity}`;
    if (cells.tint?.kind !== kind) {
      const image = new ImageData(grid.columns, grid.rows);
      paint(image.data, cells.levels, colour, opacity);
      cells.tint = { kind, canvas: canvasOf(image) };
    }
    this.put(context, view, grid, cells.tint.canvas);
  }

  /** Many masks in colours of their own, later ones over earlier ones, as one picture. */
  static compose(masks, grid, picture, opacity) {
    const image = new ImageData(Math.max(1, grid.columns), Math.max(1, grid.rows));
    for (const { mask, colour } of masks) paint(image.data, levelsIn(mask, grid, picture), colour, opacity);
    return canvasOf(image);
  }

  /** Keeps of the canvas what the cells cover. */
  keep(context, view, grid, levels) {
    context.save();
    context.globalCompositeOperation = 'destination-in';
    if (grid.columns > 0 && grid.rows > 0) this.tint(context, view, grid, { levels }, [0, 0, 0], 1);
    else context.clearRect(0, 0, view.size.width, view.size.height);
    context.restore();
  }

  /** Draws what has a pixel for each cell. */
  put(context, view, grid, canvas) {
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

function levelsIn(mask, grid, picture) {
  const levels = new Uint8Array(grid.columns * grid.rows);
  const [sx, sy] = [mask.width / picture.width, mask.height / picture.height];
  mask.sample(levels, grid.columns, grid.rows, grid.x0 * sx, grid.y0 * sy, grid.step * sx, grid.step * sy);
  return levels;
}

function paint(data, levels, [r, g, b], opacity) {
  for (let i = 0, at = 0; i < levels.length; i++, at += 4) {
    if (levels[i] === 0) continue;
    data[at] = r;
    data[at + 1] = g;
    data[at + 2] = b;
    data[at + 3] = levels[i] * opacity;
  }
}

function canvasOf(image) {
  const canvas = new OffscreenCanvas(image.width, image.height);
  canvas.getContext('2d').putImageData(image, 0, 0);
  return canvas;
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
