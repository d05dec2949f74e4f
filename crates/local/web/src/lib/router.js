// The address after `#` names the view: `#/streams/front-door`. One view at a time; it is closed when another opens.

/** @returns {{name: string, rest: string[], query: URLSearchParams}} */
export function place(hash = location.hash) {
  const [path, query = ''] = hash.replace(/^#\/?/, '').split('?');
  const [name = '', ...rest] = path.split('/').filter(Boolean).map(decodeURIComponent);
  return { name, rest, query: new URLSearchParams(query) };
}

/** The address of a view. */
export function to(name, ...rest) {
  return `#/${[name, ...rest].map(encodeURIComponent).join('/')}`;
}

/**
 * @param {Element} outlet where views are shown
 * @param {(place: object) => {title: string, element: Element, update?: (state: object) => void, close?: () => void}} open
 */
export class Router {
  constructor(outlet, open) {
    this.outlet = outlet;
    this.open = open;
    this.view = null;
    window.addEventListener('hashchange', () => this.go(true));
  }

  go(moved = false) {
    this.view?.close?.();
    this.view = this.open(place());
    document.title = `${this.view.title} · kvs-local`;
    this.outlet.replaceChildren(this.view.element);
    window.scrollTo(0, 0);
    // Who follows a link with the keyboard, or listens, is at the beginning of what it shows.
    if (moved) this.view.element.querySelector('h1')?.focus();
    this.changed?.();
  }
}
