import { skew } from './skew';

/** The server's time, ticking once a second, for "12 s ago" and for states that change by the clock alone. */
class Clock {
  now = $state(Date.now());

  constructor() {
    setInterval(() => (this.now = this.exact()), 1000);
  }

  /** Server time at this very moment, for code outside the page's rhythm. */
  exact(): number {
    return Date.now() + skew.offset;
  }
}

export const clock = new Clock();
