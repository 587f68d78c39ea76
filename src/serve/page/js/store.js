// One place for all that the page knows. `doc` is what a person has made, and can be undone; `ui` is how they look at it,
// and cannot. Both are plain objects that are replaced, never changed in place, so that a step of the history costs
// nothing but what differs.

const LONGEST_HISTORY = 300;

/** @returns a store; `listener(what)` of `subscribe` is told once a frame, with the sets of keys that changed. */
export function createStore(doc, ui) {
  const state = { doc, ui };
  const past = [];
  const future = [];
  const listeners = new Set();
  let merging = null;
  let scheduled = false;

  function announce() {
    if (scheduled) return;
    scheduled = true;
    queueMicrotask(() => {
      scheduled = false;
      for (const listener of [...listeners]) listener(state);
    });
  }

  return {
    get doc() { return state.doc; },
    get ui() { return state.ui; },

    /**
     * A step that can be undone. Steps with the same `merge` that follow one another are one step: a slider that is
     * dragged, a name that is typed.
     */
    change(label, make, { merge = null } = {}) {
      const next = make(state.doc);
      if (next === state.doc) return;
      if (merge === null || merge !== merging) {
        past.push({ doc: state.doc, label });
        if (past.length > LONGEST_HISTORY) past.shift();
      }
      merging = merge;
      future.length = 0;
      state.doc = next;
      announce();
    },

    /** How the person looks at it; nothing to undo. */
    set(patch) {
      if (Object.entries(patch).every(([key, value]) => Object.is(state.ui[key], value))) return;
      state.ui = { ...state.ui, ...patch };
      announce();
    },

    /** Takes the last step back; its label, or null where there is none. */
    undo() { return travel(past, future); },
    /** Does the step again that was taken back last. */
    redo() { return travel(future, past); },
    /** What `undo` and `redo` would take: labels, or null. */
    get next() { return { undo: past.at(-1)?.label ?? null, redo: future.at(-1)?.label ?? null }; },

    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    /** Tells everybody although nothing is new here: an answer came in. */
    touch: announce,
  };

  function travel(from, to) {
    const step = from.pop();
    if (!step) return null;
    to.push({ doc: state.doc, label: step.label });
    state.doc = step.doc;
    merging = null;
    announce();
    return step.label;
  }
}
