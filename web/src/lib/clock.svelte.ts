import { skew } from './skew';

/** A jump this long between two ticks means the machine slept; hidden pages tick once a minute at worst. */
const sleptMs = 90_000;

/** The server's time, ticking once a second, for "12 s ago" and for states that change by the clock alone. */
class Clock {
  now = $state(Date.now());
  readonly #wakers = new Set<() => void>();

  constructor() {
    let last = Date.now();
    setInterval(() => {
      const local = Date.now();
      if (local - last > sleptMs) this.#wakers.forEach((wake) => wake());
      last = local;
      this.now = local + skew.offset;
    }, 1000);
  }

  /** Server time at this very moment, for code outside the page's rhythm. */
  exact(): number {
    return Date.now() + skew.offset;
  }

  onWake(wake: () => void): void {
    this.#wakers.add(wake);
  }
}

export const clock = new Clock();
