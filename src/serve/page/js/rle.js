// COCO's run lengths: what masks travel as. Runs go down the columns, left to right, and begin with one of zeros. A mask
// is never unpacked whole: it is asked for the part and at the step that is looked at, so that its size does not matter.

/** Most samples of a cell, across and down, where cells are larger than pixels. */
const FINEST = 4;

export class RleMask {
  #runs;
  #first;
  #ends;

  /** From run lengths, zeros first. */
  constructor(width, height, runs) {
    this.width = width;
    this.height = height;
    this.soft = false;
    this.#runs = runs;
  }

  /** From `{size: [height, width], counts}`. */
  static fromCoco({ size: [height, width], counts }) {
    return new RleMask(width, height, decode(counts));
  }

  /** From a row-major grid of bytes; anything but 0 is inside. */
  static fromGrid(grid, width, height) {
    const runs = [];
    let [value, length] = [false, 0];
    for (let x = 0; x < width; x++) {
      for (let y = 0, at = x; y < height; y++, at += width) {
        const inside = grid[at] !== 0;
        if (inside !== value) {
          runs.push(length);
          [value, length] = [inside, 0];
        }
        length++;
      }
    }
    runs.push(length);
    return new RleMask(width, height, runs);
  }

  toCoco() {
    return { size: [this.height, this.width], counts: encode(this.#runs) };
  }

  get area() {
    let sum = 0;
    for (let i = 1; i < this.#runs.length; i += 2) sum += this.#runs[i];
    return sum;
  }

  /** The run that each column begins in, and where every run ends: made when first asked for. */
  #index() {
    if (this.#first) return;
    const ends = new Float64Array(this.#runs.length);
    let at = 0;
    this.#runs.forEach((run, i) => { ends[i] = at += run; });
    const first = new Uint32Array(this.width);
    for (let x = 0, i = 0; x < this.width; x++) {
      while (i < ends.length - 1 && ends[i] <= x * this.height) i++;
      first[x] = i;
    }
    this.#first = first;
    this.#ends = ends;
  }

  /** Whether the pixel is inside. */
  at(x, y) {
    if (x < 0 || y < 0 || x >= this.width || y >= this.height) return false;
    this.#index();
    const position = x * this.height + y;
    let i = this.#first[x];
    while (this.#ends[i] <= position) i++;
    return i % 2 === 1;
  }

  /**
   * Writes the larger of what is there and of the mask's level (0..255) into `grid`, `columns` wide: its cell (i, j)
   * shows what lies between (x0 + i·dx, y0 + j·dy) and (x0 + (i + 1)·dx, y0 + (j + 1)·dy). Where cells are larger than
   * pixels the level is the share that is inside, so that a wire stays in sight.
   */
  sample(grid, columns, rows, x0, y0, dx, dy) {
    this.#index();
    if (dx <= 1 && dy <= 1) {
      for (let i = 0; i < columns; i++) this.#cover(grid, i, columns, rows, Math.floor(x0 + (i + 0.5) * dx), y0, dy);
      return;
    }
    const each = Math.min(FINEST, Math.ceil(dx));
    const shares = new Float32Array(rows);
    for (let i = 0; i < columns; i++) {
      shares.fill(0);
      for (let part = 0; part < each; part++) this.#share(shares, Math.floor(x0 + (i + (part + 0.5) / each) * dx), y0, dy);
      for (let j = 0, at = i; j < rows; j++, at += columns) {
        const level = Math.round((255 * shares[j]) / each);
        if (level > grid[at]) grid[at] = level;
      }
    }
  }

  /** The runs inside in one column: `told(first row, row behind the last)`. */
  #runsIn(x, told) {
    if (x < 0 || x >= this.width) return;
    const top = x * this.height;
    for (let run = this.#first[x]; run < this.#ends.length; run++) {
      const start = run === 0 ? 0 : this.#ends[run - 1];
      if (start >= top + this.height) return;
      if (run % 2 === 1) told(Math.max(start - top, 0), Math.min(this.#ends[run] - top, this.height));
    }
  }

  /** Column `x` into column `i` of a grid whose cells are no larger than pixels. */
  #cover(grid, i, columns, rows, x, y0, dy) {
    this.#runsIn(x, (start, end) => {
      const from = Math.max(0, Math.ceil((start - y0) / dy - 0.5));
      const to = Math.min(rows, Math.ceil((end - y0) / dy - 0.5));
      for (let j = from, at = from * columns + i; j < to; j++, at += columns) grid[at] = 255;
    });
  }

  /** Adds how much of each cell is inside in column `x`. */
  #share(shares, x, y0, dy) {
    this.#runsIn(x, (start, end) => {
      const from = Math.max(0, (start - y0) / dy);
      const to = Math.min(shares.length, (end - y0) / dy);
      for (let j = Math.floor(from); j < to; j++) shares[j] += Math.min(to, j + 1) - Math.max(from, j);
    });
  }
}

/** A mask of levels, 0 to 255: soft edges. */
export class LevelMask {
  constructor(width, height, levels) {
    Object.assign(this, { width, height, levels, soft: true });
  }

  at(x, y) {
    return x >= 0 && y >= 0 && x < this.width && y < this.height && this.levels[y * this.width + x] > 127;
  }

  sample(grid, columns, rows, x0, y0, dx, dy) {
    const [m, n] = [dx, dy].map((step) => Math.min(FINEST, Math.ceil(step)));
    for (let j = 0, at = 0; j < rows; j++) {
      for (let i = 0; i < columns; i++, at++) {
        let sum = 0;
        for (let v = 0; v < n; v++) {
          const y = Math.floor(y0 + (j + (v + 0.5) / n) * dy);
          if (y < 0 || y >= this.height) continue;
          for (let u = 0; u < m; u++) {
            const x = Math.floor(x0 + (i + (u + 0.5) / m) * dx);
            if (x >= 0 && x < this.width) sum += this.levels[y * this.width + x];
          }
        }
        const level = Math.round(sum / (m * n));
        if (level > grid[at]) grid[at] = level;
      }
    }
  }
}

function decode(text) {
  const runs = [];
  for (let at = 0; at < text.length;) {
    let [value, shift, group] = [0, 0, 0];
    do {
      group = text.charCodeAt(at++) - 48;
      value += (group & 0x1f) * 2 ** shift;
      shift += 5;
    } while (group & 0x20);
    if (group & 0x10) value -= 2 ** shift;
    if (runs.length > 2) value += runs[runs.length - 2];
    runs.push(value);
  }
  return runs;
}

function encode(runs) {
  let text = '';
  runs.forEach((run, i) => {
    let value = i > 2 ? run - runs[i - 2] : run;
    for (;;) {
      const group = ((value % 32) + 32) % 32;
      value = Math.floor(value / 32);
      const more = group & 0x10 ? value !== -1 : value !== 0;
      text += String.fromCharCode(48 + group + (more ? 0x20 : 0));
      if (!more) break;
    }
  });
  return text;
}
