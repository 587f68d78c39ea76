// Which model does what: the server says what each can, the person may choose where there are several.

import { byId, fill, h } from '../dom.js';

/** Jobs, and what a model must be able to for each. */
const JOBS = { click: 'points', everything: 'everything', exact: 'exact', correct: 'refine', subject: 'subject', video: 'video', text: 'text' };
const LABELS = { click: 'Clicks', exact: 'Exact', correct: 'Correct', subject: 'Main subject', video: 'Video' };

export function modelMenu(app) {
  const { store } = app;
  const able = (models, job) => models.filter(({ tasks, state }) => tasks.includes(JOBS[job]) && state !== 'failed');

  /** Takes what `/v1/models` answered. */
  app.useModels = ({ models, defaults }) => {
    const chosen = {};
    for (const job of Object.keys(JOBS)) {
      const fit = able(models, job);
      chosen[job] = (fit.find(({ name }) => name === defaults?.[job]) ?? fit[0])?.name ?? null;
    }
    store.set({ chosenModels: chosen });
    show(models);
    if (!chosen.click) app.live.say('The server has no model for clicks: start it with --model mobile-sam.', 'error');
  };

  function show(models) {
    const rows = Object.keys(LABELS).filter((job) => able(models, job).length > 0);
    fill(byId('models'), rows.map((job) => {
      const id = `model-${job}`;
      return h('div', { class: 'row' },
        h('label', { for: id }, LABELS[job]),
        h('select', { id, onchange: (event) => choose(job, event.target.value) },
          able(models, job).map(({ name }) => h('option', { value: name, selected: store.ui.chosenModels[job] === name }, name))));
    }));
  }

  function choose(job, name) {
    const chosen = { ...store.ui.chosenModels, [job]: name };
    if (job === 'click') {
      const { models } = store.ui;
      if (models.find((model) => model.name === name)?.tasks.includes('everything')) chosen.everything = name;
    }
    store.set({ chosenModels: chosen });
  }
}
