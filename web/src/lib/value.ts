import { printJson } from './json';

const maxText = 80;

/** A metric's value for people: short enough for a card, never rounded so far that it misleads. */
export function showValue(value: unknown): string {
  if (typeof value === 'number') return showNumber(value);
  if (typeof value === 'boolean') return String(value);
  if (value === null || value === undefined) return '–';
  const text = typeof value === 'string' ? value : printJson(value);
  return text.length > maxText ? text.slice(0, maxText - 1) + '…' : text;
}

export function showNumber(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e15) return minus(String(value));
  if (size >= 1e9 || size < 1e-3) return minus(value.toExponential(3).replace(/\.?0+e/, 'e'));
  const decimals = size >= 1000 ? 1 : size >= 1 ? 2 : 4;
  return minus(String(Number(value.toFixed(decimals))));
}

/** A real minus sign is as wide as a digit, so columns stay aligned. */
export const minus = (text: string) => text.replace(/-/g, '−');

/** The value exactly as the sensor sent it, for tables and tooltips. */
export function exactValue(value: unknown): string {
  return typeof value === 'string' ? value : printJson(value);
}
