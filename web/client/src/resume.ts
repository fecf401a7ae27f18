/** How long the server honours a token after the socket it came by, less the way there. */
const goodForMs = 55_000;

/** The single-use token that opens the next socket without a ticket. */
export class ResumeToken {
  #token: string | null = null;
  #lostAt: number | null = null;

  set(token: string): void {
    this.#token = token;
    this.#lostAt = null;
  }

  /** The socket it came by is gone; from now on it ages. */
  lost(): void {
    this.#lostAt ??= Date.now();
  }

  forget(): void {
    this.#token = null;
  }

  /** The token while it is good. It stays until forgotten: a server that was not reached has not spent it. */
  get usable(): string | null {
    const old = this.#lostAt !== null && Date.now() - this.#lostAt > goodForMs;
    return old ? null : this.#token;
  }
}
