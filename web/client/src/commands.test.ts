import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { connect, SensorcastError, type Options } from './index';
import { Relay } from './testing/relay';

const settle = (ms = 0) => vi.advanceTimersByTimeAsync(ms);

async function scene(more: Partial<Options> = {}) {
  const relay = new Relay();
  const errors: SensorcastError[] = [];
  const connection = connect({
    url: 'https://sensors.example', ticket: relay.ticket, WebSocket: relay.WebSocket, onError: (error) => errors.push(error), ...more,
  });
  await settle();
  return { relay, connection, errors };
}

/** What became of a promise, so that a rejection is looked at and never unhandled. */
const outcome = (promise: Promise<unknown>) => promise.then((value) => value, (reason: SensorcastError) => reason);

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('command', () => {
  test('resolves when the server has stored it', async () => {
    const { relay, connection } = await scene();
    const done = connection.command('A', 'set', { level: 3 }, { expiresIn: 60 });
    expect(relay.last.heard).toEqual([{ type: 'command', id: 'c1', serial_no: 'A', name: 'set', data: { level: 3 }, expires_in: 60 }]);
    relay.last.say({ type: 'ack', id: 'c1', command_id: 'cmd-77' });
    await expect(done).resolves.toEqual({ commandId: 'cmd-77' });
    connection.close();
  });

  test("rejects with the server's code and words", async () => {
    const { relay, connection, errors } = await scene();
    const done = outcome(connection.command('A', 'set'));
    relay.last.say({ type: 'error', id: 'c1', code: 'forbidden', message: 'the sensor may be watched, not commanded' });
    const failure = await done;
    expect(failure).toBeInstanceOf(SensorcastError);
    expect(failure).toMatchObject({ code: 'forbidden', message: 'the sensor may be watched, not commanded' });
    expect(errors).toEqual([]);
    connection.close();
  });

  test('answers find their own question', async () => {
    const { relay, connection } = await scene();
    const both = [connection.command('A', 'first'), connection.command('A', 'second')];
    relay.last.say({ type: 'ack', id: 'c2', command_id: 'two' }, { type: 'ack', id: 'c9', command_id: 'nobody' }, { type: 'ack', id: 'c1', command_id: 'one' });
    await expect(Promise.all(both)).resolves.toEqual([{ commandId: 'one' }, { commandId: 'two' }]);
    connection.close();
  });

  test('times out, and a late answer is nobody’s', async () => {
    const { relay, connection, errors } = await scene();
    const done = outcome(connection.command('A', 'set', {}, { timeout: 2_000 }));
    await settle(2_000);
    await expect(done).resolves.toMatchObject({ code: 'timeout', serial: 'A' });
    relay.last.say({ type: 'ack', id: 'c1', command_id: 'late' });
    expect(errors).toEqual([]);
    connection.close();
  });

  test('a lost connection rejects what waits and repeats nothing', async () => {
    const { relay, connection } = await scene();
    const done = outcome(connection.command('A', 'open the door'));
    relay.last.end();
    await expect(done).resolves.toMatchObject({ code: 'disconnected' });
    await settle(2_000);
    expect(relay.last.heard).toEqual([]);
    connection.close();
  });

  test('without a connection rejects at once: done minutes later it might be wrong', async () => {
    const { relay, connection } = await scene();
    relay.last.end();
    await expect(outcome(connection.command('A', 'set'))).resolves.toMatchObject({ code: 'not_connected' });
    connection.close();
    await expect(outcome(connection.command('A', 'set'))).resolves.toMatchObject({ code: 'not_connected' });
  });

  test('many at once go out no faster than the server takes them, in order', async () => {
    const { relay, connection } = await scene();
    const sentAt: number[] = [];
    const heard = relay.last.heard;
    vi.spyOn(heard, 'push').mockImplementation((message) => {
      sentAt.push(Date.now());
      return (heard[heard.length] = message, heard.length);
    });
    const all = Array.from({ length: 40 }, (_, i) => outcome(connection.command('A', `n${i}`)));
    await settle(10_000);
    expect(heard.map((message) => message['name'])).toEqual(Array.from({ length: 40 }, (_, i) => `n${i}`));
    for (const at of sentAt) {
      const within = sentAt.filter((other) => other >= at && other - at < 1_000).length;
      expect(within).toBeLessThanOrEqual(8);
    }
    connection.close();
    await Promise.all(all);
  });

  test('one that timed out before its turn is not sent any more', async () => {
    const { relay, connection } = await scene();
    const all = Array.from({ length: 12 }, (_, i) => outcome(connection.command('A', `n${i}`, {}, { timeout: 500 })));
    await settle(5_000);
    expect(relay.last.heard).toHaveLength(8);
    connection.close();
    await Promise.all(all);
  });

  test('a loop gone wild is stopped', async () => {
    const { connection } = await scene();
    const all = Array.from({ length: 101 }, () => outcome(connection.command('A', 'again')));
    await expect(all[100]).resolves.toMatchObject({ code: 'too_many' });
    connection.close();
    await Promise.all(all);
  });

  test('data that is no JSON is refused by name; with a writer of its own a page sends bigints', async () => {
    const { connection } = await scene();
    await expect(outcome(connection.command('A', 'set', { id: 1n }))).resolves.toMatchObject({ code: 'invalid' });
    connection.close();
    const stringify = (value: unknown) => JSON.stringify(value, (_, member: unknown) => (typeof member === 'bigint' ? Number(member) : member));
    const second = await scene({ stringify });
    const done = outcome(second.connection.command('A', 'set', { id: 1n }));
    expect(second.relay.last.heard[0]!['data']).toEqual({ id: 1 });
    second.connection.close();
    await done;
  });

  test("the server's other complaints go to onError, with the sensor", async () => {
    const { relay, connection, errors } = await scene();
    relay.last.say({ type: 'error', code: 'sensor_deleted', message: 'the sensor was deleted', serial_no: 'A' });
    expect(errors).toMatchObject([{ code: 'sensor_deleted', message: 'the sensor was deleted', serial: 'A' }]);
    connection.close();
  });
});
