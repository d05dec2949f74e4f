// Light, dark, or what the system says; kept in this browser.
import { h, icon, set } from './dom.js';
import { moon, sun } from './icons.js';

const KEY = 'kvs-local.theme';
const dark = matchMedia('(prefers-color-scheme: dark)');

function kept() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    // A browser that keeps nothing for pages shows what the system says.
    return null;
  }
}

export function isDark() {
  return document.documentElement.dataset.theme === 'dark';
}

/** A button that switches; `themechange` on the window tells what draws for itself. */
export function themeSwitch() {
  const button = h('button', { class: 'quiet round', type: 'button', id: 'theme' });
  const apply = () => {
    const theme = kept() ?? (dark.matches ? 'dark' : 'light');
    document.documentElement.dataset.theme = theme;
    const other = theme === 'dark' ? 'light' : 'dark';
    set(button, 'aria-label', `Use the ${other} theme`);
    set(button, 'title', `Use the ${other} theme`);
    button.replaceChildren(icon(theme === 'dark' ? sun : moon));
    window.dispatchEvent(new Event('themechange'));
  };
  button.addEventListener('click', () => {
    try {
      localStorage.setItem(KEY, isDark() ? 'light' : 'dark');
    } catch (error) {
      console.warn('the theme is not kept', error);
      return;
    }
    apply();
  });
  dark.addEventListener('change', apply);
  apply();
  return button;
}
