// Elements, and lists of them that keep their identity: focus and selection stay where they are while figures change.

/**
 * An element.
 * @param {string} name of the tag
 * @param {object} [attributes] `on…` are listeners, `class`, `text`, booleans are present or absent, the rest are attributes
 */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else if (key === 'text') element.textContent = value;
    else set(element, key, value);
  }
  element.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false));
  return element;
}

/** Sets an attribute if it is another one; `false` and absent values take it away. */
export function set(element, key, value) {
  if (value === false || value === null || value === undefined) element.removeAttribute(key);
  else if (element.getAttribute(key) !== String(value)) element.setAttribute(key, value === true ? '' : String(value));
}

/** Changes a text only if it is another one: a screen reader hears each change of a live region. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A picture of `icons.js`, a path in a box of 24; what it means, the words beside it say. */
export function icon(path) {
  const space = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(space, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const shape = document.createElementNS(space, 'path');
  shape.setAttribute('d', path);
  svg.append(shape);
  return svg;
}

/**
 * A list whose entries are made once, changed in place, and removed with what they stand for.
 * @param {Element} parent whose children it is
 * @param {(item: any) => string} key what an entry is known by
 * @param {(item: any) => {element: Element, update?: (item: any) => void}} make
 */
export function list(parent, key, make) {
  const entries = new Map();
  return items => {
    const wanted = new Set(items.map(key));
    for (const [name, entry] of entries) {
      if (!wanted.has(name)) {
        entry.element.remove();
        entries.delete(name);
      }
    }
    items.forEach((item, index) => {
      let entry = entries.get(key(item));
      if (!entry) entries.set(key(item), (entry = make(item)));
      entry.update?.(item);
      if (parent.children[index] !== entry.element) parent.insertBefore(entry.element, parent.children[index] ?? null);
    });
  };
}
