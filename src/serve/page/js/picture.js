// The pixels of the picture: all of it at no more than BASE pixels a side, and tiles at full size of what is looked at
// closely. So a picture of a hundred million pixels takes no more memory than the screen needs, and none is lost.

import { isAbort } from './api.js';

const BASE = 2048;
const TILE = 1024;
const TILES_KEPT = 48;
const BASES_KEPT = 40;
const AGAIN_MS = 3000;

export class Pictures {
  #api;
  #remote;
  #changed;
  #failed;
  #bases = new Map();
  #tiles = new Map();
  #last = { source: null, base: null };

  /** `changed()` when pixels have come, `failed(error)` when they have not. */
  constructor(api, remote, { changed, failed }) {
    this.#failed = failed;
    this.#api = api;
    this.#remote = remote;
    this.#changed = changed;
  }

  /** The whole frame, reduced where it is large; null until it has come. */
  base(source, frame) {
    return this.#get(this.#bases, BASES_KEPT, source, frame, 'base', { max_side: BASE });
  }

  /** Waits for it: errors reach the caller. */
  async load(source, frame) {
    this.base(source, frame);
    const entry = this.#bases.get(`${source.key}/${frame}/base`);
    await entry.promise;
    if (entry.error) {
      this.#bases.delete(`${source.key}/${frame}/base`);
      throw entry.error;
    }
    return entry.bitmap;
  }

  /** A small picture of a frame. */
  async thumbnail(source, frame, side) {
    const query = { max_side: side, format: 'jpeg' };
    return createImageBitmap(await this.#fetch(source, frame, query));
  }

  /** Draws what the view shows of the frame; until its pixels have come, the frame before. */
  draw(context, view, source, frame) {
    const known = this.base(source, frame);
    const { width, height } = source;
    if (known) this.#last = { source, base: known };
    const base = known ?? (this.#last.source === source ? this.#last.base : null);
    if (!base || base.width === 0) return false; // it was closed to make room
    context.imageSmoothingEnabled = view.scale * (width / base.width) < 2;
    context.imageSmoothingQuality = 'high';
    context.drawImage(base, view.x, view.y, width * view.scale, height * view.scale);
    if (Math.max(width, height) <= BASE || view.scale <= BASE / Math.max(width, height)) return true;
    context.imageSmoothingEnabled = view.scale < 2;
    const [x0, y0, x1, y1] = view.visible;
    for (let ty = Math.floor(y0 / TILE); ty * TILE < y1; ty++) {
      for (let tx = Math.floor(x0 / TILE); tx * TILE < x1; tx++) {
        const part = { x: tx * TILE, y: ty * TILE, width: Math.min(TILE, width - tx * TILE), height: Math.min(TILE, height - ty * TILE) };
        const tile = this.#get(this.#tiles, TILES_KEPT, source, frame, `${tx},${ty}`, part);
        if (!tile) continue;
        const [sx, sy] = view.toScreen(part.x, part.y);
        context.drawImage(tile, sx, sy, part.width * view.scale, part.height * view.scale);
      }
    }
    return true;
  }

  #get(kept, most, source, frame, what, query) {
    const key = `${source.key}/${frame}/${what}`;
    const entry = kept.get(key);
    if (entry) {
      // last used, last to go
      kept.delete(key);
      kept.set(key, entry);
      return entry.bitmap;
    }
    const begun = { bitmap: null, error: null, promise: null };
    begun.promise = this.#fetch(source, frame, query)
      .then((blob) => createImageBitmap(blob))
      .then((bitmap) => { begun.bitmap = bitmap; this.#changed(); })
      .catch((error) => {
        begun.error = error;
        if (!isAbort(error)) this.#failed(error);
        // looked at again, it is asked for again
        setTimeout(() => { if (kept.get(key) === begun) kept.delete(key); }, AGAIN_MS);
      });
    kept.set(key, begun);
    for (const [oldest, { bitmap }] of kept) {
      if (kept.size <= most) break;
      bitmap?.close();
      kept.delete(oldest);
    }
    return null;
  }

  #fetch(source, frame, query) {
    return this.#remote.onFrame(source, frame, (path) => this.#api.pixels(`${path}/pixels`, query));
  }
}
