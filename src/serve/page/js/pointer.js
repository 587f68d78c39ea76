// Mouse, pen and fingers: taps, strokes, pans and pinches.

/** A press that moves farther than this, in CSS pixels, is no tap. */
const SLOP = { mouse: 5, pen: 8, touch: 12 };
const LONG_PRESS_MS = 500;

export function followPointers(app, canvas) {
  const { view, store, tools } = app;
  const fingers = new Map();
  let press = null;
  let pinch = null;

  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    const dpr = canvas.width / box.width;
    return [(event.clientX - box.left) * dpr, (event.clientY - box.top) * dpr];
  };
  const labelOf = (event) => (event.button === 2 || event.altKey ? 1 - store.ui.label : store.ui.label);

  canvas.addEventListener('pointerdown', (event) => {
    if (!store.doc.source) return;
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    app.live.calm();
    store.set({ cursor: null });
    const at = place(event);
    fingers.set(event.pointerId, at);
    if (fingers.size === 2) {
      endPress();
      tools.cancel();
      pinch = spread();
      return;
    }
    if (fingers.size > 2) return;
    const pans = event.button === 1 || tools.tool === 'hand' || store.ui.panKey;
    press = { id: event.pointerId, at, last: at, type: event.pointerType, label: labelOf(event), moved: false, pans, timer: 0 };
    if (event.pointerType === 'touch' && !pans && !tools.draws) {
      // a finger has no right button: resting on a place leaves it out
      press.timer = setTimeout(() => {
        if (!press || press.moved) return;
        navigator.vibrate?.(15);
        press.moved = press.done = true;
        tools.tap(...view.toPicture(...press.at), 1 - store.ui.label);
      }, LONG_PRESS_MS);
    }
    if (!pans && tools.draws) tools.begin(...view.toPicture(...at), press.label);
  });

  canvas.addEventListener('pointermove', (event) => {
    if (!store.doc.source) return;
    const at = place(event);
    if (fingers.has(event.pointerId)) fingers.set(event.pointerId, at);
    if (pinch && fingers.size >= 2) {
      const now = spread();
      view.pan(now.x - pinch.x, now.y - pinch.y);
      view.zoom(now.distance / pinch.distance, now.x, now.y);
      pinch = now;
      return;
    }
    if (!press) {
      if (event.pointerType !== 'touch') tools.point(...view.toPicture(...at));
      app.loupe.at(...view.toPicture(...at));
      return;
    }
    if (press.id !== event.pointerId || press.done) return;
    const dpr = devicePixelRatio || 1;
    const far = Math.hypot(at[0] - press.at[0], at[1] - press.at[1]) > (SLOP[press.type] ?? 8) * dpr;
    if (far && !press.moved) {
      press.moved = true;
      clearTimeout(press.timer);
      tools.point(null, null);
    }
    if (tools.drag && !press.pans && tools.draws) {
      for (const step of event.getCoalescedEvents?.() ?? [event]) tools.move(...view.toPicture(...place(step)));
    } else if (press.moved) {
      view.pan(at[0] - press.last[0], at[1] - press.last[1]);
    }
    press.last = at;
  });

  const release = (event, happened) => {
    const at = fingers.get(event.pointerId);
    fingers.delete(event.pointerId);
    if (fingers.size < 2) pinch = null;
    if (!press || press.id !== event.pointerId) return;
    const { moved, pans, label } = press;
    endPress();
    if (!happened) {
      tools.cancel();
    } else if (!pans && tools.draws && tools.drag) {
      tools.end();
    } else if (!moved && !pans && at) {
      tools.tap(...view.toPicture(...at), label);
    }
  };
  canvas.addEventListener('pointerup', (event) => release(event, true));
  canvas.addEventListener('pointercancel', (event) => release(event, false));
  canvas.addEventListener('pointerleave', () => {
    if (!press) tools.point(null, null);
    app.loupe.at(null, null);
  });
  canvas.addEventListener('contextmenu', (event) => event.preventDefault());

  canvas.addEventListener('wheel', (event) => {
    if (!store.doc.source) return;
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? canvas.clientHeight : 1;
    const dpr = devicePixelRatio || 1;
    if (event.shiftKey && !event.ctrlKey) {
      view.pan(-(event.deltaX + event.deltaY) * unit * dpr, 0);
      return;
    }
    // pinching on a touchpad comes as a wheel with Ctrl, in finer steps
    const delta = Math.max(-300, Math.min(300, event.deltaY * unit)) * (event.ctrlKey ? 0.01 : 0.0022);
    view.zoom(Math.exp(-delta), ...place(event));
  }, { passive: false });

  // pinching on a touchpad in Safari
  let scale = 1;
  canvas.addEventListener('gesturestart', (event) => {
    event.preventDefault();
    scale = 1;
  });
  canvas.addEventListener('gesturechange', (event) => {
    event.preventDefault();
    if (store.doc.source && fingers.size === 0) view.zoom(event.scale / scale, ...place(event));
    scale = event.scale;
  });

  function endPress() {
    clearTimeout(press?.timer);
    press = null;
  }

  function spread() {
    const [a, b] = [...fingers.values()];
    return { x: (a[0] + b[0]) / 2, y: (a[1] + b[1]) / 2, distance: Math.max(1, Math.hypot(a[0] - b[0], a[1] - b[1])) };
  }
}
