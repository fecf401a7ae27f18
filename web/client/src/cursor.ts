import type { Hello } from './frame.js';

/**
 * Where this page stands in the server's log. `seq` rises on every socket, so one number tells what is new, what is a
 * repetition, and where to go on after a lost connection.
 *
 * A gap does not move it. The gap of one sensor may reach beyond readings of another that are still to come; and what
 * it skipped may still be fetched by resuming from the last reading that did come.
 */
export class Cursor {
  #at: { epoch: string; seq: number } | null = null;
  #heardAt = 0;

  constructor(private readonly maxAwayMs: number) {}

  /** Takes note of a hello. A resumed one is followed by what was missed: the position stays until that comes. */
  welcome(hello: Hello): void {
    const goesOn = hello.resumed && this.#at !== null;
    this.#at = { epoch: hello.epoch, seq: goesOn ? this.#at!.seq : hello.seq };
    this.#heardAt = Date.now();
  }

  /** Moves to a reading. False: it was here already. */
  admit(seq: number): boolean {
    this.#heardAt = Date.now();
    if (!this.#at) return true;
    if (seq <= this.#at.seq) return false;
    this.#at.seq = seq;
    return true;
  }

  /** The next connection begins afresh. */
  forget(): void {
    this.#at = null;
  }

  /** What to ask the server: undefined where there is nothing to go on from, or too much was missed to be wanted. */
  query(): Record<string, string> | undefined {
    if (!this.#at || this.#at.epoch === '' || Date.now() - this.#heardAt > this.maxAwayMs) return undefined;
    return { epoch: this.#at.epoch, since: String(this.#at.seq) };
  }

  /** The connection is open though no reading comes: that is not being away. */
  touch(): void {
    this.#heardAt = Date.now();
  }
}
