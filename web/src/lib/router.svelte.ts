/** The address bar as state. Links are plain `<a href>`; one listener turns same-origin clicks into navigation. */
class Router {
  path = $state(location.pathname);
  /** What follows the `#`: where letters put their codes, which browsers tell no server. */
  fragment = $state(location.hash.slice(1));

  constructor() {
    addEventListener('popstate', () => this.#read());
    document.addEventListener('click', (event) => {
      const link = (event.target as Element | null)?.closest?.('a');
      const plain = event.button === 0 && !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey);
      if (!link || !plain || event.defaultPrevented || link.target || link.origin !== location.origin) return;
      if (link.hasAttribute('data-external')) return;
      event.preventDefault();
      this.go(link.pathname + link.search);
    });
  }

  go(path: string): void {
    if (path !== location.pathname + location.search) history.pushState(null, '', path);
    this.#read();
    scrollTo(0, 0);
    // As after a page load, the keyboard and the screen reader start at the content.
    document.getElementById('main')?.focus({ preventScroll: true });
  }

  #read(): void {
    this.path = location.pathname;
    this.fragment = location.hash.slice(1);
  }
}

export const router = new Router();
