// Pictures and videos as the server has them. It forgets what was not used for a while; the page keeps the files, and
// sends them again when that shows.

import { Api, isAbort } from './api.js';

export class Remote {
  #api;
  #ids = new Map();
  #sent = new Map();

  /** `renewed(source)` is told when one had to be sent again: results of before have other names now. */
  constructor(api, renewed = () => {}) {
    this.#api = api;
    this.renewed = renewed;
  }

  /** How often it was sent. What an answer named is good for as long as this stays the same. */
  generation = (source) => this.#sent.get(source.key) ?? 1;

  /** Sends files; the source that they are: what the document keeps. */
  async open(files, name, { video, signal }) {
    const answer = await this.#upload(files, video, signal);
    const key = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
    this.#ids.set(key, Promise.resolve(answer.id));
    return {
      key, name, files, video, width: answer.width, height: answer.height, frames: video ? answer.frames : 1,
      fps: answer.fps ?? null, alpha: Boolean(answer.alpha), notes: answer.notes ?? [],
    };
  }

  /**
   * Does `ask(path)` with the address of a frame (of a picture: the picture), and once more with a new address when the
   * server has forgotten it.
   */
  onFrame(source, frame, ask) {
    return this.#ask(source, (id) => (source.video ? Api.framePath(id, frame) : Api.imagePath(id)), ask);
  }

  /** The same with the address of the whole. */
  onWhole(source, ask) {
    return this.#ask(source, (id) => (source.video ? Api.videoPath(id) : Api.imagePath(id)), ask);
  }

  async #ask(source, pathOf, ask) {
    const known = this.#ids.get(source.key) ?? this.#again(source);
    const id = await known;
    try {
      return await ask(pathOf(id));
    } catch (error) {
      if (error.code !== 'unknown-id' || isAbort(error)) throw error;
      // whoever sees it first sends it again, the others wait for the same
      const now = this.#ids.get(source.key) === known ? this.#again(source) : this.#ids.get(source.key);
      return ask(pathOf(await now));
    }
  }

  #again(source) {
    const id = this.#upload(source.files, source.video).then((answer) => answer.id);
    this.#ids.set(source.key, id);
    this.#sent.set(source.key, this.generation(source) + 1);
    id.then(() => this.renewed(source), () => this.#ids.delete(source.key));
    return id;
  }

  #upload(files, video, signal) {
    return video ? this.#api.uploadVideo(files, { signal }) : this.#api.uploadImage(files[0], { signal });
  }
}
