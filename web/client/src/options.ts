import type { SensorcastError } from './error.js';
import type { Alert, Gap, Hello, Reading, StateChange } from './frame.js';
import type { WebSocketClass } from './link.js';
import type { TicketSource } from './ticket.js';

/** What a connection is doing. */
export type Status =
  | { name: 'connecting' }
  | { name: 'live' }
  /** The next try is at `until`, in milliseconds since 1970. `error` is why, where that is known. */
  | { name: 'waiting'; until: number; error: SensorcastError | null }
  /** The browser has no network; the next try is when it has. */
  | { name: 'offline' }
  /** No further try: after close(), where error is null, or because it would be of no use. reconnect() tries again. */
  | { name: 'closed'; error: SensorcastError | null };

/** Everything connect() takes. A handler that throws is reported as uncaught and disturbs nothing else. */
export interface Options {
  /** The server, such as https://sensors.example.com; default the origin of the page. */
  url?: string | URL;
  ticket: TicketSource;

  /** Every new reading, in the order of `seq`, none twice. */
  onReading?: (reading: Reading) => void;
  /** At the beginning of each connection: the sensors and, unless resumed, their newest readings. */
  onHello?: (hello: Hello) => void;
  onState?: (change: StateChange) => void;
  onAlert?: (alert: Alert) => void;
  onGap?: (gap: Gap) => void;
  onStatus?: (status: Status) => void;
  /** What went wrong and was survived: a ticket that did not come, a frame that made no sense, a complaint of the server. */
  onError?: (error: SensorcastError) => void;

  /** Readings of each sensor a second while the page is hidden; without it a hidden page gets as many as a shown one. */
  hiddenRate?: number;
  /** Milliseconds after which a fresh hello is wanted rather than everything that was missed; default: never. */
  maxAway?: number;
  /** Reads JSON; default JSON.parse, which rounds whole numbers beyond 2^53. */
  parse?: (text: string) => unknown;
  /** Writes the JSON of commands; default JSON.stringify, which refuses bigints. */
  stringify?: (value: unknown) => string;
  /** The WebSocket to use, where there is none (Node before 22). */
  WebSocket?: WebSocketClass;
}
