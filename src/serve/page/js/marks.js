// Prompts as they are drawn over the picture. They differ in shape, too, for those who cannot tell green from red.

const GREEN = '#1d9e52';
const RED = '#d92f3a';

/** Clicks and the box of an object on a frame. */
export function drawPrompts(context, view, prompts, dpr) {
  if (prompts.box) drawBox(context, view, prompts.box, dpr, []);
  for (const [x, y, label] of prompts.points) drawPoint(context, view, x, y, label, dpr, false);
  for (const [x, y, label] of prompts.refine) drawPoint(context, view, x, y, label, dpr, true);
}

/** A disc with a plus or a minus; corrections are diamonds. */
function drawPoint(context, view, x, y, label, dpr, correction) {
  const [sx, sy] = view.toScreen(x, y);
  const r = 8 * dpr;
  context.save();
  context.translate(sx, sy);
  if (correction) context.rotate(Math.PI / 4);
  context.beginPath();
  if (correction) context.rect(-r * 0.85, -r * 0.85, r * 1.7, r * 1.7);
  else context.arc(0, 0, r, 0, 2 * Math.PI);
  context.shadowColor = 'rgb(0 0 0 / 0.5)';
  context.shadowBlur = 3 * dpr;
  context.fillStyle = label ? GREEN : RED;
  context.fill();
  context.shadowBlur = 0;
  context.lineWidth = 2 * dpr;
  context.strokeStyle = '#ffffff';
  context.stroke();
  if (correction) context.rotate(-Math.PI / 4);
  context.beginPath();
  context.moveTo(-r / 2, 0);
  context.lineTo(r / 2, 0);
  if (label) {
    context.moveTo(0, -r / 2);
    context.lineTo(0, r / 2);
  }
  context.stroke();
  context.restore();
}

function drawBox(context, view, [x0, y0, x1, y1], dpr, dash) {
  const [sx, sy] = view.toScreen(x0, y0);
  const [ex, ey] = view.toScreen(x1, y1);
  context.save();
  context.setLineDash(dash);
  for (const [style, width] of [['rgb(0 0 0 / 0.6)', 4], ['#ffd23f', 2]]) {
    context.strokeStyle = style;
    context.lineWidth = width * dpr;
    context.strokeRect(sx, sy, ex - sx, ey - sy);
  }
  context.restore();
}

/** A box or a stroke that is being drawn. */
export function drawDrag(context, view, drag, dpr) {
  if (!drag) return;
  if (drag.kind === 'box') drawBox(context, view, drag.box, dpr, [6 * dpr, 4 * dpr]);
  if (drag.kind === 'brush') {
    const [x, y] = view.toScreen(0, 0);
    const { width, height } = view.picture;
    context.save();
    context.globalAlpha = 0.5;
    context.imageSmoothingEnabled = true;
    context.drawImage(drag.canvas, x, y, width * view.scale, height * view.scale);
    context.restore();
  }
  if (drag.at) {
    const [sx, sy] = view.toScreen(...drag.at);
    context.save();
    for (const [style, width] of [['rgb(0 0 0 / 0.6)', 3], ['#ffffff', 1.5]]) {
      context.beginPath();
      context.arc(sx, sy, drag.radius * view.scale, 0, 2 * Math.PI);
      context.strokeStyle = style;
      context.lineWidth = width * dpr;
      context.stroke();
    }
    context.restore();
  }
}

/** Where the keyboard points. */
export function drawCrosshair(context, view, { x, y }, dpr) {
  const [sx, sy] = view.toScreen(x, y);
  const [gap, arm] = [5 * dpr, 16 * dpr];
  context.save();
  for (const [style, width] of [['rgb(0 0 0 / 0.75)', 4], ['#ffffff', 2]]) {
    context.strokeStyle = style;
    context.lineWidth = width * dpr;
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(sx + dx * gap, sy + dy * gap);
      context.lineTo(sx + dx * arm, sy + dy * arm);
    }
    context.stroke();
  }
  context.restore();
}
