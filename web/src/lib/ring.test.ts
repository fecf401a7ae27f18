import { describe, expect, test } from 'vitest';
import { Ring } from './ring';

const filled = (capacity: number, times: number[]) => {
  const ring = new Ring(capacity);
  times.forEach((time) => ring.push(time, time * 10));
  return ring;
};

describe('Ring', () => {
  test('keeps the newest when full', () => {
    const ring = filled(3, [1, 2, 3, 4, 5]);
    expect(ring.size).toBe(3);
    expect(ring.window()).toEqual({ times: [3, 4, 5], values: [30, 40, 50] });
  });

  test('a window starts where asked', () => {
    expect(filled(10, [1, 2, 3, 4]).window(3).times).toEqual([3, 4]);
    expect(filled(10, [1, 2]).window(9).times).toEqual([]);
  });

  test('late measurements are put in order', () => {
    expect(filled(4, [10, 30, 20, 40, 25]).window()).toEqual({ times: [20, 25, 30, 40], values: [200, 250, 300, 400] });
  });

  test('windows are copies', () => {
    const ring = filled(2, [1, 2]);
    const before = ring.window();
    ring.push(3, 30);
    expect(before.times).toEqual([1, 2]);
  });
});
