import type { AuditEntry, AuditFilter } from './api';

/** Every operation that leaves an entry, by its id, in words. */
export const deeds: Record<string, string> = {
  login: 'Sign in',
  register: 'Create an account',
  logout: 'Sign out',
  'logout-all': 'End every session',
  refresh: 'Stay signed in',
  'end-session': 'End a session',
  'end-other-sessions': 'End all other sessions',
  'update-me': 'Change the profile',
  'change-password': 'Change the password',
  'request-password-reset': 'Ask for a new password',
  'reset-password': 'Set a new password by letter',
  'send-verification': 'Ask for the confirmation letter',
  'confirm-email': 'Confirm the e-mail address',
  'enrol-second-factor': 'Set up a second factor',
  'confirm-second-factor': 'Turn the second factor on',
  'delete-second-factor': 'Turn the second factor off',
  'create-token': 'Make an API token',
  'delete-token': 'Revoke an API token',
  'delete-me': 'Delete the own account',
  'create-user': 'Make an account',
  'update-user': 'Change an account',
  'remove-second-factor': 'Turn off the second factor of somebody',
  'set-password': 'Set the password of an account',
  'delete-user': 'Delete an account',
  'create-invitation': 'Invite somebody',
  'delete-invitation': 'Withdraw an invitation',
  'create-sensor': 'Add a sensor',
  'update-sensor': 'Change a sensor',
  'delete-sensor': 'Delete a sensor',
  'rotate-secret': 'Rotate the secret',
  'create-command': 'Send a command',
  'acknowledge-alert': 'Acknowledge an alert',
  'share-sensor': 'Share a sensor',
  'unshare-sensor': 'Stop sharing a sensor',
  'offer-sensor': 'Offer a sensor to somebody',
  'withdraw-transfer': 'Withdraw the offer of a sensor',
  'claim-sensor': 'Claim a sensor',
  'import-sensors': 'Import sensors',
  'adopt-stranger': 'Adopt an unknown sensor',
  'dismiss-stranger': 'Dismiss an unknown sensor',
};

/** What was done; of an operation that came later, its id made readable. */
export function deedOf(action: string): string {
  return deeds[action] ?? (action.charAt(0).toUpperCase() + action.slice(1)).replaceAll('-', ' ');
}

export function actorOf(entry: Pick<AuditEntry, 'actor' | 'via'>): string {
  return entry.actor ?? (entry.via === 'shell' ? 'The operator' : 'Somebody unknown');
}

/** What the entry says beside who and what: fields, the name of a command, a reason. */
export function detailOf(detail: Record<string, unknown> | null): string {
  if (!detail) return '';
  const words = ([key, value]: [string, unknown]) => {
    const text = Array.isArray(value) ? value.join(', ') : typeof value === 'object' ? JSON.stringify(value) : String(value);
    return ['fields', 'name', 'reason'].includes(key) ? text : `${key} ${text}`;
  };
  return Object.entries(detail).map(words).filter(Boolean).join(' · ');
}

/** The filter as a form holds it: days of the person's own calendar. */
export interface Question {
  actor: string;
  serial: string;
  action: string;
  from: string;
  to: string;
}

/** As the API takes it: from the first moment of one day to the last of the other. */
export function filterOf(question: Question): AuditFilter {
  const day = (date: string, after: number) => {
    const start = new Date(`${date}T00:00:00`);
    if (Number.isNaN(start.getTime())) return undefined;
    start.setDate(start.getDate() + after);
    return start.toISOString();
  };
  const filter = {
    actor: question.actor.trim() || undefined,
    serial_no: question.serial.trim() || undefined,
    action: question.action || undefined,
    from: day(question.from, 0),
    to: day(question.to, 1),
  };
  return Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined));
}
