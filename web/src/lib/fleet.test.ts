import { describe, expect, test } from 'vitest';
import type { Sensor } from './api';
import { Fleet, stateOf } from './fleet';
import { parseFrame, type Frame } from './frame';

const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 12, 0, second)).toISOString();
const ms = (second: number) => Date.UTC(2026, 0, 1, 12, 0, second);

function frames(...raw: object[]): Frame[] {
  return raw.map((frame) => {
    const parsed = parseFrame(JSON.stringify(frame));
    if (!parsed) throw new Error(`not understood: ${JSON.stringify(frame)}`);
    return parsed;
  });
}

const hello = (seq: number, serials: string[], extra: object = {}) => ({
  type: 'hello', protocol: 1, epoch: 'e1', seq, resumed: false,
  sensors: serials.map((serial_no) => ({ serial_no, name: `Name ${serial_no}`, state: 'never_seen', last_seen_at: null, reading: null })),
  ...extra,
});
const reading = (serial_no: string, seq: number, second: number, data: unknown, received = second) => ({
  type: 'reading', serial_no, seq, time: at(second), received_at: at(received), data,
});

describe('Fleet', () => {
  test('hello sets the fleet and removes what it does not name', () => {
    const fleet = new Fleet();
    fleet.apply(frames(hello(1, ['A', 'B'])));
    const changes = fleet.apply(frames(hello(2, ['B', 'C'])));
    expect([...fleet.entries.keys()].sort()).toEqual(['B', 'C']);
    expect(changes.membership).toBe(true);
  });

  test('the newest by time is shown; a late one only moves last seen', () => {
    const fleet = new Fleet();
    fleet.apply(frames(hello(1, ['A']), reading('A', 2, 10, { t: 1 }), reading('A', 3, 5, { t: 2 }, 12)));
    const entry = fleet.entries.get('A')!;
    expect(entry.reading?.data).toEqual({ t: 1 });
    expect(entry.lastSeen).toBe(ms(12));
  });

  test('a batch hands on every reading in order and names what changed', () => {
    const fleet = new Fleet();
    const changes = fleet.apply(frames(hello(1, ['A', 'B']), reading('A', 2, 1, { t: 1 }), reading('A', 3, 2, { t: 2 })));
    expect(changes.readings.get('A')?.map((r) => r.seq)).toEqual([2, 3]);
    expect(changes.readings.has('B')).toBe(false);
  });

  test('a snapshot repeating the shown reading is not a second reading', () => {
    const fleet = new Fleet();
    const again = { ...hello(2, []), sensors: [{ serial_no: 'A', name: 'A', state: 'online', last_seen_at: at(1), reading: reading('A', 2, 1, { t: 1 }) }] };
    fleet.apply(frames(hello(1, ['A']), reading('A', 2, 1, { t: 1 })));
    expect(fleet.apply(frames(again)).readings.size).toBe(0);
    expect(fleet.entries.get('A')!.spark!.size).toBe(1);
  });

  test('readings handed on from one batch are bounded', () => {
    const fleet = new Fleet();
    const flood = Array.from({ length: 5000 }, (_, i) => reading('A', i + 2, i % 60, { t: i }));
    const changes = fleet.apply(frames(hello(1, ['A']), ...flood));
    expect(changes.readings.get('A')).toHaveLength(2000);
    expect(changes.readings.get('A')!.at(-1)!.seq).toBe(5001);
    expect(fleet.entries.get('A')!.spark!.size).toBeLessThanOrEqual(40);
  });

  test('the cursor follows readings and per-sensor gaps, and survives a resumed hello', () => {
    const fleet = new Fleet();
    fleet.apply(frames(hello(41, ['A']), reading('A', 42, 1, {})));
    expect(fleet.cursor).toEqual({ epoch: 'e1', seq: 42 });
    fleet.apply(frames({ type: 'gap', serial_no: 'A', after_seq: 42, before_seq: 57, dropped: 14, reason: 'slow' }));
    expect(fleet.cursor!.seq).toBe(56);
    fleet.apply(frames(hello(90, ['A'], { resumed: true })));
    expect(fleet.cursor!.seq).toBe(56);
    fleet.apply(frames(hello(10, ['A'], { epoch: 'e2' })));
    expect(fleet.cursor).toEqual({ epoch: 'e2', seq: 10 });
  });

  test('history goes under the live sparkline, not over it', () => {
    const fleet = new Fleet();
    fleet.apply(frames(hello(1, ['A']), reading('A', 5, 20, { temperature: 5 })));
    const history = [4, 3, 2].map((seq) => ({ seq, time: ms(seq), receivedAt: ms(seq), data: { temperature: seq } }));
    fleet.seed('A', history);
    expect(fleet.entries.get('A')!.spark!.window().values).toEqual([2, 3, 4, 5]);
  });

  test('a sensor not in the registry asks for it', () => {
    const fleet = new Fleet();
    expect(fleet.apply(frames(reading('new', 2, 1, { t: 1 }))).strangers).toBe(true);
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

describe('parseFrame', () => {
  test('unknown types and nonsense are passed over', () => {
    expect(parseFrame('{"type":"tomorrow"}')).toBeUndefined();
    expect(parseFrame('{"type":')).toBeUndefined();
    expect(parseFrame('null')).toBeUndefined();
    expect(parseFrame('{"type":"reading","serial_no":"A","time":"not a time"}')).toBeUndefined();
  });
});
