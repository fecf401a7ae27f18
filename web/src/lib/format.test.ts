import { describe, expect, test } from 'vitest';
import { parseJson, printJson } from './json';
import { byInterest, metricsOf, numeric } from './metric';
import { axisNumbers } from './plot';
import { ago, clockTime, millis, span } from './time';
import { unitOf } from './unit';
import { showValue } from './value';

describe('ago', () => {
  test.each([
    [-5_000, 'just now'], [0, 'just now'], [1_999, 'just now'], [12_400, '12 s ago'], [59_999, '59 s ago'],
    [60_000, '1 min ago'], [3_599_999, '59 min ago'], [3_600_000, '1 h ago'], [86_400_000, '1 d ago'], [59 * 86_400_000, '59 d ago'],
  ])('%d ms', (age, want) => expect(ago(1_800_000_000_000 - age, 1_800_000_000_000)).toBe(want));

  test('long ago is a date', () => expect(ago(Date.UTC(2025, 2, 4, 12), Date.UTC(2026, 2, 4))).toBe('2025-03-04'));
});

describe('span', () => {
  test.each([[45, '45 s'], [600, '10 min'], [5400, '1 h 30 min'], [90, '1 min 30 s'], [86_400, '1 d'], [90_061, '1 d 1 h']])(
    '%d s', (seconds, want) => expect(span(seconds)).toBe(want),
  );
});

describe('clockTime', () => {
  const noon = new Date(2026, 4, 6, 12, 3, 9).getTime();
  test('today is a time', () => expect(clockTime(noon, noon + 1000)).toBe('12:03:09'));
  test('another day has its date', () => expect(clockTime(noon, noon + 2 * 86_400_000)).toBe('2026-05-06 12:03:09'));
});

test('millis of nothing is nothing', () => {
  expect([millis(null), millis(undefined), millis('soon')]).toEqual([null, null, null]);
  expect(millis('1970-01-01T00:00:01.500Z')).toBe(1500);
});

describe('unitOf', () => {
  test.each([
    ['temperature', '°C'], ['Humidity', '%'], ['outside.temperature', '°C'], ['pressure', 'hPa'], ['co2', 'ppm'],
    ['rssi', 'dBm'], ['mystery', ''], ['constructor', ''], ['', ''],
  ])('%s', (metric, want) => expect(unitOf(metric)).toBe(want));
});

describe('showValue', () => {
  test.each<[unknown, string]>([
    [21.5, '21.5'], [21.456, '21.46'], [-3, '−3'], [1013.27, '1013.3'], [0.01234, '0.0123'], [0, '0'], [1e20, '1e+20'],
    [0.0000123, '1.23e−5'], [true, 'true'], [null, '–'], ['hello', 'hello'], [123456789012345678n, '123456789012345678'],
    [[1, 2], '[1,2]'],
  ])('%s', (value, want) => expect(showValue(value)).toBe(want));

  test('long text is cut', () => expect(showValue('x'.repeat(500))).toHaveLength(80));
});

describe('metrics', () => {
  test('nested objects get dotted names, arrays stay whole', () => {
    const names = metricsOf({ a: 1, wind: { speed: 2, gust: { max: 3 } }, list: [1] }).map((metric) => metric.name);
    expect(names).toEqual(['a', 'wind.speed', 'wind.gust.max', 'list']);
  });

  test('a payload cannot fill the page', () => {
    const wide = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`m${i}`, i]));
    expect(metricsOf(wide)).toHaveLength(64);
  });

  test('booleans are 0 and 1, text is not drawn', () => {
    expect([true, false, 2.5, 7n, 'x', null].map(numeric)).toEqual([1, 0, 2.5, 7, undefined, undefined]);
  });

  test('what people look for comes first, housekeeping last', () => {
    const order = byInterest(metricsOf({ battery: 1, rssi: -60, flow: 2, note: 'x', temperature: 20 })).map((metric) => metric.name);
    expect(order).toEqual(['temperature', 'flow', 'note', 'battery', 'rssi']);
  });
});

describe('json', () => {
  test('prints what it read, nesting and bigints included', () => {
    const text = '{"a":[1,{"b":null}],"c":"\\"q\\"","d":true}';
    expect(printJson(parseJson(text))).toBe(text);
    expect(printJson({ n: 9007199254740993n })).toBe('{"n":9007199254740993}');
  });
});

test('axis labels show every split exactly and no two alike', () => {
  expect(axisNumbers([22.855, 22.86, 22.865])).toEqual(['22.855', '22.860', '22.865']);
  expect(axisNumbers([-10, 0, 10])).toEqual(['\u221210', '0', '10']);
  expect(axisNumbers([0.1, 0.2, 0.30000000000000004])).toEqual(['0.1', '0.2', '0.3']);
});
