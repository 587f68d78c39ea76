// What the page says: to screen readers, and in a line that everybody sees. Errors stay until they are read.

import { fill, h, icon } from './dom.js';

const SHOWN_MS = 4500;

export class Live {
  #region;
  #toasts;
  #timer = 0;

  constructor(region, toasts) {
    this.#region = region;
    this.#toasts = toasts;
  }

  /** Says something; `kind` is `info`, `note` (shown longer) or `error` (shown until it is closed). */
  say(text, kind = 'info') {
    // the same words twice are said twice
    this.#region.textContent = '';
    requestAnimationFrame(() => { this.#region.textContent = text; });
    clearTimeout(this.#timer);
    const close = h('button', { class: 'quiet', type: 'button', 'aria-label': 'Close this message', onclick: () => fill(this.#toasts) }, icon('close'));
    fill(this.#toasts, h('div', { class: `toast ${kind}` }, h('span', {}, text), close));
    if (kind !== 'error') this.#timer = setTimeout(() => fill(this.#toasts), kind === 'note' ? 3 * SHOWN_MS : SHOWN_MS);
  }

  /** Takes away what is only a hint: the person goes on. */
  calm() {
    if (this.#toasts.querySelector('.info')) fill(this.#toasts);
  }

  /** Says it to screen readers alone. */
  whisper(text) {
    this.#region.textContent = text;
  }
}
