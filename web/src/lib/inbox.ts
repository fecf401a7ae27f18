/**
 * Collects messages and hands them over together, once per animation frame: thousands of frames a second must
 * not mean thousands of redraws. A hidden page gets no animation frames, so there a timer takes over, and a full
 * inbox is handed over at once whatever the frame rate: the bound.
 */
export class Inbox<T> {
  #items: T[] = [];
  #scheduled = false;

  constructor(
    private readonly deliver: (items: T[]) => void,
    private readonly limit = 20_000,
    private readonly hiddenMs = 500,
  ) {}

  put(item: T): void {
    this.#items.push(item);
    if (this.#items.length >= this.limit) this.flush();
    else if (!this.#scheduled) {
      this.#scheduled = true;
      if (document.visibilityState === 'hidden') setTimeout(() => this.flush(), this.hiddenMs);
      else {
        // The timer also covers a page hidden between now and the frame that then never comes.
        const timer = setTimeout(() => this.flush(), this.hiddenMs);
        requestAnimationFrame(() => {
          clearTimeout(timer);
          this.flush();
        });
      }
    }
  }

  flush(): void {
    this.#scheduled = false;
    const items = this.#items;
    if (items.length === 0) return;
    this.#items = [];
    this.deliver(items);
  }
}
