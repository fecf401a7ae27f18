import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { connect, type Options, type SensorcastError, type Status } from './index';
import { Relay } from './testing/relay';

const url = 'https://sensors.example';

/** A connection to a relay, with everything the page would hear. */
function scene(more: Partial<Options> = {}, relay = new Relay()) {
  const seqs: number[] = [];
  const said: Status[] = [];
  const errors: SensorcastError[] = [];
  const gaps: string[] = [];
  const hellos: boolean[] = [];
  const connection = connect({
    url,
    ticket: relay.ticket,
    WebSocket: relay.WebSocket,
    onReading: (reading) => seqs.push(reading.seq),
    onStatus: (status) => said.push(status),
    onError: (error) => errors.push(error),
    onGap: (gap) => gaps.push(`${gap.serial ?? 'all'} ${gap.afterSeq}-${gap.beforeSeq} ${gap.reason}`),
    onHello: (hello) => hellos.push(hello.resumed),
    ...more,
  });
  return { relay, connection, seqs, said, errors, gaps, hellos, settle };
}

const settle = (ms = 0) => vi.advanceTimersByTimeAsync(ms);

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

describe('the first connection', () => {
  test('takes the ticket as a subprotocol, where neither console nor proxy log shows it', async () => {
    const { relay, connection } = scene({ url: 'https://box.example/sensors' });
    await settle();
    expect(relay.last.url).toBe('wss://box.example/sensors/ws');
    expect(relay.last.protocols).toEqual(['sensorcast.v1', 'ticket.ticket-1']);
    connection.close();
  });

  test('is live with the hello, not before', async () => {
    const { relay, connection } = scene({}, new Relay(true));
    await settle();
    relay.last.accept();
    expect(connection.status.name).toBe('connecting');
    relay.greet(relay.last);
    expect(connection.status.name).toBe('live');
    connection.close();
  });

  test('gives the page the variable before the first handler runs', async () => {
    const relay = new Relay();
    const heard: string[] = [];
    const connection = connect({ url, ticket: relay.ticket, WebSocket: relay.WebSocket, onStatus: () => heard.push(connection.status.name) });
    expect(heard).toEqual([]);
    await settle();
    expect(heard).toEqual(['connecting', 'live']);
    connection.close();
  });

  test.each<[string, Partial<Options>, RegExp]>([
    ['no ticket', { ticket: undefined as never }, /^ticket: /],
    ['no address', { url: 'http://' }, /^url: /],
    ['a strange scheme', { url: 'ftp://a.example' }, /^url: ftp:/],
    ['the url of a ticket', { url: 'https://a.example/ws?ticket=secret' }, /^url: (?!.*secret)/],
    ['a rate that is none', { hiddenRate: -1 }, /^hiddenRate: /],
  ])('%s is refused at once, by name', (_claim, options, want) => {
    const relay = new Relay();
    expect(() => connect({ url, ticket: relay.ticket, WebSocket: relay.WebSocket, ...options })).toThrow(want);
  });
});

describe('a lost connection', () => {
  test('comes back without losing or repeating a reading', async () => {
    const { relay, connection, seqs, hellos } = scene();
    await settle();
    relay.publish();
    relay.publish();
    relay.last.end();
    relay.publish();
    relay.publish();
    await settle(2_000);
    relay.publish();
    expect(seqs).toEqual([1, 2, 3, 4, 5]);
    expect(hellos).toEqual([false, true]);
    expect(relay.last.query.get('since')).toBe('2');
    connection.close();
  });

  test('after any sequence of publishes, drops, refusals and outages the page has heard each reading once, in order', async () => {
    vi.mocked(Math.random).mockRestore();
    let state = 20_261_124; // a small generator of our own, so that a failure can be seen again
    const dice = (sides: number) => {
      state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
      return Math.floor(state / 65_536) % sides;
    };
    const { relay, connection, seqs } = scene();
    await settle();
    for (let i = 0; i < 3_000; i++) {
      switch (dice(12)) {
        case 0:
          relay.last.end([1006, 1001, 1012, 1013, 4408][dice(5)]);
          break;
        case 1:
          relay.up = !relay.up;
          if (!relay.up) relay.last.end();
          break;
        case 2:
          relay.tokens = !relay.tokens;
          break;
        case 3:
          connection.reconnect();
          break;
        case 4:
        case 5:
          await settle(dice(4_000));
          break;
        default:
          relay.publish('ABC'[dice(3)]);
      }
    }
    relay.up = true;
    await settle(120_000);
    expect(seqs).toEqual(Array.from({ length: relay.seq }, (_, i) => i + 1));
    connection.close();
  });

  test('what a server sends twice the page hears once', async () => {
    const { relay, connection, seqs } = scene();
    await settle();
    relay.publish();
    const again = { type: 'reading', serial_no: 'A', seq: 1, time: '2026-01-01T00:00:00Z', received_at: '2026-01-01T00:00:00Z', data: {} };
    relay.last.say(again, { ...again, seq: 2 }, again);
    expect(seqs).toEqual([1, 2]);
    connection.close();
  });

  test('the gap of one sensor does not swallow what another still has to say', async () => {
    const { relay, connection, seqs, gaps } = scene();
    await settle();
    relay.last.say({ type: 'gap', serial_no: 'A', after_seq: 0, before_seq: 21, dropped: 3, reason: 'slow' });
    relay.publish('B');
    expect(gaps).toEqual(['A 0-21 slow']);
    expect(seqs).toEqual([1]);
    connection.close();
  });

  test('with another epoch the page is told of the gap and starts over', async () => {
    const { relay, connection, seqs, gaps, hellos } = scene();
    await settle();
    for (let i = 0; i < 9; i++) relay.publish();
    relay.forget('e2');
    relay.last.end(1012);
    await settle(10_000);
    relay.publish();
    expect(gaps).toEqual(['all 9-1 epoch']);
    expect(hellos).toEqual([false, false]);
    expect(seqs.slice(9)).toEqual([1]);
    connection.close();
  });

  test('a replay that is given up half-way ends in a gap and a fresh hello on the same socket', async () => {
    const { relay, connection, seqs, gaps, hellos, said } = scene();
    await settle();
    relay.publish();
    relay.last.end();
    relay.publish();
    await settle(2_000);
    relay.last.say(
      { type: 'gap', after_seq: 2, before_seq: 1_001, reason: 'too_many' },
      { type: 'hello', protocol: 1, epoch: 'e1', seq: 1_000, resumed: false, sensors: [] },
      { type: 'reading', serial_no: 'A', seq: 1_001, time: '2026-01-01T00:00:00Z', received_at: '2026-01-01T00:00:00Z', data: {} },
    );
    expect(seqs).toEqual([1, 2, 1_001]);
    expect(gaps).toEqual(['all 2-1001 too_many']);
    expect(hellos).toEqual([false, true, false]);
    expect(said.map((status) => status.name)).toEqual(['connecting', 'live', 'waiting', 'connecting', 'live']);
    connection.close();
  });

  test('a connection on which nothing was said for long is not away', async () => {
    const { relay, connection, hellos } = scene({ maxAway: 60_000 });
    await settle();
    relay.publish();
    await settle(300_000);
    relay.last.end();
    await settle(2_000);
    expect(hellos).toEqual([false, true]);
    connection.close();
  });

  test('away longer than maxAway it asks for no replay', async () => {
    const { relay, connection, hellos } = scene({ maxAway: 60_000 });
    await settle();
    relay.publish();
    relay.up = false;
    relay.last.end();
    await settle(61_000);
    relay.up = true;
    await settle(60_000);
    expect(relay.last.query.has('since')).toBe(false);
    expect(hellos).toEqual([false, false]);
    connection.close();
  });
});

describe('the resume token', () => {
  test('opens the next socket without a ticket, once', async () => {
    const { relay, connection } = scene();
    await settle();
    relay.last.end();
    await settle(2_000);
    expect(relay.last.resume).toBe('resume-2');
    expect(relay.last.protocols).toEqual(['sensorcast.v1', 'resume.resume-2']);
    expect(relay.last.url).not.toContain('resume');
    relay.last.end();
    await settle(2_000);
    expect(relay.last.resume).toBe('resume-3');
    expect(relay.tickets).toBe(1);
    connection.close();
  });

  test('when refused is followed by a ticket at once', async () => {
    const relay = new Relay(true);
    const { connection } = scene({}, relay);
    await settle();
    relay.last.accept();
    relay.greet(relay.last);
    relay.last.end();
    await settle(750);
    expect(relay.last.resume).toBe('resume-2');
    relay.last.end(); // a 401 looks like this to a browser
    await settle();
    expect(relay.last.resume).toBeUndefined();
    expect(relay.last.ticket).toBe('ticket-3');
    expect(relay.last.query.get('since')).toBe('0');
    connection.close();
  });

  test('when refused is not tried again, whatever becomes of the ticket', async () => {
    const relay = new Relay(true);
    const { connection } = scene({}, relay);
    await settle();
    relay.last.accept();
    relay.greet(relay.last);
    relay.last.end();
    await settle(750);
    relay.last.end();
    await settle();
    relay.last.end();
    await settle(30_000);
    expect(relay.peers.filter((peer) => peer.resume)).toHaveLength(1);
    connection.close();
  });

  test('is kept while the server is away, so that its return is no storm of tickets', async () => {
    const { relay, connection } = scene();
    await settle();
    relay.up = false;
    relay.last.end(1012);
    await settle(20_000);
    expect(relay.peers.length).toBeGreaterThan(3);
    relay.up = true;
    await settle(20_000);
    expect(connection.status.name).toBe('live');
    expect(relay.tickets).toBe(1);
    connection.close();
  });

  test('is not tried when it is too old', async () => {
    const { relay, connection } = scene();
    await settle();
    relay.up = false;
    relay.last.end();
    await settle(70_000);
    relay.up = true;
    await settle(30_000);
    expect(relay.tickets).toBe(2);
    expect(relay.last.resume).toBeUndefined();
    connection.close();
  });
});

describe('waiting', () => {
  const waited = async (relay: Relay) => {
    const [count, began] = [relay.peers.length, Date.now()];
    while (relay.peers.length === count) await settle(50);
    return Date.now() - began;
  };

  test('grows with each failure and starts short again after a steady connection', async () => {
    const { relay, connection } = scene();
    await settle();
    relay.tokens = false;
    relay.last.end();
    const waits: number[] = [];
    for (let i = 0; i < 4; i++) {
      waits.push(await waited(relay));
      await settle();
      relay.last.end();
    }
    expect([...waits].sort((a, b) => a - b)).toEqual(waits);
    expect(waits[3]).toBeGreaterThan(waits[0]! * 3);
    await waited(relay);
    await settle(6_000);
    relay.last.end();
    expect(await waited(relay)).toBeLessThan(1_000);
    connection.close();
  });

  test.each([
    [1012, '', 0.9, 4_500],
    [1001, 'the server is restarting', 0.9, 4_500],
    [1006, '', 0.9, 950],
    [1012, 'the server is restarting, retry after 3200 ms', 0.9, 3_200],
    [1013, 'overloaded, retry after 15000 ms', 0.9, 15_000],
    [1013, 'retry after 999999999 ms', 0.9, 120_000],
    [4408, '', 0.9, 950],
  ])('after %i %j it is as it should be', async (code, reason, random, want) => {
    const { relay, connection } = scene();
    await settle();
    vi.mocked(Math.random).mockReturnValue(random);
    await settle(6_000);
    relay.last.end(code, reason);
    const got = await waited(relay);
    expect(got).toBeGreaterThanOrEqual(want);
    expect(got).toBeLessThanOrEqual(want + 50);
    connection.close();
  });

  test('says until when and why', async () => {
    const { relay, connection, said } = scene();
    await settle();
    relay.last.end(1013, 'overloaded');
    const status = said.at(-1)!;
    expect(status).toMatchObject({ name: 'waiting', until: Date.now() + 750 });
    expect(status.name === 'waiting' && status.error?.message).toBe('the connection ended: overloaded');
    connection.close();
  });

  test('an upgrade that never answers is given up', async () => {
    const { relay, connection } = scene({}, new Relay(true));
    await settle(12_000);
    expect(relay.peers.length).toBe(2);
    expect(relay.peers[0]!.readyState).toBe(3);
    connection.close();
  });

  test('a socket that opens and greets nobody is given up', async () => {
    const { relay, connection } = scene({}, new Relay(true));
    await settle();
    relay.last.accept();
    await settle(62_000);
    expect(relay.peers.length).toBe(2);
    connection.close();
  });
});

describe('what the server closes for good', () => {
  test.each([
    [4401, 'logged out', 'authority_ended', 'the session behind this connection has ended: logged out'],
    [4403, '', 'access_lost', 'access to the sensor has ended'],
    [4404, 'the sensor was deleted', 'sensor_deleted', 'the sensor was deleted'],
  ])('%i is not tried again, and the page is told why', async (code, reason, wantCode, wantMessage) => {
    const { relay, connection } = scene();
    await settle();
    relay.last.end(code, reason);
    await settle(600_000);
    expect(relay.peers).toHaveLength(1);
    expect(connection.status).toMatchObject({ name: 'closed', error: { code: wantCode, message: wantMessage, permanent: true } });
    connection.close();
  });

  test('reconnect() begins again, by ticket', async () => {
    const { relay, connection } = scene();
    await settle();
    relay.publish();
    relay.last.end(4401);
    connection.reconnect();
    await settle();
    expect(relay.last.ticket).toBe('ticket-3');
    expect(connection.status.name).toBe('live');
    connection.close();
  });

  test('after a lost sensor the next connection begins afresh', async () => {
    const { relay, connection, hellos } = scene();
    await settle();
    relay.publish();
    relay.last.end(4404);
    connection.reconnect();
    await settle();
    expect(hellos).toEqual([false, false]);
    connection.close();
  });

  test('a server of another protocol is named', async () => {
    const { relay, connection } = scene({}, new Relay(true));
    await settle();
    relay.last.accept();
    relay.last.say({ type: 'hello', protocol: 2, epoch: 'e', seq: 0, sensors: [] });
    expect(connection.status).toMatchObject({ name: 'closed', error: { code: 'protocol' } });
    await settle(60_000);
    expect(relay.peers).toHaveLength(1);
    connection.close();
  });
});

describe('frames', () => {
  test('those that make no sense are reported without their content, and the next is heard', async () => {
    const { relay, connection, errors, seqs } = scene();
    await settle();
    const secret = 'hunter2';
    relay.last.raw(`{"type":"reading","data":"${secret}"`);
    relay.last.raw('null');
    relay.last.raw('[]');
    relay.last.raw(`{"data":"${secret}"}`);
    relay.last.say(
      { type: 'reading', seq: 9, time: '2026-01-01T00:00:00Z', data: secret },
      { type: 'reading', serial_no: 'A', seq: 'x', time: '2026-01-01T00:00:00Z', data: secret },
      { type: 'reading', serial_no: 'A', seq: 9, time: secret, data: secret },
      { type: 'hello', sensors: secret },
      { type: 'hello', seq: 1, sensors: [secret] },
      { type: 'gap', after_seq: secret },
      { type: 'alert', alert: secret },
      { type: 'resume' },
      { type: 'of tomorrow', data: secret },
    );
    relay.publish();
    expect(seqs).toEqual([1]);
    expect(errors).toHaveLength(12);
    expect(new Set(errors.map((error) => error.code))).toEqual(new Set(['malformed_frame']));
    for (const error of errors) expect(String(error.stack)).not.toContain(secret);
    connection.close();
  });

  test('come in the words of a page', async () => {
    const heard: unknown[] = [];
    const hear = (what: unknown) => heard.push(what);
    const { relay, connection } = scene({ onHello: hear, onState: hear, onAlert: hear, onReading: hear }, new Relay(true));
    await settle();
    relay.last.accept();
    const [time, received_at] = ['2026-01-01T00:00:01.000Z', '2026-01-01T00:00:02.000Z'];
    relay.last.say(
      {
        type: 'hello', protocol: 1, epoch: 'e', seq: 7, resumed: false,
        sensors: [
          { serial_no: 'A', name: 'Roof', state: 'online', last_seen_at: received_at, reading: { seq: 7, time, received_at, data: { t: 1 } } },
          { serial_no: 'B', name: '', state: 'never_seen', last_seen_at: null, reading: null },
        ],
      },
      { type: 'state', serial_no: 'A', state: 'silent', last_seen_at: received_at },
      { type: 'alert', alert: { id: 5, serial_no: 'A', name: 'Roof', kind: 'silent', cause: 'no data', state: 'open', severity: 'warning', message: 'A is silent', opened_at: time, resolved_at: null, acknowledged_at: received_at, acknowledged_by: 'ann', flapping: false, episodes: 1 } },
      { type: 'reading', serial_no: 'A', seq: 8, time, received_at, data: null },
    );
    const [first, second] = [Date.parse(time), Date.parse(received_at)];
    expect(heard).toEqual([
      {
        type: 'hello', resumed: false, epoch: 'e', seq: 7,
        sensors: [
          { serial: 'A', name: 'Roof', state: 'online', lastSeen: second, reading: { type: 'reading', serial: 'A', seq: 7, time: first, receivedAt: second, data: { t: 1 } } },
          { serial: 'B', name: '', state: 'never_seen', lastSeen: null, reading: null },
        ],
      },
      { type: 'state', serial: 'A', state: 'silent', lastSeen: second },
      {
        type: 'alert', id: '5', serial: 'A', name: 'Roof', kind: 'silent', cause: 'no data', state: 'open', severity: 'warning', message: 'A is silent',
        openedAt: first, resolvedAt: null, acknowledgedAt: second, acknowledgedBy: 'ann', flapping: false, episodes: 1,
      },
      { type: 'reading', serial: 'A', seq: 8, time: first, receivedAt: second, data: null },
    ]);
    connection.close();
  });

  test('keep nineteen digits when the page brings its own parser', async () => {
    const parse = (text: string) => JSON.parse(text.replace(/:(-?\d{16,})/g, ':"big $1"'), (_, value) => (/^big /.test(value) ? BigInt(value.slice(4)) : value));
    const data: unknown[] = [];
    const { relay, connection } = scene({ parse, onReading: (reading) => data.push(reading.data) });
    await settle();
    relay.last.raw('{"type":"reading","serial_no":"A","seq":1,"time":"2026-01-01T00:00:00Z","received_at":"2026-01-01T00:00:00Z","data":{"counter":9223372036854775807}}');
    expect(data).toEqual([{ counter: 9223372036854775807n }]);
    connection.close();
  });

  test('a handler that throws is reported as uncaught and stops nothing', async () => {
    const uncaught: string[] = [];
    vi.spyOn(globalThis, 'queueMicrotask').mockImplementation((work) => {
      void Promise.resolve().then(work).catch((failure: unknown) => uncaught.push(String(failure)));
    });
    const { relay, connection, hellos } = scene({
      onReading: () => {
        throw new Error('the page broke');
      },
    });
    await settle();
    relay.publish();
    relay.publish();
    relay.last.end();
    await settle(2_000);
    expect(hellos).toEqual([false, true]);
    expect(relay.last.query.get('since')).toBe('2');
    expect(uncaught).toEqual(['Error: the page broke', 'Error: the page broke']);
    connection.close();
  });
});

describe('close', () => {
  test('ends everything, whatever was under way', async () => {
    for (const ms of [0, 1, 5_000]) {
      const { relay, connection, said } = scene({}, new Relay(ms === 1));
      if (ms > 0) await settle(ms);
      if (ms === 5_000) relay.last.end();
      connection.close();
      const [sockets, words] = [relay.peers.length, said.length];
      relay.publish();
      connection.reconnect();
      await settle(600_000);
      expect(relay.peers).toHaveLength(sockets);
      expect(said).toHaveLength(words);
      expect(connection.status).toEqual({ name: 'closed', error: null });
      expect(vi.getTimerCount()).toBe(0);
    }
  });

  test.each(['connecting', 'live', 'waiting'])('may be called by a handler that hears %s', async (name) => {
    const relay = new Relay();
    const connection = connect({
      url, ticket: relay.ticket, WebSocket: relay.WebSocket,
      onStatus: (status) => status.name === name && connection.close(),
    });
    await settle();
    if (relay.peers.length > 0) relay.last.end();
    const sockets = relay.peers.length;
    await settle(600_000);
    expect(relay.peers).toHaveLength(sockets);
    expect(relay.tickets).toBe(name === 'connecting' ? 0 : 1);
    expect(connection.status.name).toBe('closed');
    expect(vi.getTimerCount()).toBe(0);
  });

  test('may be called by a handler that hears of an error', async () => {
    const relay = new Relay();
    relay.up = false;
    const connection = connect({ url, ticket: relay.ticket, WebSocket: relay.WebSocket, onError: () => connection.close() });
    await settle(600_000);
    expect(connection.status).toEqual({ name: 'closed', error: null });
    expect(vi.getTimerCount()).toBe(0);
  });
});
