import type { Address } from './address.js';
import { SensorcastError } from './error.js';

type Given = string | { ticket: string };

/**
 * Where tickets come from; one is fetched for each connection that cannot be resumed. Either a function that returns a
 * ticket, or the whole reply of `POST /api/v1/tickets`; or a token with which this client asks the server itself, for the
 * sensors named, or for all its owner may see.
 */
export type TicketSource =
  | (() => Given | Promise<Given>)
  | { token: string | (() => string | Promise<string>); serials?: readonly string[] };

const timeoutMs = 20_000;

/** A ticket travels as a WebSocket subprotocol, whose letters these are (RFC 7230 §3.2.6, of which a JWT uses a few). */
const ticketLetters = /^[A-Za-z0-9._~-]+$/;

/** Throws a TypeError when `source` can give no tickets. */
export function checkSource(source: TicketSource | undefined): void {
  if (typeof source === 'function') return;
  if (typeof source !== 'object' || source === null || (typeof source.token !== 'string' && typeof source.token !== 'function')) {
    throw new TypeError('ticket: must be a function that fetches a ticket, or { token, serials }');
  }
  if (source.serials !== undefined && !Array.isArray(source.serials)) throw new TypeError('ticket.serials: must be a list of serial numbers');
}

/** Gets a ticket; every failure is a SensorcastError. */
export async function fetchTicket(source: TicketSource, address: Address): Promise<string> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, fail) => {
    timer = setTimeout(() => fail(new SensorcastError('ticket_failed', 'no ticket came within 20 s')), timeoutMs);
  });
  try {
    const given = await Promise.race([typeof source === 'function' ? source() : request(source, address), late]);
    return ticketIn(given);
  } catch (failure) {
    throw failure instanceof SensorcastError ? failure : wrapped(failure);
  } finally {
    clearTimeout(timer);
  }
}

function ticketIn(given: unknown): string {
  const ticket = typeof given === 'object' && given !== null ? (given as { ticket?: unknown }).ticket : given;
  if (typeof ticket === 'string' && ticketLetters.test(ticket)) return ticket;
  const detail = typeof given === 'object' && given !== null ? (given as { detail?: unknown }).detail : undefined;
  if (typeof detail === 'string') throw new SensorcastError('ticket_failed', `no ticket could be fetched: ${detail}`); // a refusal handed through
  const what = typeof ticket === 'string' && ticket.includes('?') ? 'an address' : 'something else';
  throw new SensorcastError('ticket_failed', `the ticket function gave ${what}; it must give the "ticket" of POST /api/v1/tickets`);
}

async function request(source: Exclude<TicketSource, () => unknown>, address: Address): Promise<unknown> {
  const token = typeof source.token === 'function' ? await source.token() : source.token;
  const reply = await fetch(address.tickets, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Accept: 'application/json', Authorization: `Bearer ${token}` },
    body: JSON.stringify(source.serials ? { serial_nos: source.serials } : { all: true }),
    signal: AbortSignal.timeout(timeoutMs),
  });
  const body: unknown = await reply.json().catch(() => null); // a proxy's HTML page, say
  if (reply.ok) return body;
  const detail = (body as { detail?: unknown } | null)?.detail;
  throw new SensorcastError('ticket_refused', `the server gives no ticket: ${typeof detail === 'string' && detail ? detail : `status ${reply.status}`}`, {
    status: reply.status,
    retryAfter: Number(reply.headers.get('Retry-After')) || undefined,
    // Asking again would be answered the same: wrong token, no such sensor, no access. 408 and 429 pass.
    permanent: reply.status >= 400 && reply.status < 500 && reply.status !== 408 && reply.status !== 429,
  });
}

/** A page's own failure. It may say, as ours do, how long to wait and that there is no use. */
function wrapped(failure: unknown): SensorcastError {
  const said = (typeof failure === 'object' && failure !== null ? failure : {}) as { message?: unknown; retryAfter?: unknown; permanent?: unknown };
  return new SensorcastError('ticket_failed', `no ticket could be fetched: ${typeof said.message === 'string' ? said.message : 'the ticket function failed'}`, {
    retryAfter: typeof said.retryAfter === 'number' && said.retryAfter > 0 ? said.retryAfter : undefined,
    permanent: said.permanent === true,
    cause: failure,
  });
}
