// The frames of a video: thumbnails to go by, and for each object a lane that shows where it is known.

import { byId, fill, h, icon, whenChanged } from './dom.js';
import { hasPrompts } from './model.js';

const THUMB_WIDTH = 72;

export class Timeline {
  #app;
  #thumbs = new Map();
  #timer = 0;

  constructor(app) {
    this.#app = app;
    const { store, commands } = app;
    this.slider = byId('frame');
    this.slider.addEventListener('input', () => commands.frame(Number(this.slider.value)));
    byId('play').addEventListener('click', commands.play);
    byId('previous').addEventListener('click', () => commands.frame(store.ui.frame - 1));
    byId('next').addEventListener('click', () => commands.frame(store.ui.frame + 1));
    for (const way of ['backward', 'both', 'forward']) byId(`track-${way}`).addEventListener('click', () => app.tracker.track(way));
    byId('describe').addEventListener('submit', (event) => {
      event.preventDefault();
      const text = byId('sentence').value.trim();
      if (text) app.tracker.describe(text);
      else app.live.say('Type what to look for, such as: the dog on the left.');
    });
    new ResizeObserver(() => {
      this.#strip();
      this.#lanes();
    }).observe(byId('thumbs'));
    store.subscribe(whenChanged(() => [store.doc.source], () => this.#open()));
    store.subscribe(whenChanged(() => [store.doc.source, store.ui.frame], () => this.#place()));
    store.subscribe(whenChanged(() => [store.doc.objects, store.doc.tracks, store.doc.source, store.doc.current], () => this.#lanes()));
    store.subscribe(whenChanged(() => [store.ui.playing, store.doc.source], () => this.#play()));
    store.subscribe(whenChanged(() => [store.ui.chosenModels, store.ui.job], () => this.#allow()));
  }

  #allow() {
    const { chosenModels, job } = this.#app.store.ui;
    const can = Boolean(chosenModels?.video) && !job;
    for (const way of ['backward', 'both', 'forward']) byId(`track-${way}`).disabled = !can;
    byId('no-tracking').hidden = Boolean(chosenModels?.video);
    byId('describe').hidden = !chosenModels?.text;
    byId('look-for').disabled = Boolean(job);
  }

  #open() {
    const { source } = this.#app.store.doc;
    const shown = Boolean(source?.video);
    byId('timeline').hidden = !shown;
    document.body.classList.toggle('has-video', shown);
    if (!shown) return;
    this.slider.max = String(source.frames - 1);
    this.#strip();
  }

  #place() {
    const { source } = this.#app.store.doc;
    if (!source?.video) return;
    const { frame } = this.#app.store.ui;
    this.slider.value = String(frame);
    this.slider.setAttribute('aria-valuetext', `frame ${frame + 1} of ${source.frames}`);
    byId('frame-number').textContent = `${frame + 1} / ${source.frames}`;
    byId('timeline').style.setProperty('--at', String(source.frames > 1 ? frame / (source.frames - 1) : 0));
  }

  /** As many thumbnails as there is room for. */
  async #strip() {
    const { source } = this.#app.store.doc;
    const strip = byId('thumbs');
    if (!source?.video || strip.clientWidth === 0) return;
    const many = Math.max(2, Math.min(source.frames, Math.floor(strip.clientWidth / THUMB_WIDTH)));
    const frames = Array.from({ length: many }, (_, i) => Math.round((i * (source.frames - 1)) / Math.max(1, many - 1)));
    if (strip.dataset.frames === `${source.key}/${frames}`) return;
    strip.dataset.frames = `${source.key}/${frames}`;
    const canvases = frames.map(() => h('canvas', { width: 2 * THUMB_WIDTH, height: 88 }));
    fill(strip, canvases.map((canvas, i) => h('button', {
      type: 'button', class: 'thumb', tabindex: '-1', 'aria-label': `Frame ${frames[i] + 1}`, onclick: () => this.#app.commands.frame(frames[i]),
    }, canvas)));
    for (const [i, canvas] of canvases.entries()) {
      try {
        const bitmap = await this.#thumb(source, frames[i]);
        const scale = Math.max(canvas.width / bitmap.width, canvas.height / bitmap.height);
        const [w, hh] = [bitmap.width * scale, bitmap.height * scale];
        canvas.getContext('2d').drawImage(bitmap, (canvas.width - w) / 2, (canvas.height - hh) / 2, w, hh);
      } catch {
        return; // the frames themselves tell what is wrong when they are shown
      }
    }
  }

  async #thumb(source, frame) {
    const key = `${source.key}/${frame}`;
    if (!this.#thumbs.has(key)) {
      if (this.#thumbs.size > 400) this.#thumbs.clear();
      const asked = this.#app.pictures.thumbnail(source, frame, 2 * THUMB_WIDTH);
      this.#thumbs.set(key, asked);
      asked.catch(() => this.#thumbs.delete(key));
    }
    return this.#thumbs.get(key);
  }

  /** A lane an object: a bar where there are masks, dots where it was prompted. */
  #lanes() {
    const { doc } = this.#app.store;
    if (!doc.source?.video) return;
    const { frames } = doc.source;
    const dpr = devicePixelRatio || 1;
    const width = Math.max(50, byId('lanes').clientWidth - 16);
    fill(byId('lanes'), doc.objects.map((object) => {
      const canvas = h('canvas', { class: 'lane', width: Math.round(width * dpr), height: 10 * dpr, role: 'img' });
      const context = canvas.getContext('2d');
      context.scale(dpr, dpr);
      const cell = width / frames;
      context.fillStyle = object.colour;
      let known = 0;
      for (let n = 0; n < frames; n++) {
        const tracked = doc.tracks[n]?.[object.id];
        if (tracked) known++;
        context.globalAlpha = tracked ? (tracked.area > 0 ? 0.75 : 0.2) : 0;
        context.fillRect(n * cell, 3, Math.max(1, cell), 4);
      }
      context.globalAlpha = 1;
      const prompted = Object.entries(object.frames).filter(([, p]) => hasPrompts(p)).map(([n]) => Number(n));
      for (const n of prompted) {
        context.beginPath();
        context.arc(Math.max(5, Math.min(width - 5, (n + 0.5) * cell)), 5, 5, 0, 2 * Math.PI);
        context.fill();
      }
      const on = prompted.length > 0 ? `, prompts on ${prompted.map((n) => n + 1).join(', ')}` : '';
      canvas.setAttribute('aria-label', `${object.name}: masks on ${known} of ${frames} frames${on}`);
      return canvas;
    }));
  }

  #play() {
    clearTimeout(this.#timer);
    const { store, pictures } = this.#app;
    const playing = store.ui.playing && store.doc.source?.video;
    fill(byId('play'), icon(playing ? 'pause' : 'play'));
    byId('play').setAttribute('aria-label', playing ? 'Stop' : 'Play');
    if (!playing) return;
    const { source } = store.doc;
    const wait = 1000 / Math.min(60, source.fps || 12);
    const step = async () => {
      const next = (store.ui.frame + 1) % source.frames;
      try {
        await pictures.load(source, next);
      } catch {
        store.set({ playing: false });
        return;
      }
      if (!store.ui.playing || store.doc.source !== source) return;
      store.set({ frame: next, hover: null });
      this.#timer = setTimeout(step, wait);
    };
    this.#timer = setTimeout(step, wait);
  }
}
