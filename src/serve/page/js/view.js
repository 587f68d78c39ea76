// Where the picture lies on the screen: pan and zoom, as numbers. Lengths are in pixels of the screen (of the device),
// places of the picture in its own pixels.

const CLOSEST = 64;
const MARGIN = 24;

export class View {
  scale = 1;
  x = 0;
  y = 0;
  #fitted = true;

  constructor(size, changed) {
    /** Of the screen, in device pixels. */
    this.size = size;
    this.picture = { width: 1, height: 1 };
    this.changed = changed;
  }

  /** Another picture, or another size of the screen. A view that showed all of it goes on to. */
  setPicture(picture) {
    this.picture = picture;
    this.fit();
  }

  setSize(size) {
    const [cx, cy] = this.toPicture(this.size.width / 2, this.size.height / 2);
    this.size = size;
    if (this.#fitted) this.fit();
    else this.centre(cx, cy);
  }

  get fitScale() {
    const { width, height } = this.size;
    const margin = Math.min(MARGIN * (devicePixelRatio || 1), width / 10, height / 10);
    const fits = Math.min((width - 2 * margin) / this.picture.width, (height - 2 * margin) / this.picture.height);
    return Math.max(1e-4, Math.min(fits, 8));
  }

  /** All of it, in the middle. */
  fit() {
    this.scale = this.fitScale;
    this.#fitted = true;
    this.#place(this.picture.width / 2, this.picture.height / 2);
  }

  /** A place of the picture in the middle. */
  centre(px, py, scale = this.scale) {
    this.scale = this.#within(scale);
    this.#fitted = false;
    this.#place(px, py);
  }

  /** Closer by `factor` about a point of the screen, which keeps its place. */
  zoom(factor, sx = this.size.width / 2, sy = this.size.height / 2) {
    const [px, py] = this.toPicture(sx, sy);
    this.scale = this.#within(this.scale * factor);
    this.#fitted = false;
    this.x = sx - px * this.scale;
    this.y = sy - py * this.scale;
    this.#keepInSight();
  }

  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.#fitted = false;
    this.#keepInSight();
  }

  /** Moves so that a place of the picture is on the screen. */
  reveal(px, py) {
    const [sx, sy] = this.toScreen(px, py);
    const edge = 40;
    const off = (at, length) => (at < edge ? edge - at : at > length - edge ? length - edge - at : 0);
    const [dx, dy] = [off(sx, this.size.width), off(sy, this.size.height)];
    if (dx !== 0 || dy !== 0) this.pan(dx, dy);
  }

  toPicture = (sx, sy) => [(sx - this.x) / this.scale, (sy - this.y) / this.scale];
  toScreen = (px, py) => [px * this.scale + this.x, py * this.scale + this.y];

  /** The part of the picture that is on the screen: `[x0, y0, x1, y1]`, whole pixels. */
  get visible() {
    const [x0, y0] = this.toPicture(0, 0);
    const [x1, y1] = this.toPicture(this.size.width, this.size.height);
    const { width, height } = this.picture;
    const within = (v, most) => Math.min(most, Math.max(0, v));
    return [within(Math.floor(x0), width), within(Math.floor(y0), height), within(Math.ceil(x1), width), within(Math.ceil(y1), height)];
  }

  #within = (scale) => Math.min(CLOSEST * (devicePixelRatio || 1), Math.max(Math.min(this.fitScale / 2, 1), scale));

  #place(px, py) {
    this.x = this.size.width / 2 - px * this.scale;
    this.y = this.size.height / 2 - py * this.scale;
    this.#keepInSight();
  }

  /** A quarter of the screen always shows something of the picture. */
  #keepInSight() {
    const keep = (at, length, screen) => Math.min(screen * 0.75, Math.max(screen * 0.25 - length, at));
    this.x = keep(this.x, this.picture.width * this.scale, this.size.width);
    this.y = keep(this.y, this.picture.height * this.scale, this.size.height);
    this.changed();
  }
}
