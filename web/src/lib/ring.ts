/** The newest `capacity` pairs of (time, value), oldest first when read. Push costs the same however full it is. */
export class Ring {
  readonly #times: Float64Array;
  readonly #values: Float64Array;
  #next = 0;
  #size = 0;

  constructor(readonly capacity: number) {
    this.#times = new Float64Array(capacity);
    this.#values = new Float64Array(capacity);
  }

  get size(): number {
    return this.#size;
  }

  push(time: number, value: number): void {
    this.#times[this.#next] = time;
    this.#values[this.#next] = value;
    this.#next = (this.#next + 1) % this.capacity;
    this.#size = Math.min(this.#size + 1, this.capacity);
  }

  /** Fresh arrays of the pairs from `from` on. Sorted by time: a sensor may resend late what it measured early. */
  window(from = -Infinity): { times: number[]; values: number[] } {
    const times: number[] = [];
    const values: number[] = [];
    let sorted = true;
    for (let i = 0; i < this.#size; i++) {
      const at = (this.#next - this.#size + i + this.capacity) % this.capacity;
      const time = this.#times[at]!;
      if (time < from) continue;
      if (times.length > 0 && time < times[times.length - 1]!) sorted = false;
      times.push(time);
      values.push(this.#values[at]!);
    }
    if (sorted) return { times, values };
    const order = times.map((_, i) => i).sort((a, b) => times[a]! - times[b]!);
    return { times: order.map((i) => times[i]!), values: order.map((i) => values[i]!) };
  }
}
