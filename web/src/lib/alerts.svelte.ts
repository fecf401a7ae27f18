import type { Alert } from 'sensorcast-client';
import { api } from './api';
import { byUrgency, merged } from './incident';

/** Pages of 500 open alerts; more than that nobody goes through one by one. */
const maxPages = 4;
/** Resolved ones remembered from frames, for a list that is looked at meanwhile. */
const maxRecent = 200;

/** What is wrong now with the sensors of who is signed in: the server's list, kept up by frames. */
class Alerts {
  /** The most urgent first. */
  open = $state.raw<Alert[]>([]);
  /** Resolved while the page was here, newest first. */
  recent = $state.raw<Alert[]>([]);
  loaded = $state(false);

  /** Frames that came while the list was under way; they are the newer word. */
  #early: Alert[] | null = null;

  /** Frames tell of steps only, so every connection begins with the list. */
  async load(): Promise<void> {
    const early: Alert[] = (this.#early = []);
    try {
      let open: Alert[] = [];
      let cursor: string | undefined;
      for (let page = 0; page < maxPages; page++) {
        const { items, next } = await api.alerts({ state: 'open', limit: 500, cursor });
        open = merged(open, items);
        if (!(cursor = next ?? undefined)) break;
      }
      if (this.#early !== early) return; // signed out, or asked again, meanwhile
      this.open = open.sort(byUrgency);
      this.loaded = true;
    } catch {
      // The next connection asks again.
    }
    if (this.#early !== early) return;
    this.#early = null;
    this.hear(early);
  }

  hear(steps: Alert[]): void {
    if (steps.length === 0) return;
    this.#early?.push(...steps);
    const open = new Map(this.open.map((alert) => [alert.id, alert]));
    for (const alert of steps) {
      if (alert.state === 'open') open.set(alert.id, alert);
      else {
        open.delete(alert.id);
        this.recent = merged([alert], this.recent).slice(0, maxRecent);
      }
    }
    this.open = [...open.values()].sort(byUrgency);
  }

  /** What is wrong with one sensor. */
  of(serial: string): Alert[] {
    return this.open.filter((alert) => alert.serial === serial);
  }

  async acknowledge(id: string): Promise<void> {
    this.hear([await api.acknowledge(id)]);
  }

  /** The sensor is gone, or not ours to see any more. */
  forget(serial: string): void {
    this.open = this.open.filter((alert) => alert.serial !== serial);
    this.recent = this.recent.filter((alert) => alert.serial !== serial);
  }

  clear(): void {
    this.open = this.recent = [];
    this.loaded = false;
    this.#early = null;
  }
}

export const alerts = new Alerts();
