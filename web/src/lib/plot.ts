import { minus, showNumber } from './value';

/** Prepares a window of points for drawing. */
export interface Points {
  times: number[];
  values: (number | null)[];
}

export interface Summary {
  last: number;
  min: number;
  max: number;
  mean: number;
}

/** A gap this many times the usual interval is silence, and drawn as one: a line across it would be an invention. */
const gapFactor = 5;
const gapFloorMs = 5_000;

export function withGaps(times: number[], values: number[]): Points {
  const deltas = times.slice(1).map((time, i) => time - times[i]!);
  const usual = [...deltas].sort((a, b) => a - b)[Math.floor(deltas.length / 2)] ?? 0;
  const limit = Math.max(usual * gapFactor, gapFloorMs);
  const out: Points = { times: [], values: [] };
  times.forEach((time, i) => {
    if (i > 0 && deltas[i - 1]! > limit) {
      out.times.push((times[i - 1]! + time) / 2);
      out.values.push(null);
    }
    out.times.push(time);
    out.values.push(values[i]!);
  });
  return out;
}

export function summarise(values: (number | null)[]): Summary | undefined {
  const numbers = values.filter((value): value is number => value !== null && Number.isFinite(value));
  if (numbers.length === 0) return undefined;
  let [min, max, sum] = [Infinity, -Infinity, 0];
  for (const number of numbers) {
    min = Math.min(min, number);
    max = Math.max(max, number);
    sum += number;
  }
  return { last: numbers[numbers.length - 1]!, min, max, mean: sum / numbers.length };
}

/** Labels for an axis: as few decimals as show every split exactly, so that no two read the same. */
export function axisNumbers(splits: number[]): string[] {
  if (splits.some((split) => Math.abs(split) >= 1e9)) return splits.map(showNumber);
  const exact = (decimals: number) => splits.every((split) => Math.abs(Number(split.toFixed(decimals)) - split) < 1e-9);
  let decimals = 0;
  while (decimals < 9 && !exact(decimals)) decimals++;
  return splits.map((split) => minus(split.toFixed(decimals)));
}

/** An SVG path through values spread evenly over the width; flat lines sit in the middle. */
export function sparkPath(values: number[], width: number, height: number): string {
  if (values.length < 2) return '';
  let [min, max] = [Infinity, -Infinity];
  for (const value of values) {
    min = Math.min(min, value);
    max = Math.max(max, value);
  }
  const y = (value: number) => (max === min ? height / 2 : height - ((value - min) / (max - min)) * height);
  const step = width / (values.length - 1);
  return values.map((value, i) => `${i === 0 ? 'M' : 'L'}${(i * step).toFixed(1)} ${y(value).toFixed(1)}`).join('');
}
