// Puts the parts together.

import { Api } from './api.js';
import { createCommands } from './commands.js';
import { byId, percent, whenChanged } from './dom.js';
import { Everything } from './everything.js';
import { Hover } from './hover.js';
import { followKeys } from './keys.js';
import { Layers } from './layer.js';
import { Live } from './live.js';
import { Loupe } from './loupe.js';
import { EMPTY } from './model.js';
import { followDrops, Opener } from './open.js';
import { bars } from './panels/bar.js';
import { comparePanel } from './panels/compare.js';
import { downloadDialog, helpDialog, tokenDialog } from './panels/dialogs.js';
import { lookPanel } from './panels/look.js';
import { measurePanel } from './panels/measure.js';
import { modelMenu } from './panels/models.js';
import { objectPanel } from './panels/object.js';
import { objectsPanel, share } from './panels/objects.js';
import { Pictures } from './picture.js';
import { followPointers } from './pointer.js';
import { followFrames } from './prepare.js';
import { Tracker } from './propagate.js';
import { Remote } from './remote.js';
import { Results } from './results.js';
import { Stage } from './stage.js';
import { startScreen } from './start.js';
import { createStore } from './store.js';
import { Timeline } from './timeline.js';
import { keepToken, takeToken } from './token.js';
import { Tools } from './tools.js';
import { View } from './view.js';

const canvas = byId('stage');
const store = createStore(EMPTY, {
  tool: 'click', label: 1, brush: 24, frame: 0, cursor: null, hover: null, preview: matchMedia('(hover: hover)').matches, singleKeys: true,
  everything: null, compare: null, loupe: false, playing: false, panel: false,
  ready: false, job: null, preparing: null, info: null, models: [], chosenModels: null,
});

const app = { store };
app.live = new Live(byId('live'), byId('toasts'));
app.api = new Api(takeToken(), tokenDialog(keepToken));
app.remote = new Remote(app.api);
app.results = new Results(store, app.api, app.remote);
app.layers = new Layers();
app.view = new View({ width: 1, height: 1 }, () => {
  app.stage?.redraw();
  app.showZoom?.();
});
app.pictures = new Pictures(app.api, app.remote, {
  changed: () => store.touch(),
  failed: (error) => app.live.say(`The picture could not be shown: ${error.message}`, 'error'),
});
app.hover = new Hover(app);
app.everything = new Everything(app);
app.tools = new Tools(app);
app.stage = new Stage(app, canvas);
app.loupe = new Loupe(app, byId('loupe'));
app.opener = new Opener(app);
app.tracker = new Tracker(app);
app.commands = createCommands(app);
/** What a mask covers, in words. */
app.describe = (record) => {
  const { source } = store.doc;
  const [x, y, width, height] = record.bbox;
  if (record.area === 0) return 'nothing';
  const [h0, w0] = record.rle.size;
  const across = third((x + width / 2) / w0, ['left', '', 'right']);
  const down = third((y + height / 2) / h0, ['top', '', 'bottom']);
  const where = [down, across].filter(Boolean).join(' ') || 'middle';
  return `${percent(share(record, source))} of the picture, ${where}`;
};
const third = (at, names) => names[Math.min(2, Math.floor(at * 3))];

const start = startScreen(app);
app.chooseFiles = start.choose;
app.download = downloadDialog(app);
app.help = helpDialog(app);
app.showZoom = bars(app);
objectsPanel(app);
objectPanel(app);
lookPanel(app);
comparePanel(app);
measurePanel(app);
modelMenu(app);
app.timeline = new Timeline(app);
followPointers(app, canvas);
followKeys(app, canvas);
followDrops(app.opener, byId('drop-hint'));
followFrames(app);
store.subscribe(whenChanged(() => [store.doc.source], () => {
  const { source } = store.doc;
  if (!source) return;
  if (store.ui.frame >= source.frames) store.set({ frame: 0 });
  app.view.setPicture(source);
  canvas.setAttribute('aria-label', `${source.name}, ${source.width} by ${source.height} pixels`);
  canvas.focus({ preventScroll: true });
}));
addEventListener('beforeunload', (event) => {
  if (store.doc.objects.some((object) => Object.keys(object.frames).length > 0)) event.preventDefault();
});
store.touch();

try {
  const [info, models] = await Promise.all([app.api.info(), app.api.models()]);
  store.set({ info, models: models.models });
  app.useModels(models);
  start.samples();
} catch (error) {
  app.live.say(error.message, 'error');
}
document.documentElement.dataset.ready = 'true';
