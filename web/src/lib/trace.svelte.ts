import type { Reading } from 'sensorcast-client';
import { api } from './api';
import { live } from './live.svelte';
import { metricsOf, numeric } from './metric';
import { withGaps, type Points } from './plot';
import { Record } from './record';

/** Enough redraws for the eye; more would only heat the phone. */
const redrawMs = 100;
const pageSize = 500;
/** History pages fetched for the longest window: an hour at one reading a second, and the bound of what is kept. */
const maxPages = 8;

/** One sensor's past for its page: history first, then live, redrawn at a bounded rate. */
export class Trace {
  /** Bumped when there is something new to draw; what is drawn is read through the methods below. */
  revision = $state(0);
  rows = $state.raw<Reading[]>([]);
  historyFailed = $state(false);
  /** True once the first page of history is here, or has failed to come. */
  loaded = $state(false);

  readonly #record = new Record();
  #early: Reading[] | null = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Readings before the first page, by metric, oldest first. */
  readonly #older = new Map<string, { times: number[]; values: number[] }>();
  #cursor: string | null = null;
  #pages = 1;
  #reached = Infinity;
  #reaching = false;

  constructor(private readonly serial: string) {}

  /** Listens until the returned function is called. Listening starts before history is asked for, so nothing falls between. */
  open(): () => void {
    const stop = live.listen(this.serial, (readings) => {
      if (this.#early) this.#early.push(...readings);
      else this.#record.add(readings);
      this.#redrawSoon();
    });
    void this.#load();
    return () => {
      stop();
      clearTimeout(this.#timer);
    };
  }

  async #load(): Promise<void> {
    const early = this.#early ?? [];
    try {
      const { items: history, next } = await api.readings(this.serial, pageSize);
      this.#cursor = next;
      this.#reached = history.at(-1)?.time ?? Infinity;
      this.#record.restart(history, early);
    } catch {
      this.historyFailed = true;
      this.#record.add(early);
    }
    this.#early = null;
    this.loaded = true;
    this.#redraw();
  }

  metrics(): string[] {
    void this.revision;
    return [...this.#record.rings.keys()];
  }

  isSwitch(metric: string): boolean {
    void this.revision;
    return this.#record.switches.has(metric);
  }

  points(metric: string, from: number): Points {
    void this.revision;
    const ring = this.#record.rings.get(metric);
    const { times, values } = ring?.window(from) ?? { times: [], values: [] };
    const older = this.#older.get(metric);
    // A full ring has dropped readings since; what is older would be drawn across that hole.
    if (!older || !ring || ring.size === ring.capacity) return withGaps(times, values);
    const first = older.times.findIndex((time) => time >= from);
    if (first < 0) return withGaps(times, values);
    return withGaps([...older.times.slice(first), ...times], [...older.values.slice(first), ...values]);
  }

  /** Fetches history back to `from`, page by page, when the window reaches further than what is here. */
  async reachBack(from: number): Promise<void> {
    if (this.#reaching) return;
    this.#reaching = true;
    try {
      while (this.#cursor !== null && this.#reached > from && this.#pages < maxPages) {
        const { items, next } = await api.readings(this.serial, pageSize, this.#cursor);
        this.#pages++;
        this.#cursor = next;
        this.#prepend(items);
        this.#redraw();
      }
    } catch {
      // The newer readings are drawn all the same; the next change of window asks again.
    } finally {
      this.#reaching = false;
    }
  }

  #prepend(newestFirst: Reading[]): void {
    const page = new Map<string, { times: number[]; values: number[] }>();
    for (const reading of [...newestFirst].reverse()) {
      this.#reached = Math.min(this.#reached, reading.time);
      for (const { name, value } of metricsOf(reading.data)) {
        const number = numeric(value);
        if (number === undefined) continue;
        const column = page.get(name) ?? { times: [], values: [] };
        page.set(name, column);
        column.times.push(reading.time);
        column.values.push(number);
      }
    }
    for (const [name, column] of page) {
      const later = this.#older.get(name);
      this.#older.set(name, {
        times: later ? [...column.times, ...later.times] : column.times,
        values: later ? [...column.values, ...later.values] : column.values,
      });
    }
  }

  #redrawSoon(): void {
    this.#timer ??= setTimeout(() => this.#redraw(), redrawMs);
  }

  #redraw(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.rows = [...this.#record.rows];
    this.revision++;
  }
}
