/** The server closes a viewer that sends more than ten messages in a second; the rest is for pongs and a jittery line. */
const perWindow = 8;
const windowMs = 1_100;

/** Sends no faster than the server takes. A message is made when its turn comes, so that it may have become needless. */
export class Pacer {
  readonly #waiting: (() => string | undefined)[] = [];
  readonly #sentAt: number[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly send: (text: string) => void) {}

  push(make: () => string | undefined): void {
    this.#waiting.push(make);
    if (this.#timer === undefined) this.#drain();
  }

  /** Forgets what waits: the socket it was for is gone. */
  clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#waiting.length = this.#sentAt.length = 0;
  }

  #drain(): void {
    this.#timer = undefined;
    while (this.#waiting.length > 0) {
      const wait = (this.#sentAt.length < perWindow ? -Infinity : this.#sentAt[0]!) + windowMs - Date.now();
      if (wait > 0) {
        this.#timer = setTimeout(() => this.#drain(), Math.min(wait, windowMs)); // the clock may be set back
        return;
      }
      const text = this.#waiting.shift()!();
      if (text === undefined) continue;
      this.#sentAt.push(Date.now());
      if (this.#sentAt.length > perWindow) this.#sentAt.shift();
      this.send(text);
    }
  }
}
