const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;

/** How long ago, in one unit: precise enough to see a sensor tick, short enough for a card. */
export function ago(thenMs: number, nowMs: number): string {
  const age = nowMs - thenMs;
  if (age < 2 * second) return 'just now';
  if (age < minute) return `${Math.floor(age / second)} s ago`;
  if (age < hour) return `${Math.floor(age / minute)} min ago`;
  if (age < day) return `${Math.floor(age / hour)} h ago`;
  if (age < 60 * day) return `${Math.floor(age / day)} d ago`;
  return new Date(thenMs).toISOString().slice(0, 10);
}

/** A span such as a sensor's silence limit: "10 min", "1 h 30 min". */
export function span(seconds: number): string {
  if (seconds < 60) return `${seconds} s`;
  const parts: string[] = [];
  const add = (size: number, unit: string, rest: number) => {
    const count = Math.floor(rest / size);
    if (count > 0 && parts.length < 2) parts.push(`${count} ${unit}`);
    return rest - count * size;
  };
  let rest = add(86_400, 'd', seconds);
  rest = add(3600, 'h', rest);
  rest = add(60, 'min', rest);
  add(1, 's', rest);
  return parts.join(' ');
}

const two = (n: number) => String(n).padStart(2, '0');

/** Local time of day to the second, with the date in front once it is not today. */
export function clockTime(thenMs: number, nowMs: number): string {
  const then = new Date(thenMs);
  const time = `${two(then.getHours())}:${two(then.getMinutes())}:${two(then.getSeconds())}`;
  if (then.toDateString() === new Date(nowMs).toDateString()) return time;
  return `${then.getFullYear()}-${two(then.getMonth() + 1)}-${two(then.getDate())} ${time}`;
}

/** Milliseconds of an RFC 3339 time; null for null, missing and nonsense alike. */
export function millis(time: string | null | undefined): number | null {
  const ms = Date.parse(time ?? '');
  return Number.isNaN(ms) ? null : ms;
}
