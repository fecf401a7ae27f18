import { connect, type Alert, type Connection, type Frame, type Reading, type SensorcastError, type Status } from 'sensorcast-client';
import { alerts } from './alerts.svelte';
import { api, type Sensor } from './api';
import { Fleet, type Changes, type Entry } from './fleet';
import { Inbox } from './inbox';
import { parseJson } from './json';
import { notices } from './notices.svelte';
import { session } from './session.svelte';
import { skew } from './skew';

/** Registry pages of 500 loaded for local search; a larger fleet is searched on the server. */
const maxPages = 20;
/** Away longer than this, a fresh snapshot is cheaper than the replay of everything missed. */
const maxAwayMs = 60_000;
/** Enough to find the figures fresh on coming back, without drawing power for what nobody sees. */
const hiddenRate = 1;
/** Before trying again what the server closed for good: it may close the next one, too. */
const secondThoughtMs = 1_500;
/** Cards are redrawn at most this often: faster cannot be read, and painting costs far more than applying. */
const redrawMs = 200;
const sparkHistory = 40;
const sparkFetches = 4;

/** Why a sensor is not here any more. */
export type Loss = 'access_lost' | 'sensor_deleted';

/** A number that lives in the page's reactivity: reading it subscribes, bumping it redraws the readers. */
class Signal {
  #seen = $state.raw({});
  bump(): void {
    // Written without being read: an effect that bumps must not become a reader of what it bumps.
    this.#seen = {};
  }
  follow(): void {
    void this.#seen;
  }
}

/** The live fleet of the signed-in person: one socket, one set of entries, redrawn per sensor. */
class Live {
  phase = $state.raw<Status>({ name: 'closed', error: null });
  /** False until the first snapshot or registry page is here: neither "empty" nor "loaded" yet. */
  loaded = $state(false);
  /** The registry is larger than what was loaded; search must ask the server. */
  partial = $state(false);

  readonly #fleet = new Fleet();
  readonly #membership = new Signal();
  readonly #signals = new Map<string, Signal>();
  readonly #listeners = new Map<string, Set<(readings: Reading[]) => void>>();
  readonly #inbox = new Inbox<Frame>((frames) => this.#apply(frames));
  readonly #seeded = new Set<string>();
  readonly #lost = new Map<string, Loss>();
  readonly #seedQueue: string[] = [];
  #seeding = 0;
  readonly #dirty = new Set<string>();
  #redrawnAt = 0;
  #redrawTimer: ReturnType<typeof setTimeout> | undefined;
  #loading = false;

  #connection: Connection | undefined;

  start(): void {
    if (this.#connection) return;
    const put = (frame: Frame) => this.#inbox.put(frame);
    this.#connection = connect({
      ticket: async () => (await api.ticket()).ticket,
      parse: parseJson,
      maxAway: maxAwayMs,
      hiddenRate,
      onHello: put,
      onReading: (reading) => {
        skew.frame(reading.receivedAt, Date.now());
        put(reading);
      },
      onState: put,
      onAlert: put,
      onGap: put,
      onStatus: (status) => this.#follow(status),
      onError: (error) => this.#heed(error),
    });
    void this.reload();
  }

  stop(): void {
    this.#connection?.close();
    this.#connection = undefined;
    this.#inbox.flush();
    this.#fleet.entries.clear();
    this.#signals.clear();
    this.#seeded.clear();
    this.#lost.clear();
    this.#seedQueue.length = 0;
    this.loaded = false;
    alerts.clear();
    this.#membership.bump();
  }

  retry(): void {
    this.#connection?.reconnect();
  }

  /** All entries; a reader is redrawn when sensors appear, vanish or are renamed, not when they report. */
  all(): Entry[] {
    this.#membership.follow();
    return [...this.#fleet.entries.values()];
  }

  /** One entry; a reader is redrawn with each batch that touches it. */
  one(serial: string): Entry | undefined {
    this.#membership.follow();
    this.#signal(serial).follow();
    return this.#fleet.entries.get(serial);
  }

  /** Why a sensor that was here is gone, if the server has said so. */
  lost(serial: string): Loss | undefined {
    this.#membership.follow();
    return this.#fleet.entries.has(serial) ? undefined : this.#lost.get(serial);
  }

  /** Every reading of one sensor, in batches, until the returned function is called. */
  listen(serial: string, hear: (readings: Reading[]) => void): () => void {
    const hearers = this.#listeners.get(serial) ?? new Set();
    this.#listeners.set(serial, hearers.add(hear));
    return () => {
      hearers.delete(hear);
      if (hearers.size === 0) this.#listeners.delete(serial);
    };
  }

  enrol(sensor: Sensor): void {
    this.#fleet.enrol(sensor);
    this.#signal(sensor.serial_no).bump();
    this.#membership.bump();
  }

  remove(serial: string): void {
    this.#fleet.remove(serial);
    alerts.forget(serial);
    this.#seeded.delete(serial);
    this.#membership.bump();
  }

  async reload(): Promise<void> {
    if (this.#loading) return;
    this.#loading = true;
    try {
      let cursor: string | undefined;
      for (let page = 0; page < maxPages; page++) {
        const { items, next } = await api.sensors({ limit: 500, cursor });
        items.forEach((sensor) => this.#fleet.enrol(sensor));
        this.loaded = true;
        this.#membership.bump();
        cursor = next ?? undefined;
        if (!cursor) break;
      }
      this.partial = cursor !== undefined;
    } catch {
      // The socket's own retry leads to a hello, which brings us back here while strangers remain.
    } finally {
      this.#loading = false;
    }
  }

  async search(q: string): Promise<void> {
    const { items } = await api.sensors({ q, limit: 500 }).catch(() => ({ items: [] }));
    items.forEach((sensor) => this.#fleet.enrol(sensor));
    this.#membership.bump();
  }

  /** Fills a visible card's sparkline from history, once, a few requests at a time. */
  seed(serial: string): void {
    if (this.#seeded.has(serial)) return;
    this.#seeded.add(serial);
    this.#seedQueue.push(serial);
    void this.#seedNext();
  }

  async #seedNext(): Promise<void> {
    const serial = this.#seeding < sparkFetches ? this.#seedQueue.shift() : undefined;
    if (serial === undefined) return;
    this.#seeding++;
    const { items } = await api.readings(serial, sparkHistory).catch(() => ({ items: [] }));
    this.#seeding--;
    this.#fleet.seed(serial, items);
    this.#signal(serial).bump();
    void this.#seedNext();
  }

  #follow(status: Status): void {
    this.phase = status;
    if (status.name === 'live') void alerts.load();
    if (status.name === 'closed' && status.error) void this.#reopen(status.error);
  }

  /** The server closed the socket for good. This page can ask whether the session goes on, and which sensors are left. */
  async #reopen(error: SensorcastError): Promise<void> {
    const connection = this.#connection;
    if (error.code === 'authority_ended' && !(await api.refresh().catch(() => true))) return; // signed out by now
    await new Promise((done) => setTimeout(done, secondThoughtMs));
    if (connection !== this.#connection) return;
    if (error.code === 'access_lost' || error.code === 'sensor_deleted') void this.reload();
    else if (error.code !== 'authority_ended') return;
    if (connection === this.#connection) connection?.reconnect();
  }

  #heed(error: SensorcastError): void {
    const { code, serial } = error;
    if ((code !== 'sensor_deleted' && code !== 'access_lost') || serial === undefined) return;
    this.#inbox.flush(); // its last readings must not bring it back
    const entry = this.#fleet.entries.get(serial);
    if (!entry) return; // given up here, a moment ago
    this.#lost.set(serial, code);
    this.remove(serial);
    const name = entry.name || serial;
    notices.info(code === 'access_lost' ? `${name} is not shared with you any more.` : `${name} was deleted, or has another owner now.`);
  }

  #apply(frames: Frame[]): void {
    // Sign-out empties the page; frames still on their way must not fill it again.
    if (session.state !== 'in') return;
    const changes: Changes = this.#fleet.apply(frames);
    if (changes.membership) {
      this.loaded = true;
      this.#membership.bump();
    }
    for (const serial of changes.serials) if (this.#signals.has(serial)) this.#dirty.add(serial);
    this.#redrawSoon();
    for (const [serial, readings] of changes.readings) {
      this.#listeners.get(serial)?.forEach((hear) => hear(readings));
    }
    alerts.hear(changes.alerts);
    const mine = (alert: Alert) => alert.state === 'open' && alert.acknowledgedBy === session.user?.username;
    changes.alerts.filter((alert) => !mine(alert)).slice(-3).forEach((alert) => notices.alert(alert));
    if (changes.strangers) void this.reload();
  }

  /** At once after a quiet spell, else when the pace allows. */
  #redrawSoon(): void {
    if (this.#redrawTimer !== undefined || this.#dirty.size === 0) return;
    const wait = this.#redrawnAt + redrawMs - performance.now();
    if (wait <= 0) this.#redraw();
    else this.#redrawTimer = setTimeout(() => this.#redraw(), wait);
  }

  #redraw(): void {
    this.#redrawTimer = undefined;
    this.#redrawnAt = performance.now();
    for (const serial of this.#dirty) this.#signals.get(serial)?.bump();
    this.#dirty.clear();
  }

  #signal(serial: string): Signal {
    let signal = this.#signals.get(serial);
    if (!signal) this.#signals.set(serial, (signal = new Signal()));
    return signal;
  }
}

export const live = new Live();
