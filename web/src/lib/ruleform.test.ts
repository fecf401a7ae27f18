import { describe, expect, test } from 'vitest';
import type { Rule } from './api';
import { condition, draftOf, formOf, lasting, patchOf, verdict } from './ruleform';

const rule = {
  name: 'Too warm', serial_no: 'SN1', tag: null, metric: 'temperature', op: '>', value: 30, clear_value: 28, expression: null, for_seconds: 300, severity: 'critical',
} as Rule;

test('a rule is read as it would be said', () => {
  expect(condition(rule)).toBe('temperature is above 30 for 5 min, until it has reached 28');
  expect(condition({ ...rule, clear_value: null, for_seconds: 0, op: '<=', value: -2.5 })).toBe('temperature is at most -2.5');
  expect(condition({ ...rule, metric: null, op: null, value: null, clear_value: null, expression: 'data.a > 1' })).toBe('data.a > 1 for 5 min');
});

describe('the form of a rule', () => {
  test('gives back what it was filled with', () => {
    expect(draftOf(formOf(rule))).toEqual({ name: 'Too warm', serial_no: 'SN1', metric: 'temperature', op: '>', value: 30, clear_value: 28, for_seconds: 300, severity: 'critical' });
  });

  test('a change resets what is not there any more', () => {
    const form = { ...formOf(rule), of: 'tag' as const, tag: ' roof ', how: 'expression' as const, expression: 'data.a > 1' };
    expect(patchOf(form)).toEqual({
      name: 'Too warm', serial_no: null, tag: 'roof', metric: null, op: null, value: null, clear_value: null, expression: 'data.a > 1', for_seconds: 300, severity: 'critical',
    });
  });

  test('takes a decimal comma, and no value that is none', () => {
    expect(draftOf({ ...formOf(rule), value: '20,5', clear: '' })).toMatchObject({ value: 20.5 });
    for (const value of ['', 'warm', '1e999']) expect(() => draftOf({ ...formOf(rule), value })).toThrow(expect.objectContaining({ part: 'value' }));
    expect(() => draftOf(formOf())).toThrow(expect.objectContaining({ part: 'serial' }));
  });

  test('offers a time that a rule has and the menu has not', () => {
    expect(lasting('90').map(([seconds]) => seconds)).toEqual(['0', '60', '90', '300', '900', '3600', '21600', '86400']);
    expect(lasting('0')[0]).toEqual(['0', 'with one reading']);
  });
});

test.each([
  [{ fired: 0, sensors: 1, readings: 9 }, 'It would not have fired in the last 7 days.'],
  [{ fired: 1, sensors: 1, readings: 9 }, 'It would have fired once in the last 7 days.'],
  [{ fired: 3, sensors: 2, readings: 9 }, 'It would have fired 3 times in the last 7 days.'],
  [{ fired: 0, sensors: 1, readings: 0 }, 'There are no readings of the last 7 days to try it on.'],
  [{ fired: 0, sensors: 0, readings: 0 }, 'It would judge no sensor now.'],
])('%o: %s', (preview, want) => expect(verdict(preview)).toBe(want));
