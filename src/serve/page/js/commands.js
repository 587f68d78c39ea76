// What buttons and keys do, so that both do the same.

import { changePrompts, currentObject, promptsOf } from './model.js';
import { TOOLS } from './tools.js';

export function createCommands(app) {
  const { store, live } = app;
  const frame = () => store.ui.frame;
  const current = () => currentObject(store.doc);
  const shown = () => current() && app.results.shown(current(), frame());

  const commands = {
    undo() {
      const label = store.undo();
      live.say(label ? `Undone: ${label}` : 'There is nothing to undo.');
    },
    redo() {
      const label = store.redo();
      live.say(label ? `Done again: ${label}` : 'There is nothing to do again.');
    },
    open: () => app.chooseFiles(),
    help: () => app.help(),
    download: () => (shown() ? app.download() : live.say('There is no mask to download yet: click on what you want.')),

    tool(name) {
      if (name === 'correct') {
        if (!store.ui.chosenModels?.correct) {
          live.say('Correct needs a Pi-SAM model: start the server with --model pi-sam-b and its weights.', 'note');
          return;
        }
        if (!shown()) {
          live.say('There is no mask to correct yet: first click on what you want, or draw a box around it.');
          return;
        }
      }
      app.tools.cancel();
      if (store.ui.everything && name !== 'hand') app.everything.close();
      store.set({ tool: name, compare: null });
      live.whisper(`${TOOLS[name].label}. ${TOOLS[name].hint}`);
    },

    /** 1: what is clicked belongs to the object, 0: it does not. */
    label(label) {
      store.set({ label });
      live.whisper(label ? 'Clicks take more.' : 'Clicks leave out.');
    },

    /** Another candidate of the current object; false where there is no such. */
    candidate(n) {
      const object = current();
      const clicks = object && app.results.stages(object, frame())[0];
      if (!(clicks?.answer?.masks.length > n)) return false;
      if (clicks.answer.masks.length < 2) return false;
      store.change(`candidate ${n + 1}`, (d) => changePrompts(d, frame(), { chosen: n, refine: [] }));
      live.whisper(`Candidate ${n + 1}: ${app.describe(clicks.answer.masks[n])}`);
      return true;
    },

    /** The current mask through the model for thin parts, or back. */
    exact() {
      const object = current();
      if (!store.ui.chosenModels?.exact) {
        live.say('Making it exact needs sam+isnet or dis-sam: start the server with --model sam+isnet.', 'note');
      } else if (!object || !shown()) {
        live.say('There is no mask to make exact yet: first click on what you want.');
      } else {
        const { exact } = promptsOf(object, frame());
        const tracked = store.doc.tracks[frame()]?.[object.id];
        const start = tracked && !object.frames[frame()] ? { fixed: { masks: [tracked], notes: [] } } : {};
        store.change(exact ? 'back to the coarse mask' : 'make it exact', (d) => changePrompts(d, frame(), { ...start, exact: !exact }));
        live.whisper(exact ? 'Coarse mask.' : 'Making it exact.');
      }
    },

    /** What the picture is of, without a click. */
    subject() {
      store.change('main subject', (d) => changePrompts(d, frame(), { subject: true, points: [], box: null, brush: null, fixed: null, refine: [], exact: false, chosen: null }));
    },

    everything() {
      if (store.ui.everything) app.everything.close();
      else app.everything.show();
    },

    pixels() {
      const { cursor } = store.ui;
      const dpr = devicePixelRatio || 1;
      const { view } = app;
      const [x, y] = cursor ? [cursor.x, cursor.y] : view.toPicture(view.size.width / 2, view.size.height / 2);
      view.centre(x, y, view.scale < dpr ? dpr : 8 * dpr);
    },

    /** Another frame of the video. */
    frame(n) {
      const { source } = store.doc;
      if (!source?.video) return;
      const to = Math.min(source.frames - 1, Math.max(0, n));
      if (to !== frame()) store.set({ frame: to, hover: null, everything: null, compare: null });
    },

    play() {
      if (store.doc.source?.video) store.set({ playing: !store.ui.playing, everything: null, compare: null });
    },

    clear() {
      const object = current();
      if (object) store.change('start over', (d) => ({ ...d, objects: d.objects.map((o) => (o.id === object.id ? { ...o, frames: {} } : o)), tracks: without(d.tracks, object.id) }));
    },
  };
  return commands;
}

function without(tracks, id) {
  return Object.fromEntries(Object.entries(tracks).map(([n, { [id]: _, ...others }]) => [n, others]));
}
