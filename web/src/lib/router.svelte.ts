/** The address bar as state. Links are plain `<a href>`; one listener turns same-origin clicks into navigation. */
class Router {
  path = $state(location.pathname);

  constructor() {
    addEventListener('popstate', () => (this.path = location.pathname));
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
    this.path = location.pathname;
    scrollTo(0, 0);
    // As after a page load, the keyboard and the screen reader start at the content.
    document.getElementById('main')?.focus({ preventScroll: true });
  }
}

export const router = new Router();
