import { describe, expect, test } from 'vitest';
import { actorOf, deedOf, detailOf, filterOf } from './activity';

test('an operation that came later is readable', () => {
  expect(deedOf('rotate-secret')).toBe('Rotate the secret');
  expect(deedOf('create-channel-test')).toBe('Create channel test');
});

test('who did it: a person, the operator, or nobody knows', () => {
  expect(actorOf({ actor: 'ada', via: 'session' })).toBe('ada');
  expect(actorOf({ actor: null, via: 'shell' })).toBe('The operator');
  expect(actorOf({ actor: null, via: null })).toBe('Somebody unknown');
});

test('details in words', () => {
  expect(detailOf(null)).toBe('');
  expect(detailOf({ fields: ['name', 'tags'] })).toBe('name, tags');
  expect(detailOf({ created: 3, updated: 1 })).toBe('created 3 · updated 1');
});

describe('the filter', () => {
  const nothing = { actor: '', serial: '', action: '', from: '', to: '' };

  test('holds only what was asked for', () => {
    expect(filterOf(nothing)).toEqual({});
    expect(filterOf({ ...nothing, actor: ' ada ', action: 'login' })).toEqual({ actor: 'ada', action: 'login' });
  });

  test('takes days from their first moment to their last', () => {
    expect(filterOf({ ...nothing, from: '2026-02-28', to: '2026-02-28' })).toEqual({
      from: new Date(2026, 1, 28).toISOString(),
      to: new Date(2026, 2, 1).toISOString(),
    });
  });

  test('leaves out a date that is half typed', () => {
    expect(filterOf({ ...nothing, from: '2026-' })).toEqual({});
  });
});
