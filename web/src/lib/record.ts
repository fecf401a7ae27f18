import type { Reading } from 'sensorcast-client';
import { metricsOf, numeric } from './metric';
import { Ring } from './ring';

/** One hour at one reading a second, with room; a faster sensor shows a shorter past. */
const pointsPerMetric = 4096;
const maxMetrics = 32;
const maxRows = 50;

/** One sensor's past as its page shows it: a ring per numeric metric and the newest rows, both bounded. */
export class Record {
  readonly rings = new Map<string, Ring>();
  /** Metrics that only ever held booleans are drawn as steps. */
  readonly switches = new Set<string>();
  rows: Reading[] = [];
  #newestSeq = 0;

  /** Starts over from history plus whatever arrived live while it was being fetched. */
  restart(history: Reading[], live: Reading[]): void {
    this.rings.clear();
    this.switches.clear();
    this.rows = [];
    this.#newestSeq = 0;
    this.add([...history, ...live].sort((a, b) => a.seq - b.seq));
  }

  /** Adds readings in rising `seq`; ones already here (a repeated snapshot, a replay) are passed over. */
  add(readings: Reading[]): void {
    for (const reading of readings) {
      if (reading.seq <= this.#newestSeq) continue;
      this.#newestSeq = reading.seq;
      this.rows.unshift(reading);
      if (this.rows.length > maxRows) this.rows.pop();
      for (const { name, value } of metricsOf(reading.data)) this.#draw(name, reading.time, value);
    }
  }

  #draw(name: string, time: number, value: unknown): void {
    const number = numeric(value);
    if (number === undefined) return;
    let ring = this.rings.get(name);
    if (!ring) {
      if (this.rings.size >= maxMetrics) return;
      ring = new Ring(pointsPerMetric);
      this.rings.set(name, ring);
      if (typeof value === 'boolean') this.switches.add(name);
    }
    if (typeof value !== 'boolean') this.switches.delete(name);
    ring.push(time, number);
  }
}
