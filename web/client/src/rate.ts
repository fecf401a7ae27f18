/** How much the page asks for: 0 is as fast as it comes. Remembers what the present socket was told. */
export class Rate {
  #wanted = 0;
  #told = 0;

  constructor(
    private readonly hiddenRate: number | undefined,
    private readonly isHidden: () => boolean,
  ) {
    if (hiddenRate !== undefined) checkRate('hiddenRate', hiddenRate);
  }

  set wanted(maxPerSecond: number) {
    checkRate('maxPerSecond', maxPerSecond);
    this.#wanted = maxPerSecond;
  }

  /** A new socket knows of no rate. */
  restart(): void {
    this.#told = 0;
  }

  /** Whether the server has to be told something. */
  get stale(): boolean {
    return this.#now() !== this.#told;
  }

  /** The message that brings the server up to date; undefined when it is. */
  message(): string | undefined {
    if (!this.stale) return undefined;
    this.#told = this.#now();
    return JSON.stringify({ type: 'rate', max_per_second: this.#told });
  }

  #now(): number {
    if (this.hiddenRate === undefined || !this.isHidden()) return this.#wanted;
    if (this.#wanted === 0 || this.hiddenRate === 0) return this.#wanted || this.hiddenRate;
    return Math.min(this.#wanted, this.hiddenRate);
  }
}

function checkRate(name: string, rate: number): void {
  if (!Number.isFinite(rate) || rate < 0) throw new RangeError(`${name}: must be a number of readings a second, or 0 for as fast as they come`);
}
