import { explain, type Problem } from './problem';

export interface Page<T> {
  items: T[];
  next: string | null;
}

/** A list that the server gives out in pages, as far as it was asked for. */
export class Pages<T> {
  items = $state.raw<T[]>([]);
  /** False until the first page is here: neither "none" nor "all" yet. */
  loaded = $state(false);
  busy = $state(false);
  problem = $state.raw<Problem | null>(null);
  #next = $state<string | null>(null);
  #asked = 0;

  constructor(private readonly fetch: (cursor?: string) => Promise<Page<T>>) {}

  get more(): boolean {
    return this.#next !== null;
  }

  /** From the start. What is shown stays until the answer is here. */
  load(): Promise<void> {
    return this.#ask();
  }

  loadMore(): Promise<void> {
    return this.#ask(this.#next ?? undefined);
  }

  /** Of several questions the last one counts: a filter may change faster than the server answers. */
  async #ask(cursor?: string): Promise<void> {
    const mine = ++this.#asked;
    this.busy = true;
    this.problem = null;
    try {
      const page = await this.fetch(cursor);
      if (mine !== this.#asked) return;
      this.items = cursor === undefined ? page.items : [...this.items, ...page.items];
      this.#next = page.next;
      this.loaded = true;
    } catch (failure) {
      if (mine === this.#asked) this.problem = explain(failure);
    } finally {
      if (mine === this.#asked) this.busy = false;
    }
  }
}
