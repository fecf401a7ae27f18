import type { Backoff } from './backoff.js';
import { SensorcastError } from './error.js';

/** A restarting server has just let everybody go at once: they come back spread over this. */
const restartSpreadMs = 5_000;
/** No hint makes a page wait longer than this. */
const longestHintMs = 120_000;

/** Close codes after which a new socket would meet the same answer, and what to tell the page. */
const finals: Record<number, [code: string, message: string]> = {
  4401: ['authority_ended', 'the session behind this connection has ended'],
  4403: ['access_lost', 'access to the sensor has ended'],
  4404: ['sensor_deleted', 'the sensor was deleted'],
};

/** Why the server will not have this connection back; undefined when it may be tried again. */
export function finalError(code: number, reason: string): SensorcastError | undefined {
  const known = finals[code];
  if (!known) return undefined;
  const [name, message] = known;
  return new SensorcastError(name, reason && reason !== message ? `${message}: ${reason}` : message, { permanent: true });
}

/** Milliseconds until the first try after a socket was closed. */
export function waitAfter(code: number, reason: string, backoff: Backoff): number {
  const usual = backoff.next();
  const hint = /retry after (\d{1,9}) ms$/.exec(reason)?.[1];
  // The server gives every viewer a time of its own, so nothing is added to it.
  if (hint !== undefined) return Math.min(Number(hint), longestHintMs);
  return code === 1012 || code === 1001 ? Math.max(usual, Math.random() * restartSpreadMs) : usual;
}
