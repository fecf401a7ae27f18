import { describe, expect, test, vi } from 'vitest';
import { Client, csv } from './client';
import { Problem } from './problem';

interface Call {
  path: string;
  token: string | null;
}

/** A server in miniature: one valid access token at a time, each refresh makes the next. */
function scene(options: { refreshStatus?: number } = {}) {
  const calls: Call[] = [];
  let valid = 0;
  let now = 1_000_000;
  const onSignedOut = vi.fn();
  const answer = (status: number, body: unknown) =>
    new Response(JSON.stringify(body), { status, headers: { 'Content-Type': 'application/json' } });
  const client = new Client({
    now: () => now,
    onSignedOut,
    fetch: async (input, init) => {
      const path = String(input);
      const token = new Headers(init?.headers).get('Authorization');
      calls.push({ path, token });
      await Promise.resolve();
      if (path.endsWith('/auth/refresh')) {
        if (options.refreshStatus) return answer(options.refreshStatus, { detail: 'over' });
        return answer(200, { access_token: `t${++valid}`, expires_in: 900 });
      }
      return token === `Bearer t${valid}` ? answer(200, { path }) : answer(401, { detail: 'token expired' });
    },
  });
  return {
    client,
    calls,
    onSignedOut,
    revoke: () => valid++,
    advance: (ms: number) => (now += ms),
    refreshes: () => calls.filter((call) => call.path.endsWith('/auth/refresh')).length,
  };
}

describe('Client', () => {
  test('concurrent calls without a token share one refresh', async () => {
    const { client, refreshes } = scene();
    await Promise.all(['/a', '/b', '/c'].map((path) => client.call('GET', path)));
    expect(refreshes()).toBe(1);
  });

  test('concurrent 401s share one refresh and every call is retried', async () => {
    const { client, calls, refreshes, revoke } = scene();
    await client.call('GET', '/warm');
    revoke();
    const replies = await Promise.all(['/a', '/b', '/c'].map((path) => client.call<{ path: string }>('GET', path)));
    expect(replies.map((reply) => reply.path)).toEqual(['/api/v1/a', '/api/v1/b', '/api/v1/c']);
    expect(refreshes()).toBe(2);
    expect(calls.filter((call) => call.path === '/api/v1/a')).toHaveLength(2);
  });

  test('a call is retried once, not for ever', async () => {
    const fetch = vi.fn(async (input: RequestInfo | URL) =>
      String(input).endsWith('/auth/refresh')
        ? new Response(JSON.stringify({ access_token: 't', expires_in: 900 }))
        : new Response('{}', { status: 401 }),
    );
    const client = new Client({ now: () => 0, onSignedOut: () => {}, fetch });
    await expect(client.call('GET', '/a')).rejects.toMatchObject({ status: 401 });
    expect(fetch).toHaveBeenCalledTimes(4);
  });

  test('an access token about to expire is renewed before it fails', async () => {
    const { client, advance, calls, refreshes } = scene();
    await client.call('GET', '/a');
    advance(895_000);
    await client.call('GET', '/b');
    expect(refreshes()).toBe(2);
    expect(calls.filter((call) => call.path === '/api/v1/b')).toHaveLength(1);
  });

  test('a refused refresh ends the session once', async () => {
    const { client, onSignedOut } = scene({ refreshStatus: 401 });
    const results = await Promise.allSettled([client.call('GET', '/a'), client.call('GET', '/b')]);
    expect(results.map((result) => result.status)).toEqual(['rejected', 'rejected']);
    expect(onSignedOut).toHaveBeenCalledTimes(1);
  });

  test('a broken server does not end the session', async () => {
    const { client, onSignedOut } = scene({ refreshStatus: 503 });
    await expect(client.call('GET', '/a')).rejects.toMatchObject({ status: 503 });
    expect(onSignedOut).not.toHaveBeenCalled();
  });

  test('no network is a Problem, not a stray TypeError', async () => {
    const client = new Client({ now: () => 0, onSignedOut: () => {}, fetch: () => Promise.reject(new TypeError('failed')) });
    const failure = await client.open('GET', '/server').catch((reason: unknown) => reason);
    expect(failure).toBeInstanceOf(Problem);
    expect((failure as Problem).unreachable).toBe(true);
  });

  test('a sheet goes out as it is and comes back as text, with the headers asked for', async () => {
    const sent: RequestInit[] = [];
    const client = new Client({
      now: () => 0,
      onSignedOut: () => {},
      fetch: async (input, init) => {
        if (String(input).endsWith('/auth/refresh')) return new Response(JSON.stringify({ access_token: 't', expires_in: 900 }));
        sent.push(init!);
        return new Response('serial_no\n1234567890123456789\n', { headers: { 'Content-Type': 'text/csv; charset=utf-8' } });
      },
    });
    expect(await client.call('POST', '/sensors/import', csv('serial_no\nA\n'), { 'Idempotency-Key': 'k' })).toBe('serial_no\n1234567890123456789\n');
    const headers = new Headers(sent[0]!.headers);
    expect([headers.get('Content-Type'), headers.get('Idempotency-Key')]).toEqual(['text/csv', 'k']);
    expect(await (sent[0]!.body as Blob).text()).toBe('serial_no\nA\n');
  });

  test('with a session it is used where either would do, without one none is asked for', async () => {
    const { client, calls, refreshes } = scene();
    await client.either('GET', '/server').catch(() => {}); // the server in miniature knows no open calls
    expect([refreshes(), calls.at(-1)!.token]).toEqual([0, null]);
    await client.call('GET', '/warm');
    await client.either('GET', '/server');
    expect(calls.at(-1)!.token).toBe('Bearer t1');
  });

  test('problem details carry field messages by field name', async () => {
    const client = new Client({
      now: () => 0,
      onSignedOut: () => {},
      fetch: async () =>
        new Response(
          JSON.stringify({
            type: 'https://example/problems/invalid',
            detail: 'Two fields are wrong.',
            errors: [
              { location: 'body.tags[2]', message: 'too long' },
              { location: 'body.name', message: 'required' },
              { location: 'body.name', message: 'a second complaint' },
            ],
          }),
          { status: 422 },
        ),
    });
    await expect(client.open('POST', '/sensors', {})).rejects.toMatchObject({
      detail: 'Two fields are wrong.',
      fields: { tags: 'too long', name: 'required' },
    });
  });
});
