// All that is asked of the server. Nothing else in the page calls `fetch`.

import { events } from './events.js';

/** What the server refused, in words that can be shown. */
export class Problem extends Error {
  constructor({ status = 0, code = 'unreachable', title = '', detail = '', retryAfter = null }) {
    super(detail || title || 'something went wrong');
    Object.assign(this, { status, code, retryAfter });
  }
}

/** Whether it is nothing but a request that was taken back. */
export const isAbort = (error) => error?.name === 'AbortError' || error?.code === 'superseded';

const TRIES_WHEN_BUSY = 4;

export class Api {
  #token;
  #askToken;

  /** `askToken()` gives a token that a person has typed, or null. */
  constructor(token, askToken) {
    this.#token = token;
    this.#askToken = askToken;
  }

  info = (options) => this.#json('GET', 'info', options);
  models = (options) => this.#json('GET', 'models', options);

  /** A file of the page itself. */
  sample = async (href) => (await this.#send('GET', href, '*/*', { base: '' })).blob();

  /** Sends a picture's bytes. */
  uploadImage = (blob, options) => this.#json('POST', 'images', { ...options, body: blob, type: 'application/octet-stream' });

  /** Sends an animation or a video file, or frames in their order. */
  uploadVideo(files, options) {
    if (files.length === 1) {
      return this.#json('POST', 'videos', { ...options, body: files[0], type: 'application/octet-stream' });
    }
    const form = new FormData();
    files.forEach((file, n) => form.append('frame', file, `${n}`));
    return this.#json('POST', 'videos', { ...options, body: form });
  }

  /** Where an image's or frame's requests go. */
  static imagePath = (id) => `images/${encodeURIComponent(id)}`;
  static videoPath = (id) => `videos/${encodeURIComponent(id)}`;
  static framePath = (id, n) => `${Api.videoPath(id)}/frames/${n}`;

  pixels(path, query, options) {
    const search = new URLSearchParams(query);
    return this.#blob('GET', `${path}?${search}`, options);
  }

  masks = (path, body, options) => this.#json('POST', `${path}/masks`, { ...options, json: body });
  resultPng = (path, result, options) => this.#blob('GET', `${path}/results/${encodeURIComponent(result)}`, options);
  uploadTruth = (path, blob, options) =>
    this.#json('POST', `${path}/truths`, { ...options, body: blob, type: 'application/octet-stream' });
  scores = (path, body, options) => this.#json('POST', `${path}/scores`, { ...options, json: body });
  exportFile = (path, body, options) => this.#blob('POST', `${path}/exports`, { ...options, json: body });

  embed = (path, body, options) => this.#events(`${path}/embeddings`, body, options);
  everything = (path, body, options) => this.#events(`${path}/everything`, body, options);
  propagate = (path, body, options) => this.#events(`${path}/propagate`, body, options);
  describe = (path, body, options) => this.#events(`${path}/describe`, body, options);

  async #json(method, path, options) {
    return (await this.#send(method, path, 'application/json', options)).json();
  }

  async #blob(method, path, options) {
    return (await this.#send(method, path, '*/*', options)).blob();
  }

  /** Follows a stream; `onEvent(name, data)` for each before the last, whose data is returned. */
  async #events(path, body, { onEvent = () => {}, ...options } = {}) {
    const response = await this.#send('POST', path, 'text/event-stream', { ...options, json: body });
    for await (const { event, data } of events(response.body)) {
      if (event === 'problem') throw new Problem(data);
      if (event === 'ready') return data;
      onEvent(event, data);
    }
    throw new Problem({ title: 'the server stopped in the middle of its answer' });
  }

  async #send(method, path, accept, { json, body, type, signal, onWait, base = 'v1/' } = {}) {
    for (let attempt = 1; ; attempt++) {
      const headers = { Accept: accept };
      if (json !== undefined) headers['Content-Type'] = 'application/json';
      else if (type) headers['Content-Type'] = type;
      if (this.#token) headers.Authorization = `Bearer ${this.#token}`;
      const response = await reach(`${base}${path}`, {
        method, headers, signal, body: json === undefined ? body : JSON.stringify(json), credentials: 'omit',
      });
      if (response.ok) return response;
      const problem = await problemOf(response);
      if (problem.code === 'unauthorized' && attempt < TRIES_WHEN_BUSY) {
        const token = await this.#askToken(Boolean(this.#token));
        if (!token) throw problem;
        this.#token = token;
        continue;
      }
      // a model that is being fetched comes in the end, or is said to have failed
      const loading = problem.code === 'loading';
      const again = (problem.status === 503 || loading) && problem.retryAfter !== null;
      if (!again || (!loading && attempt >= TRIES_WHEN_BUSY)) throw problem;
      if (loading) onWait?.(problem);
      await pause(problem.retryAfter * 1000, signal);
    }
  }
}

async function reach(url, init) {
  try {
    return await fetch(url, init);
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Problem({ title: 'The server does not answer. Is hrseg still running there? Nothing here is lost: try again when it is.' });
  }
}

async function problemOf(response) {
  const retry = Number.parseFloat(response.headers.get('Retry-After') ?? '');
  const retryAfter = Number.isFinite(retry) ? Math.min(retry, 30) : null;
  try {
    return new Problem({ ...(await response.json()), status: response.status, retryAfter });
  } catch {
    return new Problem({ status: response.status, code: 'unknown', title: `the server answered ${response.status}`, retryAfter });
  }
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(signal.reason ?? new DOMException('taken back', 'AbortError'));
    }, { once: true });
  });
}
