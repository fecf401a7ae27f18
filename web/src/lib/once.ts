/**
 * The Idempotency-Key of what a form asks for. The same body again, after a second click or an answer that never came, is the same wish and
 * has the same key; another body is another wish.
 */
export class Once {
  #body = '';
  #key = '';

  keyOf(wish: unknown): string {
    const body = JSON.stringify(wish);
    if (body !== this.#body || this.#key === '') {
      this.#body = body;
      // Not randomUUID: a page without TLS has none.
      this.#key = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
    }
    return this.#key;
  }

  /** It was granted: to ask for the same again is to want another. */
  done(): void {
    this.#key = '';
  }
}
