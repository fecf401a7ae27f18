import { describe, expect, test } from 'vitest';
import type { Frame, Reading, Snapshot } from 'sensorcast-client';
import type { Sensor } from './api';
import { Fleet, stateOf } from './fleet';

const ms = (second: number) => Date.UTC(2026, 0, 1, 12, 0, second);

const nobody = (serial: string): Snapshot => ({ serial, name: `Name ${serial}`, state: 'never_seen', lastSeen: null, reading: null });
const hello = (seq: number, sensors: Snapshot[]): Frame => ({ type: 'hello', resumed: false, epoch: 'e1', seq, sensors });
const reading = (serial: string, seq: number, second: number, data: unknown, received = second): Reading => ({
  type: 'reading', serial, seq, time: ms(second), receivedAt: ms(received), data,
});

describe('Fleet', () => {
  test('hello sets the fleet and removes what it does not name', () => {
    const fleet = new Fleet();
    fleet.apply([hello(1, ['A', 'B'].map(nobody))]);
    const changes = fleet.apply([hello(2, ['B', 'C'].map(nobody))]);
    expect([...fleet.entries.keys()].sort()).toEqual(['B', 'C']);
    expect(changes.membership).toBe(true);
  });

  test('the newest by time is shown; a late one only moves last seen', () => {
    const fleet = new Fleet();
    fleet.apply([hello(1, ['A'].map(nobody)), reading('A', 2, 10, { t: 1 }), reading('A', 3, 5, { t: 2 }, 12)]);
    const entry = fleet.entries.get('A')!;
    expect(entry.reading?.data).toEqual({ t: 1 });
    expect(entry.lastSeen).toBe(ms(12));
  });

  test('a batch hands on every reading in order and names what changed', () => {
    const fleet = new Fleet();
    const changes = fleet.apply([hello(1, ['A', 'B'].map(nobody)), reading('A', 2, 1, { t: 1 }), reading('A', 3, 2, { t: 2 })]);
    expect(changes.readings.get('A')?.map((r) => r.seq)).toEqual([2, 3]);
    expect(changes.readings.has('B')).toBe(false);
  });

  test('a snapshot repeating the shown reading is not a second reading', () => {
    const fleet = new Fleet();
    const again = hello(2, [{ serial: 'A', name: 'A', state: 'online', lastSeen: ms(1), reading: reading('A', 2, 1, { t: 1 }) }]);
    fleet.apply([hello(1, ['A'].map(nobody)), reading('A', 2, 1, { t: 1 })]);
    expect(fleet.apply([again]).readings.size).toBe(0);
    expect(fleet.entries.get('A')!.spark!.size).toBe(1);
  });

  test('readings handed on from one batch are bounded', () => {
    const fleet = new Fleet();
    const flood = Array.from({ length: 5000 }, (_, i) => reading('A', i + 2, i % 60, { t: i }));
    const changes = fleet.apply([hello(1, ['A'].map(nobody)), ...flood]);
    expect(changes.readings.get('A')).toHaveLength(2000);
    expect(changes.readings.get('A')!.at(-1)!.seq).toBe(5001);
    expect(fleet.entries.get('A')!.spark!.size).toBeLessThanOrEqual(40);
  });

  test('a state moves last seen, a gap changes nothing', () => {
    const fleet = new Fleet();
    fleet.apply([hello(1, [nobody('A')])]);
    const changes = fleet.apply([
      { type: 'state', serial: 'A', state: 'silent', lastSeen: ms(7) },
      { type: 'gap', serial: 'A', afterSeq: 1, beforeSeq: 9, dropped: 7, reason: 'slow' },
    ]);
    expect(fleet.entries.get('A')!.lastSeen).toBe(ms(7));
    expect([...changes.serials]).toEqual(['A']);
    expect(changes.readings.size).toBe(0);
  });

  test('a state of an unknown sensor is how one shared later is announced', () => {
    const fleet = new Fleet();
    fleet.apply([hello(1, [])]);
    const changes = fleet.apply([{ type: 'state', serial: 'S', state: 'online', lastSeen: ms(7) }]);
    expect([fleet.entries.get('S')?.lastSeen, changes.membership, changes.strangers]).toEqual([ms(7), true, true]);
  });

  test('history goes under the live sparkline, not over it', () => {
    const fleet = new Fleet();
    fleet.apply([hello(1, ['A'].map(nobody)), reading('A', 5, 20, { temperature: 5 })]);
    const history = [4, 3, 2].map((seq) => reading('A', seq, seq, { temperature: seq }));
    fleet.seed('A', history);
    expect(fleet.entries.get('A')!.spark!.window().values).toEqual([2, 3, 4, 5]);
  });

  test('a sensor not in the registry asks for it', () => {
    const fleet = new Fleet();
    expect(fleet.apply([reading('new', 2, 1, { t: 1 })]).strangers).toBe(true);
    expect(fleet.entries.has('new')).toBe(true);
  });
});

describe('stateOf', () => {
  const own = { silence_after: 60 } as Sensor;
  test.each([
    ['never seen', null, null, 'never_seen'],
    ['inside the default', ms(0) - 599_000, null, 'online'],
    ['at the default', ms(0) - 600_000, null, 'silent'],
    ['inside its own limit', ms(0) - 59_000, own, 'online'],
    ['past its own limit', ms(0) - 60_000, own, 'silent'],
  ])('%s', (_claim, lastSeen, sensor, want) => {
    expect(stateOf({ lastSeen, sensor }, ms(0), 600)).toBe(want);
  });
});
