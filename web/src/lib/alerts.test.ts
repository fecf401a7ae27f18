// @vitest-environment jsdom
import type { Alert } from 'sensorcast-client';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { alerts } from './alerts.svelte';
import { api, type Happening } from './api';
import { bandOf, share } from './band';
import { expectedAt, rhythm, silenceOf } from './cadence';
import { announcement, byUrgency, matter } from './incident';

const minute = 60_000;
const alert = (id: string, more: Partial<Alert> = {}): Alert => ({
  type: 'alert', id, serial: 'SN1', name: 'Cellar', kind: 'silent', cause: 'unknown', state: 'open', severity: 'warning', message: 'no reading for 10 minutes',
  openedAt: 0, resolvedAt: null, acknowledgedAt: null, acknowledgedBy: '', flapping: false, episodes: 1, ...more,
});
const over: Partial<Alert> = { state: 'resolved', resolvedAt: 5 };
const looked: Partial<Alert> = { acknowledgedAt: 3, acknowledgedBy: 'ann' };

describe('an announcement names the sensor and says what became of it', () => {
  test.each<[string, Partial<Alert>, string]>([
    ['opened', {}, 'Cellar (SN1) is silent: no reading for 10 minutes'],
    ['resolved', { ...over, ...looked }, 'Cellar (SN1) is back.'],
    ['acknowledged', looked, 'ann looks after it: Cellar (SN1) is silent.'],
    ['without a name', { name: '', message: '' }, 'SN1 is silent.'],
    ['flapping', { flapping: true, message: '' }, 'Cellar (SN1) keeps falling silent.'],
    ['a rule', { kind: 'threshold', message: 'temperature above 30' }, 'Cellar (SN1) needs a look: temperature above 30'],
    ['a rule, over', { kind: 'threshold', ...over }, 'Cellar (SN1) is well again.'],
  ])('%s', (_, more, want) => expect(announcement(alert('a', more))).toBe(want));

  test('what is over is told of as over', () => expect([alert('a', over), alert('a', { ...over, kind: 'threshold' })].map(matter)).toEqual(['was silent', 'needed a look']));
});

test('what is grave comes first, then what nobody looks after, then the newest', () => {
  const list = [alert('info', { severity: 'info', openedAt: 9 }), alert('old'), alert('looked', { ...looked, openedAt: 9 }), alert('new', { openedAt: 5 }), alert('grave', { severity: 'critical' })];
  expect(list.sort(byUrgency).map(({ id }) => id)).toEqual(['grave', 'new', 'old', 'looked', 'info']);
});

describe('open alerts', () => {
  afterEach(() => {
    alerts.clear();
    vi.restoreAllMocks();
  });

  test('follow the list and the frames', async () => {
    vi.spyOn(api, 'alerts').mockResolvedValue({ items: [alert('a'), alert('b')], next: null });
    await alerts.load();
    alerts.hear([alert('c'), alert('a', over), alert('b', looked)]);
    expect(alerts.open.map(({ id }) => id)).toEqual(['c', 'b']);
    expect(alerts.recent.map(({ id }) => id)).toEqual(['a']);
  });

  test('a frame that comes while the list is under way is the newer word', async () => {
    let answer = (_: { items: Alert[]; next: null }) => {};
    vi.spyOn(api, 'alerts').mockReturnValue(new Promise((done) => (answer = done)));
    const loading = alerts.load();
    alerts.hear([alert('a', over), alert('c')]);
    answer({ items: [alert('a'), alert('b')], next: null });
    await loading;
    expect(alerts.open.map(({ id }) => id).sort()).toEqual(['b', 'c']);
  });

  test('a list that comes after signing out fills nothing', async () => {
    let answer = (_: { items: Alert[]; next: null }) => {};
    vi.spyOn(api, 'alerts').mockReturnValue(new Promise((done) => (answer = done)));
    const loading = alerts.load();
    alerts.clear();
    answer({ items: [alert('a')], next: null });
    await loading;
    expect(alerts.open).toEqual([]);
    expect(alerts.loaded).toBe(false);
  });

  test('those of a sensor that is gone are gone', () => {
    alerts.hear([alert('a'), alert('b', { serial: 'SN2' })]);
    alerts.forget('SN1');
    expect(alerts.open.map(({ id }) => id)).toEqual(['b']);
  });
});

describe('the band', () => {
  const at = (minutes: number) => new Date(minutes * minute).toISOString();
  const happened = (minutes: number, event: Happening['event'], alert_id: string | null = 'a'): Happening => ({ at: at(minutes), event, alert_id, text: null });
  const window = { from: 0, to: 100 * minute };
  const now = (silent: boolean, alerts = 0) => ({ silent, alerts });
  const minutes = (stretches: { from: number; to: number }[]) => stretches.map(({ from, to }) => [from / minute, to / minute]);

  test('nothing happened: as it is now', () => {
    expect(minutes(bandOf([], window, now(false)).online)).toEqual([[0, 100]]);
    expect(minutes(bandOf([], window, now(true)).silent)).toEqual([[0, 100]]);
  });

  test('who came back was silent before, who fell silent was not', () => {
    const back = bandOf([happened(30, 'online')], window, now(false));
    expect([minutes(back.silent), minutes(back.online)]).toEqual([[[0, 30]], [[30, 100]]]);
    const fell = bandOf([happened(30, 'silent')], window, now(true));
    expect([minutes(fell.online), minutes(fell.silent)]).toEqual([[[0, 30]], [[30, 100]]]);
    expect(share(fell)).toBeCloseTo(0.3);
  });

  test('begins where the sensor was added', () => {
    const band = bandOf([happened(60, 'silent'), happened(40, 'created', null)], window, now(true));
    expect([minutes(band.online), minutes(band.silent)]).toEqual([[[40, 60]], [[60, 100]]]);
  });

  test('other alerts are shown beside it, from where they are known', () => {
    const band = bandOf([happened(80, 'opened', 'c'), happened(50, 'resolved', 'b'), happened(20, 'resolved', 'a')], window, now(false, 1));
    expect(minutes(band.alerts)).toEqual([[0, 20], [0, 50], [80, 100]]);
    expect(minutes(bandOf([], window, now(false, 1)).alerts)).toEqual([[0, 100]]);
  });

  test('what is not known has no share', () => expect(share({ online: [], silent: [], alerts: [] })).toBeNull());
});

describe('cadence', () => {
  const seen = Date.UTC(2026, 0, 31, 12, 0, 0);
  const sensor = (mode: 'fixed' | 'learned', longSeconds: number, own: number | null = null) => ({
    silence_mode: mode, silence_after: own, last_seen_at: new Date(seen).toISOString(),
    cadence: { typical_seconds: 60.04, expected_by: new Date(seen + longSeconds * 1000).toISOString() },
  });

  test('a learned silence is three long gaps, within bounds', () => {
    expect([70, 1, 86_400 * 5].map((long) => silenceOf(sensor('learned', long), 600))).toEqual([210, 30, 7 * 86_400]);
  });

  test('until it is known, and where it is not wanted, the set time counts', () => {
    expect(silenceOf({ ...sensor('learned', 70, 300), cadence: null }, 600)).toBe(300);
    expect([silenceOf(sensor('fixed', 70), 600), silenceOf(sensor('fixed', 70, 45), 600), silenceOf(null, 600)]).toEqual([600, 45, 600]);
  });

  test('the next reading is expected after the newest, whenever that came', () => {
    expect(expectedAt(sensor('fixed', 70), seen + 5000)).toBe(seen + 75_000);
    expect(rhythm(sensor('fixed', 70), seen, seen + 1000)).toMatch(/^usually every 1 min, expected by \d\d:01:10$/);
    expect(rhythm(sensor('fixed', 70), seen, seen + 71_000)).toMatch(/was expected by/);
    expect(rhythm({ ...sensor('fixed', 70), cadence: null }, seen, seen)).toBe('');
  });
});
