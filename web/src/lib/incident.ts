import type { Alert } from 'sensorcast-client';

/** What is and was wrong, in words and in order. Pure. */

export const graver = ['critical', 'warning', 'info'];

/** The sensor as people call it, as in the server's letters. */
export const called = ({ serial, name }: Pick<Alert, 'serial' | 'name'>): string =>
  name === '' || name === serial ? serial : `${name} (${serial})`;

/** What is the matter with it, to follow its name. */
export function matter(alert: Alert): string {
  const over = alert.state === 'resolved';
  if (alert.kind === 'silent') return over ? 'was silent' : alert.flapping ? 'keeps falling silent' : 'is silent';
  return over ? 'needed a look' : 'needs a look';
}

/** What the server says of it, as a sentence. */
export const sentence = ({ message }: Pick<Alert, 'message'>): string => message.charAt(0).toUpperCase() + message.slice(1);

/** One step of an alert, as it is announced on the page. */
export function announcement(alert: Alert): string {
  if (alert.state === 'resolved') return `${called(alert)} ${alert.kind === 'silent' ? 'is back' : 'is well again'}.`;
  const wrong = `${called(alert)} ${matter(alert)}`;
  if (alert.acknowledgedAt !== null) return `${alert.acknowledgedBy} looks after it: ${wrong}.`;
  return alert.message ? `${wrong}: ${alert.message}` : `${wrong}.`;
}

/** What is grave first, then what nobody looks after, then the newest. */
export function byUrgency(a: Alert, b: Alert): number {
  return (
    rank(a) - rank(b) ||
    Number(a.acknowledgedAt !== null) - Number(b.acknowledgedAt !== null) ||
    (b.openedAt ?? 0) - (a.openedAt ?? 0)
  );
}

function rank({ severity }: Alert): number {
  const at = graver.indexOf(severity);
  return at < 0 ? graver.length : at;
}

/** One list of two that may share alerts; those of the first are the newer word. */
export function merged(newer: Alert[], older: Alert[]): Alert[] {
  const known = new Set(newer.map(({ id }) => id));
  return [...newer, ...older.filter(({ id }) => !known.has(id))];
}
