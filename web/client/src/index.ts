/**
 * Live readings of a Sensorcast server in a page.
 *
 *     const connection = connect({ url, ticket: fetchTicket, onReading: (reading) => show(reading) });
 *
 * What it promises: readings come in the order of their `seq`, none twice; what is missing is announced by onGap or by a
 * hello that is not resumed; a lost connection comes back by itself, spread so that a restarting server is not stormed;
 * tickets and tokens are never logged, put into an error or given to the page.
 *
 * The way of a frame: link (one socket) → frame (checked) → connection (cursor, resume, commands) → the page's handlers.
 */
import { Connection } from './connection.js';
import type { Options } from './options.js';

/** Opens a connection, which goes on until its close(). Throws when an option makes no sense, naming it. */
export function connect(options: Options): Connection {
  return new Connection(options);
}

export { Backoff } from './backoff.js';
export type { Ack, CommandOptions } from './commands.js';
export type { Connection };
export { SensorcastError } from './error.js';
export { alertOf, readingOf } from './frame.js';
export type { Alert, Frame, Gap, Hello, Reading, SensorState, Snapshot, StateChange } from './frame.js';
export type { Options, Status } from './options.js';
export type { TicketSource } from './ticket.js';
