import type { Alert, Frame, Reading, Snapshot } from 'sensorcast-client';
import type { Sensor } from './api';
import { silenceOf } from './cadence';
import { byInterest, metricsOf, numeric } from './metric';
import { Ring } from './ring';
import { millis } from './time';

export type State = 'online' | 'silent' | 'never_seen';

/** What the page knows of one sensor: registry and live stream together. */
export interface Entry {
  serial: string;
  name: string;
  sensor: Sensor | null;
  lastSeen: number | null;
  reading: Reading | null;
  /** The metric the sparkline follows, chosen by the first reading that has a number. */
  sparkMetric: string;
  spark: Ring | null;
}

/** What one batch of frames changed, so that the page redraws only that. */
export interface Changes {
  serials: Set<string>;
  /** Sensors appeared, vanished or were renamed. */
  membership: boolean;
  readings: Map<string, Reading[]>;
  alerts: Alert[];
  /** A hello named sensors whose registry entry is not known here. */
  strangers: boolean;
}

const sparkPoints = 40;
/** Readings of one sensor handed on from one batch; a chart cannot show more between two frames. */
const maxPerBatch = 2000;

/** State by the clock: correct while disconnected too, when no server can tell us of a silence. */
export function stateOf(entry: Pick<Entry, 'lastSeen' | 'sensor'>, serverNow: number, silenceDefault: number): State {
  if (entry.lastSeen === null) return 'never_seen';
  const limit = silenceOf(entry.sensor, silenceDefault);
  return serverNow - entry.lastSeen < limit * 1000 ? 'online' : 'silent';
}

/** Folds frames and registry pages into entries. Pure: no clock, no socket, no reactivity. */
export class Fleet {
  readonly entries = new Map<string, Entry>();

  apply(frames: Frame[]): Changes {
    const changes: Changes = { serials: new Set(), membership: false, readings: new Map(), alerts: [], strangers: false };
    for (const frame of frames) this.#fold(frame, changes);
    return changes;
  }

  #fold(frame: Frame, changes: Changes): void {
    switch (frame.type) {
      case 'hello':
        this.#welcome(frame.sensors, changes);
        break;
      case 'reading':
        this.#read(frame.serial, frame, changes);
        break;
      case 'state': {
        // The first that is heard of a sensor that was added elsewhere, or shared.
        if (!this.entries.has(frame.serial)) changes.membership = changes.strangers = true;
        const entry = this.#entry(frame.serial);
        entry.lastSeen = newest(entry.lastSeen, frame.lastSeen);
        changes.serials.add(frame.serial);
        break;
      }
      case 'alert':
        changes.alerts.push(frame);
        break;
      case 'gap':
        // A chart breaks its line where time passed without a reading, whyever that was.
        break;
    }
  }

  /** The hello lists every sensor this viewer may see: what it does not name is gone. */
  #welcome(sensors: Snapshot[], changes: Changes): void {
    const named = new Set(sensors.map((snapshot) => snapshot.serial));
    for (const serial of this.entries.keys()) {
      if (!named.has(serial)) this.remove(serial);
    }
    changes.membership = true;
    for (const snapshot of sensors) {
      const entry = this.#entry(snapshot.serial);
      if (snapshot.name) entry.name = snapshot.name;
      entry.lastSeen = newest(entry.lastSeen, snapshot.lastSeen);
      if (snapshot.reading) this.#read(snapshot.serial, snapshot.reading, changes);
      if (!entry.sensor) changes.strangers = true;
      changes.serials.add(snapshot.serial);
    }
  }

  #read(serial: string, reading: Reading, changes: Changes): void {
    if (!this.entries.has(serial)) {
      changes.membership = true;
      changes.strangers = true;
    }
    const entry = this.#entry(serial);
    // A fresh hello after a reconnect repeats the reading that is already here.
    if (entry.reading && reading.seq === entry.reading.seq) return;
    entry.lastSeen = newest(entry.lastSeen, reading.receivedAt);
    if (!entry.reading || reading.time >= entry.reading.time) {
      entry.reading = reading;
      this.#sparkle(entry, reading);
    }
    changes.serials.add(serial);
    const batch = changes.readings.get(serial);
    if (!batch) changes.readings.set(serial, [reading]);
    else {
      batch.push(reading);
      if (batch.length > maxPerBatch) batch.shift();
    }
  }

  #sparkle(entry: Entry, reading: Reading): void {
    const metrics = metricsOf(reading.data);
    if (entry.sparkMetric === '') {
      const first = byInterest(metrics).find((metric) => numeric(metric.value) !== undefined);
      if (!first) return;
      entry.sparkMetric = first.name;
    }
    const value = numeric(metrics.find((metric) => metric.name === entry.sparkMetric)?.value);
    if (value === undefined) return;
    entry.spark ??= new Ring(sparkPoints);
    entry.spark.push(reading.time, value);
  }

  /** Puts history (newest first, as the server lists it) under the sparkline that began with the live readings. */
  seed(serial: string, history: Reading[]): void {
    const entry = this.entries.get(serial);
    if (!entry) return;
    const oldestFirst = [...history].reverse();
    const newestSeq = oldestFirst[oldestFirst.length - 1]?.seq ?? 0;
    const live = entry.spark?.window() ?? { times: [], values: [] };
    const cutoff = oldestFirst[oldestFirst.length - 1]?.time ?? -Infinity;
    entry.spark = null;
    for (const reading of oldestFirst) this.#sparkle(entry, reading);
    live.times.forEach((time, i) => {
      if (time > cutoff) (entry.spark ??= new Ring(sparkPoints)).push(time, live.values[i]!);
    });
    if (!entry.reading && oldestFirst.length > 0 && newestSeq > 0) entry.reading = oldestFirst[oldestFirst.length - 1]!;
  }

  /** Takes a registry entry, new or edited. */
  enrol(sensor: Sensor): void {
    const entry = this.#entry(sensor.serial_no);
    entry.sensor = sensor;
    entry.name = sensor.name;
    entry.lastSeen = newest(entry.lastSeen, millis(sensor.last_seen_at));
  }

  remove(serial: string): void {
    this.entries.delete(serial);
  }

  #entry(serial: string): Entry {
    let entry = this.entries.get(serial);
    if (!entry) {
      entry = { serial, name: '', sensor: null, lastSeen: null, reading: null, sparkMetric: '', spark: null };
      this.entries.set(serial, entry);
    }
    return entry;
  }
}

const newest = (a: number | null, b: number | null): number | null => (a === null ? b : b === null ? a : Math.max(a, b));
