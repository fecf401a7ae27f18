import type { Channel, Delivery } from './api';
import { ago, clockTime, millis } from './time';

export interface Health {
  tone: 'good' | 'warn' | 'bad' | 'idle';
  word: string;
  says: string;
}

/** How a channel is doing, in words: what fails first, then what is known to have worked. */
export function health(channel: Channel, last: Delivery | null, now: number): Health {
  if (channel.failures > 0) {
    const retry = millis(channel.retry_at);
    const times = channel.failures === 1 ? 'The last attempt failed' : `${channel.failures} attempts in a row failed`;
    const why = last?.error ? `: ${last.error}` : '';
    const then = !channel.enabled ? '' : retry === null || retry <= now ? ' It is tried again now.' : ` It is tried again at ${clockTime(retry, now)}.`;
    return { tone: 'bad', word: 'Failing', says: `${times}${why}.${then}` };
  }
  if (!channel.enabled) return { tone: 'idle', word: 'Off', says: 'Nothing is sent.' };
  const settled = millis(last?.settled_at);
  switch (last?.state) {
    case 'sent':
      return { tone: 'good', word: 'Works', says: settled === null ? '' : `Last told ${ago(settled, now)}.` };
    case 'failed':
      return { tone: 'warn', word: 'Look', says: `The last message was given up${last.error ? `: ${last.error}` : ''}.` };
    case 'waiting': {
      const due = millis(last.due_at);
      return due !== null && due > now
        ? { tone: 'idle', word: 'Quiet', says: `What waits is sent after the quiet hours, at ${clockTime(due, now)}.` }
        : { tone: 'idle', word: 'Sending', says: 'A message is on its way.' };
    }
  }
  return { tone: 'idle', word: 'New', says: 'Nothing was sent yet. A test shows whether it works.' };
}
