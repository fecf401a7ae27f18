export type Choice = 'auto' | 'light' | 'dark';

const key = 'sensorcast.theme';
const system = matchMedia('(prefers-color-scheme: dark)');

/** The chosen theme, resolved onto `<html data-theme>` so that the style sheet states its colours once per theme. */
class Theme {
  choice = $state<Choice>(stored());
  shown = $state<'light' | 'dark'>('light');

  constructor() {
    system.addEventListener('change', () => this.#show());
    this.#show();
  }

  cycle(): void {
    const order: Choice[] = ['auto', 'light', 'dark'];
    this.choice = order[(order.indexOf(this.choice) + 1) % order.length]!;
    if (this.choice === 'auto') localStorage.removeItem(key);
    else localStorage.setItem(key, this.choice);
    this.#show();
  }

  #show(): void {
    this.shown = this.choice === 'auto' ? (system.matches ? 'dark' : 'light') : this.choice;
    document.documentElement.dataset['theme'] = this.shown;
  }
}

function stored(): Choice {
  const value = localStorage.getItem(key);
  return value === 'light' || value === 'dark' ? value : 'auto';
}

export const theme = new Theme();
