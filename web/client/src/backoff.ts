/**
 * Full-jitter backoff: a random wait under a doubling ceiling. A server that comes back is met by its viewers
 * spread over the whole interval instead of all at once.
 */
export class Backoff {
  #attempt = 0;

  constructor(
    private readonly random: () => number = Math.random,
    private readonly floorMs = 500,
    private readonly capMs = 30_000,
  ) {}

  /** Milliseconds to wait before the next try. */
  next(): number {
    // 2^16 is far beyond the cap already; the bound keeps the power from overflowing after days offline.
    const ceiling = Math.min(this.capMs, this.floorMs * 2 ** Math.min(this.#attempt++, 16) * 2);
    return this.floorMs + this.random() * (ceiling - this.floorMs);
  }

  reset(): void {
    this.#attempt = 0;
  }
}
