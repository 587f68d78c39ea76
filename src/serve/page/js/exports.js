// From what is shown to a file.

import { save } from './dom.js';
import { covering } from './stage.js';

export const FORMATS = {
  cutout: { label: 'Cut-out', file: 'cutout.png', about: 'the object alone, PNG with transparency' },
  mask: { label: 'Mask', file: 'mask.png', about: 'grey PNG, white inside' },
  coco: { label: 'COCO RLE', file: 'coco.json', about: 'run lengths for programs, JSON' },
  polygons: { label: 'Polygons', file: 'polygons.json', about: 'outlines, JSON in COCO’s form' },
  labels: { label: 'Labels', file: 'labels.png', about: 'indexed PNG, a number an object' },
};

export const VIDEO_FORMATS = {
  davis: { label: 'DAVIS PNGs', file: 'davis.zip', about: 'an indexed PNG a frame, in a ZIP' },
  overlay: { label: 'Overlay GIF', file: 'overlay.gif', about: 'the video with its masks, to show around' },
  rle: { label: 'RLE', file: 'rle.zip', about: 'run lengths a frame, JSON in a ZIP' },
};

/** Makes the file of the frame that is shown, and hands it over. `options` are those of the dialog. */
export async function exportFrame(app, { format, all, soft, freed, crop, background }) {
  const { store, results, remote, api } = app;
  const { doc, ui } = store;
  const body = { format };
  if (format === 'mask' || format === 'cutout') body.edges = soft ? 'soft' : 'hard';
  if (format === 'cutout') Object.assign(body, { colours: freed ? 'freed' : 'photo', crop });
  const behind = format === 'cutout' && background && doc.look.background !== 'checker';
  if (behind && doc.look.background === 'colour') body.background = doc.look.colour;
  let blob = await remote.onFrame(doc.source, ui.frame, async (path) => {
    // had the picture to be sent again, its masks are made again first
    await results.settled();
    const objects = doc.objects
      .filter((object) => (all ? object.visible : object.id === doc.current))
      .map((object) => ({ name: object.name, record: results.shown(object, ui.frame)?.record }))
      .filter(({ record }) => record);
    if (objects.length === 0) throw new Error('there is no mask yet');
    return api.exportFile(path, { ...body, objects: objects.map(({ name, record }) => ({ name, mask: results.reference(record) })) });
  });
  if (behind && doc.look.background === 'picture' && doc.look.picture) blob = await over(doc.look.picture, blob);
  const number = doc.source.video ? `.${String(ui.frame).padStart(5, '0')}` : '';
  save(blob, `${stem(doc.source.name)}${number}.${FORMATS[format].file}`);
}

/** The same for a whole video. */
export async function exportVideo(app, { format }) {
  const { store, remote, api } = app;
  const { doc } = store;
  const masks = {};
  for (let n = 0; n < doc.source.frames; n++) {
    for (const object of doc.objects) {
      const record = app.results.shown(object, n)?.record;
      if (record && object.visible) (masks[n] ??= {})[object.id] = record.rle;
    }
  }
  if (Object.keys(masks).length === 0) throw new Error('there are no masks yet');
  const names = Object.fromEntries(doc.objects.map((object) => [object.id, object.name]));
  const body = { format, masks, names };
  const blob = await remote.onWhole(doc.source, (path) => api.exportFile(path, body));
  save(blob, `${stem(doc.source.name)}.${VIDEO_FORMATS[format].file}`);
}

/** A cut-out on a picture of the person's own. */
async function over(picture, cutout) {
  const [back, front] = await Promise.all([createImageBitmap(picture), createImageBitmap(cutout)]);
  const canvas = new OffscreenCanvas(front.width, front.height);
  const context = canvas.getContext('2d');
  context.drawImage(back, ...covering(back, front.width, front.height), 0, 0, front.width, front.height);
  context.drawImage(front, 0, 0);
  return canvas.convertToBlob({ type: 'image/png' });
}

const stem = (name) => name.replace(/\.[^.]{1,5}$/, '') || 'picture';
