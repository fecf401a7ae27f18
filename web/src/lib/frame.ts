import { parseJson } from './json';
import { millis } from './time';

/** One reading with its times as milliseconds. */
export interface Reading {
  seq: number;
  time: number;
  receivedAt: number;
  data: unknown;
}

export interface Snapshot {
  serial: string;
  name: string;
  lastSeen: number | null;
  /** The sensor as the server keeps it; undefined after a resume, which carries states only. */
  reading: Reading | null;
}

export interface AlertNotice {
  serial: string;
  state: string;
  message: string;
}

/** The server's frames (contract §4), reduced to what the dashboard acts on. */
export type Frame =
  | { type: 'hello'; epoch: string; seq: number; resumed: boolean; sensors: Snapshot[] }
  | { type: 'reading'; serial: string; reading: Reading }
  | { type: 'state'; serial: string; lastSeen: number | null }
  | { type: 'gap'; serial: string | null; beforeSeq: number; reason: string }
  | { type: 'alert'; alert: AlertNotice }
  | { type: 'error'; code: string; message: string };

type Raw = Record<string, unknown>;

/** Undefined for frames that need no action and for types newer than this page. */
export function parseFrame(text: string): Frame | undefined {
  let raw: Raw;
  try {
    raw = parseJson(text) as Raw;
  } catch {
    return undefined;
  }
  switch (raw?.['type']) {
    case 'reading': {
      const reading = readingOf(raw);
      return reading && { type: 'reading', serial: str(raw['serial_no']), reading };
    }
    case 'state':
      return { type: 'state', serial: str(raw['serial_no']), lastSeen: millis(raw['last_seen_at'] as string | null) };
    case 'hello':
      return {
        type: 'hello',
        epoch: str(raw['epoch']),
        seq: Number(raw['seq'] ?? 0),
        resumed: raw['resumed'] === true,
        sensors: ((raw['sensors'] ?? []) as Raw[]).map(snapshotOf),
      };
    case 'gap':
      return {
        type: 'gap',
        serial: typeof raw['serial_no'] === 'string' ? raw['serial_no'] : null,
        beforeSeq: Number(raw['before_seq'] ?? 0),
        reason: str(raw['reason']),
      };
    case 'alert': {
      const alert = (raw['alert'] ?? {}) as Raw;
      return {
        type: 'alert',
        alert: { serial: str(alert['serial_no']), state: str(alert['state']), message: str(alert['message']) },
      };
    }
    case 'error':
      return { type: 'error', code: str(raw['code']), message: str(raw['message']) };
  }
  return undefined;
}

function snapshotOf(raw: Raw): Snapshot {
  return {
    serial: str(raw['serial_no']),
    name: str(raw['name']),
    lastSeen: millis(raw['last_seen_at'] as string | null),
    reading: raw['reading'] ? (readingOf(raw['reading'] as Raw) ?? null) : null,
  };
}

/** Also reads the items of `GET …/readings`, which have the same members. */
export function readingOf(raw: { [key: string]: unknown }): Reading | undefined {
  const receivedAt = millis(raw['received_at'] as string);
  const time = millis(raw['time'] as string) ?? receivedAt;
  if (time === null) return undefined;
  return { seq: Number(raw['seq'] ?? 0), time, receivedAt: receivedAt ?? time, data: raw['data'] ?? null };
}

const str = (value: unknown): string => (typeof value === 'string' ? value : '');
