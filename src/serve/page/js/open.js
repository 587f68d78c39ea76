// Pictures and videos on their way in: dropped, pasted, chosen, or one of the samples.

import { isAbort } from './api.js';
import { withSource } from './model.js';

const VIDEO = /\.(gif|apng|mp4|m4v|mov|mkv|webm|avi|mpe?g|ts|ogv)$/i;
const natural = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' });

export class Opener {
  #app;
  #abort = null;

  constructor(app) {
    this.#app = app;
  }

  /** Files that were dropped, pasted or chosen: one picture, one video, or the frames of one. */
  async open(files, { name = null } = {}) {
    const { store, remote, pictures, live } = this.#app;
    const list = [...files].filter((file) => !file.name?.startsWith('.'));
    if (list.length === 0) return;
    this.#abort?.abort();
    const abort = new AbortController();
    this.#abort = abort;
    const frames = list.length > 1 ? list.filter((file) => file.type.startsWith('image/')) : list;
    if (frames.length === 0) {
      live.say('None of these files is a picture. For a video of single frames choose a folder of pictures.', 'error');
      return;
    }
    frames.sort((a, b) => natural.compare(a.webkitRelativePath || a.name, b.webkitRelativePath || b.name));
    const video = frames.length > 1 || frames[0].type.startsWith('video/') || VIDEO.test(frames[0].name ?? '');
    const title = name ?? titleOf(frames, video);
    const stage = (what) => store.set({ job: { what, done: 0, of: 0, cancel: () => abort.abort() } });
    try {
      this.#check(frames, video);
      stage(video ? 'Reading the video' : 'Reading the picture');
      const source = await remote.open(frames, title, { video, signal: abort.signal });
      abort.signal.throwIfAborted();
      await pictures.load(source, 0);
      abort.signal.throwIfAborted();
      store.set({ frame: 0, cursor: null, everything: null, compare: null, hover: null, ready: false, tool: 'click', label: 1, playing: false });
      store.change('opened', (doc) => withSource(doc, source));
      const notes = source.notes.length > 0 ? ` Note: ${source.notes.join('; ')}.` : '';
      const what = video ? `${source.frames} frames of ` : '';
      live.say(`${title}: ${what}${source.width} by ${source.height} pixels. Click on what you want to cut out.${notes}`, notes ? 'note' : 'info');
    } catch (error) {
      if (!isAbort(error)) live.say(`${title} could not be opened: ${error.message}`, 'error');
    } finally {
      if (this.#abort === abort) {
        this.#abort = null;
        store.set({ job: null });
      }
    }
  }

  /** One of the samples that the server has. */
  async sample({ href, title }) {
    try {
      const blob = await this.#app.api.sample(href);
      await this.open([new File([blob], href.split('/').at(-1), { type: blob.type })], { name: title });
    } catch (error) {
      this.#app.live.say(`The sample could not be opened: ${error.message}`, 'error');
    }
  }

  /** What the server would refuse anyhow, said before it is sent. */
  #check(files, video) {
    const { limits } = this.#app.store.ui.info ?? {};
    if (!limits) return;
    const bytes = files.reduce((sum, file) => sum + file.size, 0);
    const most = video ? limits.video_bytes : limits.image_bytes;
    const mb = (n) => `${Math.round(n / 1e6)} MB`;
    if (most && bytes > most) throw new Error(`it has ${mb(bytes)}, the server takes at most ${mb(most)}`);
    if (video && limits.frames && files.length > limits.frames) {
      throw new Error(`it has ${files.length} frames, the server takes at most ${limits.frames}`);
    }
  }
}

function titleOf(files, video) {
  const [first] = files;
  const folder = first.webkitRelativePath?.split('/')[0];
  if (video && files.length > 1) return folder || 'frames';
  return first.name || (video ? 'video' : 'picture');
}

/** Makes the whole window take files. `hint` is shown while something is held over it. */
export function followDrops(opener, hint) {
  let depth = 0;
  const shown = (on) => { hint.hidden = !on; };
  const carriesFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes('Files');
  addEventListener('dragenter', (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    depth++;
    shown(true);
  });
  addEventListener('dragover', (event) => { if (carriesFiles(event)) event.preventDefault(); });
  addEventListener('dragleave', (event) => {
    if (carriesFiles(event) && --depth <= 0) shown(false);
  });
  addEventListener('drop', async (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    depth = 0;
    shown(false);
    if (event.target.closest?.('[data-drop]')) return;
    opener.open(await filesOf(event.dataTransfer));
  });
  addEventListener('paste', (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length > 0) {
      event.preventDefault();
      opener.open(files);
    }
  });
}

/** Files of a drop, those of folders with them. */
async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  const files = [];
  for (const entry of entries) await collect(entry, files);
  return files;
}

async function collect(entry, files) {
  if (entry.isFile) {
    files.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return;
    for (const one of some) await collect(one, files);
  }
}
