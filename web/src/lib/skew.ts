/**
 * How far the server's clock is ahead of the browser's. States are computed from server times, so a laptop
 * whose clock is wrong must not paint every sensor silent.
 *
 * A live frame's `received_at` cannot lie in the server's future, so (received_at − arrival here) is a lower
 * bound of the offset; the best recent bound is the one that travelled fastest. The Date header, good to a
 * second only, serves until the first frame.
 */
export class Skew {
  #coarse: number | undefined;
  #best = -Infinity;
  #previous = -Infinity;
  #since = 0;

  /** Bounds older than two windows are dropped, so that a corrected clock is believed. */
  constructor(private readonly windowMs = 300_000) {}

  date(serverMs: number, sentMs: number, gotMs: number): void {
    this.#coarse = serverMs + 500 - (sentMs + gotMs) / 2;
  }

  frame(receivedAtMs: number, arrivalMs: number): void {
    if (arrivalMs - this.#since > this.windowMs || arrivalMs < this.#since) {
      this.#previous = this.#best;
      this.#best = -Infinity;
      this.#since = arrivalMs;
    }
    this.#best = Math.max(this.#best, receivedAtMs - arrivalMs);
  }

  /** Milliseconds to add to the browser's clock. */
  get offset(): number {
    const bound = Math.max(this.#best, this.#previous);
    if (this.#coarse === undefined) return Number.isFinite(bound) ? bound : 0;
    // A replayed frame gives a bound hours too low; the coarse value is never wrong by more than about a second.
    return Math.min(Math.max(bound, this.#coarse - 1000), this.#coarse + 1000);
  }
}

export const skew = new Skew();
