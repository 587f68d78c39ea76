// Making elements, in one line each.

const SVG = 'http://www.w3.org/2000/svg';

/** An element. `props`: `class`, `on…` listeners, `data-…`, `aria-…` and attributes; null and false leave one out. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'value' || name === 'checked' || name === 'selected') element[name] = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A drawing of the sprite; it says nothing to screen readers. */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `icons.svg#${name}`);
  svg.append(use);
  return svg;
}

export const byId = (id) => document.getElementById(id);

/** Puts `children` in place of what `parent` has; the element with the focus keeps it, by its `data-key`. */
export function fill(parent, ...children) {
  const focused = parent.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  parent.replaceChildren(...children.flat().filter(Boolean));
  if (focused) parent.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

/** Runs `render` when what `inputs()` lists is not what it was. */
export function whenChanged(inputs, render) {
  let before = null;
  return () => {
    const now = inputs();
    if (before && now.length === before.length && now.every((value, i) => Object.is(value, before[i]))) return;
    before = now;
    render();
  };
}

/** Hands a file to the person. */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = h('a', { href: url, download: name, hidden: true });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

export const percent = (share) => (share > 0 && share < 5e-5 ? 'under 0.01\u00a0%' : `${(100 * share).toFixed(share < 0.1 ? 2 : 1)}\u00a0%`);
