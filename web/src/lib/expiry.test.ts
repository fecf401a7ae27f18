import { expect, test } from 'vitest';
import { endOf } from './expiry';

const now = Date.parse('2026-03-01T12:00:00Z');

test('a token ends after its time, with its last day, or never', () => {
  expect(endOf('never', '', now)).toBeNull();
  expect(endOf('2592000', '', now)).toBe('2026-03-31T12:00:00.000Z');
  expect(endOf('date', '2026-03-05', now)).toBe(new Date(2026, 2, 5, 23, 59, 59).toISOString());
});

test('what is no date goes to the server, which says so beside the field', () => {
  expect(endOf('date', '', now)).toBe('');
});
