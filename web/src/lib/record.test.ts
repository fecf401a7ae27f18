import { describe, expect, test } from 'vitest';
import { listing } from './listing';
import { sparkPath, summarise, withGaps } from './plot';
import { Record } from './record';
import { changeOf, creationOf, draftOf } from './sensorform';
import { Skew } from './skew';
import type { Entry } from './fleet';
import type { Sensor } from './api';

const reading = (seq: number, data: unknown) => ({ type: 'reading' as const, serial: 'A', seq, time: seq * 1000, receivedAt: seq * 1000, data });

describe('Record', () => {
  test('history and what arrived meanwhile meet without doubles', () => {
    const record = new Record();
    record.restart([3, 2, 1].map((seq) => reading(seq, { t: seq })), [3, 4].map((seq) => reading(seq, { t: seq })));
    record.add([reading(4, { t: 4 }), reading(5, { t: 5 })]);
    expect(record.rows.map((row) => row.seq)).toEqual([5, 4, 3, 2, 1]);
    expect(record.rings.get('t')!.window().values).toEqual([1, 2, 3, 4, 5]);
  });

  test('rows and points are bounded', () => {
    const record = new Record();
    record.add(Array.from({ length: 6000 }, (_, i) => reading(i + 1, { t: i })));
    expect(record.rows).toHaveLength(50);
    expect(record.rows[0]!.seq).toBe(6000);
    expect(record.rings.get('t')!.size).toBe(4096);
  });

  test('only what was always boolean is a switch', () => {
    const record = new Record();
    record.add([reading(1, { open: true, level: false }), reading(2, { open: false, level: 3 })]);
    expect([...record.switches]).toEqual(['open']);
  });
});

describe('withGaps', () => {
  test('silence breaks the line, jitter does not', () => {
    const points = withGaps([0, 1000, 2100, 3000, 60_000, 61_000], [1, 2, 3, 4, 5, 6]);
    expect(points.values).toEqual([1, 2, 3, 4, null, 5, 6]);
    expect(points.times[4]).toBe(31_500);
  });

  test('an empty window stays empty', () => expect(withGaps([], [])).toEqual({ times: [], values: [] }));
});

test('summarise passes over gaps', () => {
  expect(summarise([1, null, 3])).toEqual({ last: 3, min: 1, max: 3, mean: 2 });
  expect(summarise([null])).toBeUndefined();
});

test('sparkPath needs two points and centres a flat line', () => {
  expect(sparkPath([1], 10, 10)).toBe('');
  expect(sparkPath([5, 5], 10, 10)).toBe('M0.0 5.0L10.0 5.0');
  expect(sparkPath([0, 1], 10, 10)).toBe('M0.0 10.0L10.0 0.0');
});

describe('Skew', () => {
  test('the fastest frame is the best witness', () => {
    const skew = new Skew();
    skew.frame(5_000, 1_200);
    skew.frame(6_000, 2_010);
    skew.frame(7_000, 3_900);
    expect(skew.offset).toBe(3_990);
  });

  test('replayed frames cannot outweigh the Date header', () => {
    const skew = new Skew();
    skew.date(100_000, 99_000, 99_100);
    skew.frame(10_000, 99_200);
    expect(Math.abs(skew.offset - 1_450)).toBeLessThanOrEqual(1_000);
  });

  test('old bounds are forgotten when a clock is corrected', () => {
    const skew = new Skew(1_000);
    skew.frame(100_000, 0);
    for (let now = 2_000; now < 10_000; now += 500) skew.frame(now, now);
    expect(skew.offset).toBe(0);
  });
});

describe('listing', () => {
  const now = 10_000_000;
  const entry = (serial: string, name: string, age: number | null, tags: string[] = []): Entry => ({
    serial, name, sensor: { tags } as Sensor, lastSeen: age === null ? null : now - age, reading: null, sparkMetric: '', spark: null,
  });
  const all = [entry('b', 'Room 10', 1000, ['x']), entry('a', 'Room 2', 900_000), entry('c', '', null, ['x'])];
  const choice = { q: '', state: '', tag: '', whose: '', sort: 'name' } as const;
  const serials = (change: object) => listing(all, { ...choice, ...change }, now, 600).entries.map((e) => e.serial);

  test('sorts names as people count', () => expect(serials({})).toEqual(['c', 'a', 'b']));
  test('sorts by last seen', () => expect(serials({ sort: 'seen' })).toEqual(['b', 'a', 'c']));
  test('sorts silent ones first', () => expect(serials({ sort: 'state' })).toEqual(['a', 'c', 'b']));
  test('filters by state, tag and words', () => {
    expect(serials({ state: 'silent' })).toEqual(['a']);
    expect(serials({ tag: 'x' })).toEqual(['c', 'b']);
    expect(serials({ q: 'ROOM 10' })).toEqual(['b']);
  });
  test('tells own sensors from those of others', () => {
    const mine = entry('m', 'Mine', 0);
    const theirs = { ...entry('t', 'Theirs', 0), sensor: { access: 'viewer' } as Sensor };
    mine.sensor = { access: 'owner' } as Sensor;
    const whose = (whose: '' | 'own' | 'shared') => listing([mine, theirs], { ...choice, whose }, now, 600).entries.map((e) => e.serial);
    expect([whose(''), whose('own'), whose('shared')]).toEqual([['m', 't'], ['m'], ['t']]);
    expect([listing([mine], choice, now, 600).shared, listing([mine, theirs], choice, now, 600).shared]).toEqual([false, true]);
  });
  test('counts what the state buttons would show', () => {
    expect(listing(all, { ...choice, state: 'silent', tag: 'x' }, now, 600).counts).toEqual({ online: 1, silent: 0, never_seen: 1 });
  });
});

describe('sensor form', () => {
  const sensor = { serial_no: 'a', name: 'A', description: '', sensor_type: '', manufacturer: '', mac_address: null, tags: ['x'], silence_after: 60 } as unknown as Sensor;

  test('what was left empty is left out', () => {
    expect(creationOf({ ...draftOf(), name: ' Shed ', tags: 'a, b,,a' })).toEqual({ name: 'Shed', tags: ['a', 'b'] });
  });

  test('only what changed is sent, and an emptied limit is null', () => {
    expect(changeOf({ ...draftOf(sensor), name: 'B', silence_after: '' }, sensor)).toEqual({ name: 'B', silence_after: null });
    expect(changeOf(draftOf(sensor), sensor)).toEqual({});
  });

  test('the silence is the server’s, its own, or learned', () => {
    const learned = { ...sensor, silence_mode: 'learned' } as Sensor;
    expect([undefined, sensor, learned].map((one) => draftOf(one).silence)).toEqual(['default', 'own', 'learned']);
    expect(changeOf({ ...draftOf(sensor), silence: 'default' }, sensor)).toEqual({ silence_after: null });
    expect(changeOf({ ...draftOf(sensor), silence: 'learned' }, sensor)).toEqual({ silence_mode: 'learned' });
    expect(changeOf({ ...draftOf(learned), silence: 'own', silence_after: '90' }, learned)).toEqual({ silence_mode: 'fixed', silence_after: 90 });
    expect(creationOf({ ...draftOf(), silence: 'learned' })).toEqual({ silence_mode: 'learned' });
    expect(creationOf({ ...draftOf(), silence: 'default', silence_after: '90' })).toEqual({});
  });
});
