// Dialogs: what to download, the keys, the token.

import { byId, fill, h, whenChanged } from '../dom.js';
import { exportFrame, exportVideo, FORMATS, VIDEO_FORMATS } from '../exports.js';

/** @returns a function that opens the dialog. */
export function downloadDialog(app) {
  const { store, live } = app;
  const dialog = byId('download-dialog');
  const chosen = () => dialog.querySelector('input[name=format]:checked')?.value ?? 'cutout';
  const choices = (formats, of) => Object.entries(formats).map(([format, { label, about }], n) => h('label', { class: 'choice' },
    h('input', { type: 'radio', name: 'format', value: `${of}${format}`, checked: of === '' && n === 0, onchange: follow }),
    h('span', {}, h('strong', {}, label), h('small', {}, about))));

  function follow() {
    const format = chosen();
    byId('edges-row').hidden = format !== 'mask' && format !== 'cutout';
    byId('cutout-rows').hidden = format !== 'cutout';
    byId('all-row').hidden = format.startsWith('video/') || store.doc.objects.length < 2;
    byId('behind-row').hidden = store.doc.look.background === 'checker';
  }
  fill(byId('frame-formats'), choices(FORMATS, ''));
  fill(byId('video-formats'), choices(VIDEO_FORMATS, 'video/'));

  byId('download-form').addEventListener('submit', async (event) => {
    event.preventDefault();
    const format = chosen();
    const button = byId('save');
    button.disabled = true;
    byId('download-trouble').hidden = true;
    try {
      if (format.startsWith('video/')) {
        await exportVideo(app, { format: format.slice(6) });
      } else {
        const on = (id) => byId(id).checked;
        await exportFrame(app, { format, all: on('all-objects'), soft: on('soft'), freed: on('freed'), crop: on('crop'), background: on('behind') });
      }
      dialog.close();
      live.say('Saved.');
    } catch (error) {
      byId('download-trouble').textContent = `Not saved: ${error.message}`;
      byId('download-trouble').hidden = false;
    } finally {
      button.disabled = false;
    }
  });
  closing(dialog);
  return () => {
    byId('video-part').hidden = !store.doc.source?.video;
    byId('download-trouble').hidden = true;
    follow();
    dialog.showModal();
  };
}

/** @returns a function that opens the list of keys. */
export function helpDialog({ store }) {
  const dialog = byId('help-dialog');
  byId('hover-preview').addEventListener('change', (event) => store.set({ preview: event.target.checked }));
  byId('single-keys').addEventListener('change', (event) => store.set({ singleKeys: event.target.checked }));
  store.subscribe(whenChanged(() => [store.ui.preview, store.ui.singleKeys], () => {
    byId('hover-preview').checked = store.ui.preview;
    byId('single-keys').checked = store.ui.singleKeys;
  }));
  closing(dialog);
  return () => dialog.showModal();
}

/** @returns a function that asks for the server's token; it gives null when the person does not have it. */
export function tokenDialog(keep) {
  const dialog = byId('token-dialog');
  let asking = null;
  closing(dialog);
  return (wrong) => {
    asking ??= new Promise((resolve) => {
      byId('token-wrong').hidden = !wrong;
      byId('token').value = '';
      const done = () => {
        const token = dialog.returnValue === 'given' ? byId('token').value.trim() : '';
        if (token) keep(token);
        asking = null;
        resolve(token || null);
      };
      dialog.returnValue = '';
      dialog.addEventListener('close', done, { once: true });
      dialog.showModal();
    });
    return asking;
  };
}

/** Closes with its buttons, and by a click beside it. */
function closing(dialog) {
  for (const button of dialog.querySelectorAll('[data-close]')) button.addEventListener('click', () => dialog.close());
  dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
}
