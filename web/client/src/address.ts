/** Where the server's doors are. A path before them, as behind a proxy, is kept. */
export class Address {
  readonly #base: URL;

  /** Throws a TypeError that says what is wrong with `url`. */
  constructor(url: string | URL | undefined) {
    const page = (globalThis as { location?: Location }).location;
    if (url === undefined && page === undefined) throw new TypeError('url: there is no page to take it from, so it must be given');
    try {
      this.#base = new URL(String(url ?? page!.origin), page?.href);
    } catch {
      throw new TypeError('url: must be the address of the server, such as https://sensors.example.com');
    }
    const scheme = /^(?:http|ws)(s?):$/.exec(this.#base.protocol);
    if (!scheme) throw new TypeError(`url: ${this.#base.protocol} is no scheme to reach a server by; use https: or http:`);
    // Somebody gave the url of a ticket's reply; it would be used once and then never work again.
    if (this.#base.search !== '') throw new TypeError('url: only the address of the server, without a query; tickets come from the ticket option');
    this.#base.protocol = `http${scheme[1]}:`;
    this.#base.hash = '';
    if (!this.#base.pathname.endsWith('/')) this.#base.pathname += '/';
  }

  get tickets(): string {
    return new URL('api/v1/tickets', this.#base).href;
  }

  socket(query: Record<string, string>): string {
    const url = new URL('ws', this.#base);
    url.protocol = this.#base.protocol === 'https:' ? 'wss:' : 'ws:';
    url.search = new URLSearchParams(query).toString();
    return url.href;
  }
}
