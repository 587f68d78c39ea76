// How masks are shown: as a tint over the picture, or cut out on a background.

import { byId, whenChanged } from '../dom.js';
import { changeLook } from '../model.js';

export function lookPanel({ store, live }) {
  const change = (label, patch, merge) => store.change(label, (doc) => changeLook(doc, patch), { merge });
  for (const mode of ['tint', 'cutout']) {
    byId(`mode-${mode}`).addEventListener('change', () => change(mode === 'tint' ? 'show the tint' : 'show the cut-out', { mode }));
  }
  byId('opacity').addEventListener('input', (event) => change('opacity', { opacity: event.target.valueAsNumber / 100 }, 'opacity'));
  byId('outline').addEventListener('change', (event) => change('outline', { outline: event.target.checked }));
  for (const background of ['checker', 'colour', 'picture']) {
    byId(`background-${background}`).addEventListener('change', () => {
      if (background === 'picture' && !store.doc.look.picture) {
        // not before there is one
        byId(`background-${store.doc.look.background}`).checked = true;
        byId('backdrop').click();
        return;
      }
      change('background', { background });
    });
  }
  byId('colour').addEventListener('input', (event) => change('background colour', { background: 'colour', colour: event.target.value }, 'background'));
  byId('choose-backdrop').addEventListener('click', () => byId('backdrop').click());
  byId('backdrop').addEventListener('change', (event) => {
    const [picture] = event.target.files;
    event.target.value = '';
    if (!picture) return;
    change('background picture', { background: 'picture', picture });
    live.say(`${picture.name} is the background.`);
  });

  store.subscribe(whenChanged(() => [store.doc.look], () => {
    const { mode, opacity, outline, background, colour } = store.doc.look;
    byId(`mode-${mode}`).checked = true;
    byId('opacity').value = String(Math.round(100 * opacity));
    byId('opacity').setAttribute('aria-valuetext', `${Math.round(100 * opacity)} percent`);
    byId('outline').checked = outline;
    byId(`background-${background}`).checked = true;
    byId('colour').value = colour;
    byId('opacity-row').hidden = byId('outline-row').hidden = mode !== 'tint';
    byId('background-row').hidden = mode !== 'cutout';
  }));
}
