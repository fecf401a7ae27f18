import type { Happening } from './api';
import { millis } from './time';

/** A stretch of a sensor's time; in milliseconds. */
export interface Stretch {
  from: number;
  to: number;
}

/** What a sensor's days look like: when it was heard of, and when something else was wrong. */
export interface Band {
  online: Stretch[];
  silent: Stretch[];
  alerts: Stretch[];
}

/**
 * Draws the window from what happened in it, newest first, and how things stand now. What was before the first thing that
 * happened follows from it: who came back was silent, who fell silent was not.
 */
export function bandOf(newestFirst: Happening[], window: Stretch, now: { silent: boolean; alerts: number }): Band {
  const band: Band = { online: [], silent: [], alerts: [] };
  const open = new Map<string, number>();
  const events = [...newestFirst].reverse();
  const first = events.find(({ event }) => event === 'silent' || event === 'online');
  let state: 'online' | 'silent' | null = first ? (first.event === 'online' ? 'silent' : 'online') : now.silent ? 'silent' : 'online';
  let since = window.from;
  const until = (at: number) => {
    if (state && at > since) band[state].push({ from: since, to: at });
    since = at;
  };
  const over = (id: string | null, at: number) => {
    band.alerts.push({ from: open.get(id ?? '') ?? window.from, to: at });
    open.delete(id ?? '');
  };
  for (const { at: time, event, alert_id } of events) {
    const at = Math.min(Math.max(millis(time) ?? window.from, window.from), window.to);
    if (event === 'created') since = at;
    else if (event === 'silent' || event === 'online') {
      until(at);
      state = event;
    } else if (event === 'opened') open.set(alert_id ?? '', at);
    else if (event === 'resolved') over(alert_id, at);
  }
  until(window.to);
  // What was opened before the window and is open still has left no trace in it.
  const lasting = Math.max(now.alerts - open.size, 0);
  for (const id of [...open.keys()]) over(id, window.to);
  if (lasting > 0) band.alerts.unshift({ ...window });
  return band;
}

/** How much of the time that is known it was heard of, from 0 to 1; null when nothing is known. */
export function share(band: Band): number | null {
  const sum = (stretches: Stretch[]) => stretches.reduce((total, { from, to }) => total + to - from, 0);
  const [online, silent] = [sum(band.online), sum(band.silent)];
  return online + silent === 0 ? null : online / (online + silent);
}

/** Where a stretch is in a picture of the window that is 1000 wide; never so narrow that it cannot be seen. */
export function placed({ from, to }: Stretch, window: Stretch): { x: number; width: number } {
  const x = (at: number) => ((Math.min(Math.max(at, window.from), window.to) - window.from) / (window.to - window.from)) * 1000;
  return { x: Math.min(x(from), 997), width: Math.max(x(to) - x(from), 3) };
}
