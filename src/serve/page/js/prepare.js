// The slow half of a click is done when a picture is shown, not when it is clicked on.

import { isAbort } from './api.js';
import { whenChanged } from './dom.js';

const STAGES = { encoding: 'Looking at the picture', decoding: 'Looking at the picture', loading: 'Loading the model' };

/** Has the model look at whichever frame is shown, and tells how far it is. */
export function followFrames({ store, api, remote, live }) {
  let abort = null;
  const begin = async (source, frame, model) => {
    abort?.abort();
    abort = null;
    if (!source || !model) return;
    const own = new AbortController();
    abort = own;
    const show = (preparing) => { if (abort === own) store.set({ preparing }); };
    store.set({ ready: false });
    try {
      await remote.onFrame(source, frame, (path) => api.embed(path, { model }, {
        signal: own.signal,
        onWait: () => show({ what: STAGES.loading, done: 0, of: 0 }),
        onEvent: (event, data) => {
          if (event === 'queued') show({ what: data.ahead > 0 ? `Waiting: ${data.ahead} before you` : 'Waiting', done: 0, of: 0 });
          if (event === 'stage') show({ what: STAGES[data.stage] ?? 'Looking at the picture', done: data.done ?? 0, of: data.of ?? 0 });
        },
      }));
      if (abort === own) store.set({ ready: true });
    } catch (error) {
      // a click asks for the same again, and its failure is shown where it belongs
      if (!isAbort(error) && abort === own) live.say(`The picture is not ready for clicks yet: ${error.message}`, 'note');
    } finally {
      show(null);
    }
  };
  let resting = 0;
  store.subscribe(whenChanged(
    () => [store.doc.source, store.ui.frame, store.ui.chosenModels?.click],
    () => {
      clearTimeout(resting);
      const { doc, ui } = store;
      // frames that are only passed by are not looked at
      const wait = doc.source?.video && ui.frame > 0 ? 350 : 0;
      resting = setTimeout(() => { if (!store.ui.playing) begin(store.doc.source, store.ui.frame, store.ui.chosenModels?.click); }, wait);
    },
  ));
}
