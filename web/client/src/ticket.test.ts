import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { connect, type SensorcastError, type TicketSource } from './index';
import { Relay } from './testing/relay';

const url = 'https://sensors.example';
const settle = (ms = 0) => vi.advanceTimersByTimeAsync(ms);

function scene(ticket: TicketSource, relay = new Relay()) {
  const errors: SensorcastError[] = [];
  const connection = connect({ url, ticket, WebSocket: relay.WebSocket, onError: (error) => errors.push(error) });
  return { relay, connection, errors };
}

/** Answers as POST /api/v1/tickets does, and remembers what it was asked. */
function api(answer: () => Response) {
  const asked: { url: string; token: string | null; body: unknown }[] = [];
  vi.stubGlobal('fetch', async (to: string, init: RequestInit) => {
    asked.push({ url: to, token: new Headers(init.headers).get('Authorization'), body: JSON.parse(String(init.body)) });
    return answer();
  });
  return asked;
}

const problem = (status: number, detail: string, headers = {}) => new Response(JSON.stringify({ detail }), { status, headers });

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe('with a token', () => {
  test.each([
    [['A', 'B'], { serial_nos: ['A', 'B'] }],
    [undefined, { all: true }],
  ])('a ticket for %j is asked of the server', async (serials, body) => {
    const relay = new Relay();
    const ticket = await relay.ticket();
    const asked = api(() => Response.json({ ticket, expires_at: '', url: '' }, { status: 201 }));
    const { connection } = scene({ token: 'the token', serials }, relay);
    await settle();
    expect(asked).toEqual([{ url: `${url}/api/v1/tickets`, token: 'Bearer the token', body }]);
    expect(connection.status.name).toBe('live');
    connection.close();
  });

  test('that is a function each ticket has a fresh one', async () => {
    const relay = new Relay();
    relay.tokens = false;
    const asked = api(() => Response.json({ ticket: 'worthless' }));
    let count = 0;
    const { connection } = scene({ token: () => `token ${++count}` }, relay);
    await settle(3_000);
    expect(asked.slice(0, 2).map((call) => call.token)).toEqual(['Bearer token 1', 'Bearer token 2']);
    connection.close();
  });

  test.each([401, 403, 404, 422])('refused with %i it is not asked again', async (status) => {
    const asked = api(() => problem(status, 'no such sensor'));
    const { connection, relay, errors } = scene({ token: 'secret-token', serials: ['A'] });
    await settle(600_000);
    expect(asked).toHaveLength(1);
    expect(relay.peers).toHaveLength(0);
    expect(connection.status).toMatchObject({ name: 'closed', error: { code: 'ticket_refused', status, message: 'the server gives no ticket: no such sensor' } });
    expect(JSON.stringify(errors) + errors.map((error) => error.stack).join()).not.toContain('secret-token');
  });

  test.each([429, 503])('refused with %i it is asked again, no sooner than the server said', async (status) => {
    const asked = api(() => problem(status, 'slow down', { 'Retry-After': '20' }));
    const { connection } = scene({ token: 't' });
    await settle(19_000);
    expect(asked).toHaveLength(1);
    await settle(3_000);
    expect(asked).toHaveLength(2);
    connection.close();
  });

  test("a proxy's page instead of an answer is a sentence", async () => {
    api(() => new Response('<html>', { status: 502 }));
    const { connection, errors } = scene({ token: 't' });
    await settle();
    expect(errors[0]).toMatchObject({ code: 'ticket_refused', message: 'the server gives no ticket: status 502', permanent: false });
    connection.close();
  });
});

describe('with a function', () => {
  test('the whole reply of the server will do', async () => {
    const relay = new Relay();
    const { connection } = scene(async () => ({ ticket: await relay.ticket(), expires_at: '', url: '' }), relay);
    await settle();
    expect(connection.status.name).toBe('live');
    connection.close();
  });

  test.each<[string, unknown, string]>([
    ['the address', '/ws?ticket=secret', 'gave an address'],
    ['nothing', undefined, 'gave something else'],
    ['text with a space', 'se cret', 'gave something else'],
  ])('that gives %s is told so, and not repeated', async (_claim, given, want) => {
    const { connection, relay, errors } = scene(() => given as string);
    await settle();
    expect(relay.peers).toHaveLength(0);
    expect(errors[0]!.code).toBe('ticket_failed');
    expect(errors[0]!.message).toContain(want);
    expect(errors[0]!.message).not.toMatch(/se ?cret/);
    connection.close();
  });

  test('that hands a refusal of the server through is quoted', async () => {
    const { connection, errors } = scene(() => ({ status: 404, detail: 'no such sensor' }) as never);
    await settle();
    expect(errors[0]!.message).toBe('no ticket could be fetched: no such sensor');
    connection.close();
  });

  test('that fails is tried again, no sooner than its failure says', async () => {
    const ticket = vi.fn(() => Promise.reject(Object.assign(new Error('backend down'), { retryAfter: 20 })));
    const { connection, errors } = scene(ticket);
    await settle(19_000);
    expect(ticket).toHaveBeenCalledTimes(1);
    await settle(3_000);
    expect(ticket).toHaveBeenCalledTimes(2);
    expect(errors[0]!.message).toBe('no ticket could be fetched: backend down');
    connection.close();
  });

  test('that says there is no use ends the tries', async () => {
    const ticket = vi.fn(() => Promise.reject(Object.assign(new Error('signed out'), { permanent: true })));
    const { connection } = scene(ticket);
    await settle(600_000);
    expect(ticket).toHaveBeenCalledTimes(1);
    expect(connection.status.name).toBe('closed');
  });

  test('that never answers is given up and called again', async () => {
    const ticket = vi.fn(() => new Promise<string>(() => {}));
    const { connection, errors } = scene(ticket);
    await settle(22_000);
    expect(errors[0]!.message).toBe('no ticket came within 20 s');
    expect(ticket).toHaveBeenCalledTimes(2);
    connection.close();
  });
});

test('a browser that refuses the socket is quoted without address and ticket', async () => {
  const relay = new Relay();
  const errors: SensorcastError[] = [];
  const connection = connect({
    url,
    ticket: relay.ticket,
    onError: (error) => errors.push(error),
    WebSocket: function (to: string, protocols: string[]) {
      throw new DOMException(`cannot open ${to} with ${protocols}`, 'SecurityError');
    } as unknown as new () => WebSocket,
  });
  await settle();
  expect(errors[0]!.code).toBe('connect_failed');
  expect(`${errors[0]!.stack} ${errors[0]!.cause}`).not.toContain('ticket-1');
  expect(connection.status.name).toBe('waiting');
  connection.close();
});
