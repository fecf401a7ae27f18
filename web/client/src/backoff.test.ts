import { describe, expect, test } from 'vitest';
import { Backoff } from './backoff.js';

describe('Backoff', () => {
  test('the ceiling doubles from 1 s to 30 s', () => {
    const backoff = new Backoff(() => 1);
    expect(Array.from({ length: 8 }, () => backoff.next())).toEqual([1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
  });

  test('the jitter reaches down to half a second at any attempt', () => {
    const backoff = new Backoff(() => 0);
    expect(Array.from({ length: 5 }, () => backoff.next())).toEqual([500, 500, 500, 500, 500]);
  });

  test('stays within bounds after thousands of attempts', () => {
    const backoff = new Backoff();
    for (let i = 0; i < 5000; i++) {
      const wait = backoff.next();
      expect(wait).toBeGreaterThanOrEqual(500);
      expect(wait).toBeLessThanOrEqual(30_000);
    }
  });

  test('reset starts over', () => {
    const backoff = new Backoff(() => 1);
    for (let i = 0; i < 5; i++) backoff.next();
    backoff.reset();
    expect(backoff.next()).toBe(1000);
  });
});
