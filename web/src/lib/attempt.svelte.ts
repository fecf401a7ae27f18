import { explain, type Problem } from './problem';

/** One thing a person asks the server for: one request at a time, and what it was refused for. */
export class Attempt {
  busy = $state(false);
  problem = $state.raw<Problem | null>(null);

  /** True once it is done. What was refused is in `problem`, until the next try. */
  async run(work: () => Promise<void>): Promise<boolean> {
    if (this.busy) return false; // a second click
    this.busy = true;
    this.problem = null;
    try {
      await work();
      return true;
    } catch (failure) {
      this.problem = explain(failure);
      return false;
    } finally {
      this.busy = false;
    }
  }

  /** What is wrong with a field, to be shown beside it. */
  of(field: string): string | undefined {
    return this.problem?.fields[field];
  }
}
