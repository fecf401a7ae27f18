import type { Sensor } from './api';
import { clockTime, millis, span } from './time';

type Rhythmic = Pick<Sensor, 'silence_after' | 'silence_mode' | 'cadence' | 'last_seen_at'>;

/** As the server judges: three long gaps, within bounds. */
const margin = 3;
const floorSeconds = 30;
const ceilingSeconds = 7 * 86_400;

/** How long the sensor may be quiet before it is silent, in seconds. */
export function silenceOf(sensor: Rhythmic | null, serverDefault: number): number {
  const long = sensor?.silence_mode === 'learned' ? longGap(sensor) : null;
  if (long !== null) return Math.min(Math.max((margin * long) / 1000, floorSeconds), ceilingSeconds);
  return sensor?.silence_after ?? serverDefault;
}

/** When the reading after that of `lastSeen` should be here, by the sensor's own rhythm; null while that is not known. */
export function expectedAt(sensor: Rhythmic, lastSeen: number): number | null {
  const long = longGap(sensor);
  return long === null ? null : lastSeen + long;
}

/** What all its gaps but a few in a hundred are shorter than, in milliseconds. */
function longGap({ cadence, last_seen_at }: Rhythmic): number | null {
  const [by, seen] = [millis(cadence?.expected_by), millis(last_seen_at)];
  return by === null || seen === null ? null : Math.max(by - seen, 0);
}

/** The rhythm in words: "usually every 60 s, expected by 14:03:10"; empty while it is not known. */
export function rhythm(sensor: Rhythmic, lastSeen: number, now: number): string {
  const by = expectedAt(sensor, lastSeen);
  if (by === null) return '';
  return `usually every ${every(sensor.cadence!.typical_seconds)}, ${now <= by ? 'expected' : 'was expected'} by ${clockTime(by, now)}`;
}

/** Whole seconds, but of a sensor that is quick. */
export const every = (seconds: number): string => (seconds < 10 ? `${Math.round(seconds * 10) / 10} s` : span(Math.round(seconds)));
