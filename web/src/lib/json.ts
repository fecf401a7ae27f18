/**
 * JSON as the sensor sent it. A number beyond 2^53 would silently change its last digits in JSON.parse;
 * here it becomes a bigint where the engine tells us the source text (older engines fall back to a number).
 */
export type Json = string | number | bigint | boolean | null | Json[] | { [key: string]: Json };

type Reviver = (this: unknown, key: string, value: unknown, context?: { source?: string }) => unknown;

const longDigits = /\d{16}/;

const exact: Reviver = (_key, value, context) => {
  if (typeof value !== 'number' || Number.isSafeInteger(value)) return value;
  const source = context?.source;
  return source !== undefined && /^-?\d+$/.test(source) ? BigInt(source) : value;
};

export function parseJson(text: string): unknown {
  // A reviver costs several times the parse itself, so only texts that could need it pay.
  return longDigits.test(text) ? JSON.parse(text, exact as Parameters<typeof JSON.parse>[1]) : JSON.parse(text);
}

/** Compact text of a value, bigints included (JSON.stringify refuses them). */
export function printJson(value: unknown): string {
  if (typeof value === 'bigint') return value.toString();
  if (Array.isArray(value)) return `[${value.map(printJson).join(',')}]`;
  if (value !== null && typeof value === 'object') {
    const members = Object.entries(value).map(([key, member]) => `${JSON.stringify(key)}:${printJson(member)}`);
    return `{${members.join(',')}}`;
  }
  return JSON.stringify(value) ?? 'null';
}
