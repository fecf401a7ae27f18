/**
 * The server's frames, checked and in the words of a page: camelCase, times as milliseconds since 1970 (what `Date`
 * and charts take). Pure.
 */
import { SensorcastError } from './error.js';

export type SensorState = 'online' | 'silent' | 'never_seen';

/** One reading of one sensor. */
export interface Reading {
  type: 'reading';
  serial: string;
  /** Position in the server's one log of readings: rises from reading to reading, whatever the sensor. */
  seq: number;
  /** When it was measured. */
  time: number;
  /** When the server got it. */
  receivedAt: number;
  /** The metrics as the sensor sent them. */
  data: unknown;
}

/** One sensor as a hello shows it. */
export interface Snapshot {
  serial: string;
  name: string;
  state: SensorState;
  lastSeen: number | null;
  /** The newest reading; null when there is none, and in a resumed hello, which is followed by what was missed. */
  reading: Reading | null;
}

/** The beginning of every connection: the sensors this viewer may see, all of them and no others. */
export interface Hello {
  type: 'hello';
  /** True: what was missed follows, nothing twice. False: start over from these sensors. */
  resumed: boolean;
  epoch: string;
  seq: number;
  sensors: Snapshot[];
}

/** A sensor fell silent, or was heard of again. */
export interface StateChange {
  type: 'state';
  serial: string;
  state: SensorState;
  lastSeen: number | null;
}

/** Readings with afterSeq < seq < beforeSeq were left out: of one sensor, or, where serial is null, of any of them. */
export interface Gap {
  type: 'gap';
  serial: string | null;
  afterSeq: number;
  beforeSeq: number;
  /** How many readings; null when the server does not say. */
  dropped: number | null;
  /** `slow`, `rate`; for a whole gap `pruned`, `too_many`, `epoch`. */
  reason: string;
}

/** An alert was opened, changed or resolved. */
export interface Alert {
  type: 'alert';
  id: string;
  serial: string;
  /** The sensor's, empty when it has none. */
  name: string;
  kind: string;
  cause: string;
  state: string;
  severity: string;
  message: string;
  openedAt: number | null;
  resolvedAt: number | null;
  acknowledgedAt: number | null;
  /** Who looks after it; empty: nobody yet. */
  acknowledgedBy: string;
  /** It came and went so often that it stays open until it has kept away for a while. */
  flapping: boolean;
  /** How often what is wrong began. */
  episodes: number;
}

/** What a page hears of. */
export type Frame = Hello | Reading | StateChange | Gap | Alert;

/** What the connection itself deals with. */
type Inner =
  | { type: 'resume'; token: string }
  | { type: 'ack'; id: string; commandId: string }
  | { type: 'error'; id: string; error: SensorcastError };

type Raw = { [key: string]: unknown };

/** The protocol this client speaks; a server with another says so in its hello. */
const protocol = 1;

/** Undefined for types newer than this client. Throws a SensorcastError that names what is wrong, and repeats none of it. */
export function parseFrame(text: string, parse: (text: string) => unknown): Frame | Inner | undefined {
  let raw: unknown;
  try {
    raw = parse(text);
  } catch {
    throw malformed('a frame that is not JSON');
  }
  if (!isObject(raw) || typeof raw['type'] !== 'string') throw malformed('a frame without a type');
  switch (raw['type']) {
    case 'hello':
      return helloOf(raw);
    case 'reading':
      return readingOf(serialOf(raw), raw);
    case 'state':
      return { type: 'state', serial: serialOf(raw), ...stateOf(raw) };
    case 'gap':
      return gapOf(raw);
    case 'alert':
      if (!isObject(raw['alert'])) throw malformed('an alert frame without an alert');
      return alertOf(raw['alert']);
    case 'resume':
      if (str(raw['token']) === '') throw malformed('a resume frame without a token');
      return { type: 'resume', token: str(raw['token']) };
    case 'ack':
      return { type: 'ack', id: idOf(raw), commandId: str(raw['command_id']) };
    case 'error': {
      const message = str(raw['message']) || 'the server reports an error and says no more';
      const serial = str(raw['serial_no']) || undefined;
      return { type: 'error', id: idOf(raw), error: new SensorcastError(str(raw['code']) || 'unknown', message, { serial }) };
    }
  }
  return undefined;
}

function helloOf(raw: Raw): Hello {
  const spoken = Number(raw['protocol'] ?? protocol);
  if (spoken !== protocol) {
    const message = `the server speaks protocol ${spoken} and this client ${protocol}: update sensorcast-client`;
    throw new SensorcastError('protocol', message, { permanent: true });
  }
  if (!Array.isArray(raw['sensors'])) throw malformed('a hello without sensors');
  const sensors = raw['sensors'].map((sensor: unknown): Snapshot => {
    if (!isObject(sensor)) throw malformed('a hello with a sensor that is no object');
    const serial = serialOf(sensor);
    const reading = isObject(sensor['reading']) ? readingOf(serial, sensor['reading']) : null;
    return { serial, name: str(sensor['name']), ...stateOf(sensor), reading };
  });
  return { type: 'hello', resumed: raw['resumed'] === true, epoch: str(raw['epoch']), seq: seqOf(raw, 'seq'), sensors };
}

/** Also reads the items of `GET /api/v1/sensors/{serial_no}/readings`. Throws when `raw` is no reading. */
export function readingOf(serial: string, raw: { [key: string]: unknown }): Reading {
  const receivedAt = millis(raw['received_at']);
  const time = millis(raw['time']) ?? receivedAt;
  if (time === null) throw malformed('a reading without a time');
  return { type: 'reading', serial, seq: seqOf(raw, 'seq'), time, receivedAt: receivedAt ?? time, data: raw['data'] ?? null };
}

function gapOf(raw: Raw): Gap {
  return {
    type: 'gap',
    serial: raw['serial_no'] === undefined ? null : serialOf(raw),
    afterSeq: seqOf(raw, 'after_seq'),
    beforeSeq: seqOf(raw, 'before_seq'),
    dropped: raw['dropped'] === undefined ? null : seqOf(raw, 'dropped'),
    reason: str(raw['reason']),
  };
}

/** Also reads the items of `GET /api/v1/alerts`. */
export function alertOf(alert: { [key: string]: unknown }): Alert {
  return {
    type: 'alert',
    id: idOf(alert),
    serial: str(alert['serial_no']),
    name: str(alert['name']),
    kind: str(alert['kind']),
    cause: str(alert['cause']),
    state: str(alert['state']),
    severity: str(alert['severity']),
    message: str(alert['message']),
    openedAt: millis(alert['opened_at']),
    resolvedAt: millis(alert['resolved_at']),
    acknowledgedAt: millis(alert['acknowledged_at']),
    acknowledgedBy: str(alert['acknowledged_by']),
    flapping: alert['flapping'] === true,
    episodes: Number(alert['episodes'] ?? 1),
  };
}

const stateOf = (raw: Raw) => ({ state: str(raw['state']) as SensorState, lastSeen: millis(raw['last_seen_at']) });

function serialOf(raw: Raw): string {
  const serial = str(raw['serial_no']);
  if (serial === '') throw malformed(`a ${str(raw['type']) || 'sensor'} without a serial_no`);
  return serial;
}

function seqOf(raw: Raw, key: string): number {
  const seq = Number(raw[key] ?? NaN); // a page's own parser may give bigints
  if (!Number.isSafeInteger(seq) || seq < 0) throw malformed(`a ${str(raw['type']) || 'reading'} whose ${key} is no whole number`);
  return seq;
}

/** Ids are text here; the server's may be numbers. */
const idOf = (raw: Raw): string => (raw['id'] === undefined || raw['id'] === null ? '' : String(raw['id']));

function millis(time: unknown): number | null {
  const ms = typeof time === 'string' ? Date.parse(time) : NaN;
  return Number.isNaN(ms) ? null : ms;
}

const str = (value: unknown): string => (typeof value === 'string' ? value : '');
const isObject = (value: unknown): value is Raw => typeof value === 'object' && value !== null && !Array.isArray(value);
const malformed = (what: string) => new SensorcastError('malformed_frame', `the server sent ${what}`);
