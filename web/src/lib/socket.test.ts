import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Backoff } from './backoff';
import { Problem } from './problem';
import { Socket, type Phase } from './socket';

class FakeSocket {
  readyState = 0;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  constructor(readonly path: string) {}
  open() {
    this.readyState = 1;
    this.onopen?.();
  }
  fail(code: number) {
    this.readyState = 3;
    this.onclose?.({ code });
  }
  close() {
    if (this.readyState !== 3) this.fail(1000);
  }
}

function scene() {
  const opened: FakeSocket[] = [];
  const phases: Phase[] = [];
  let tickets = 0;
  const ticket = vi.fn(async () => `/ws?ticket=${++tickets}`);
  const renewAuthority = vi.fn(async () => true);
  const onAccessChange = vi.fn();
  const network = { online: true };
  const socket = new Socket({
    ticket,
    open: (path) => {
      const fake = new FakeSocket(path);
      opened.push(fake);
      return fake as unknown as WebSocket;
    },
    onMessage: () => {},
    onPhase: (phase) => phases.push(phase),
    renewAuthority,
    onAccessChange,
    isOnline: () => network.online,
    backoff: new Backoff(() => 0.5),
  });
  const settle = (ms = 0) => vi.advanceTimersByTimeAsync(ms);
  return { socket, opened, ticket, renewAuthority, onAccessChange, network, settle, phase: () => phases.at(-1)!.name };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('Socket', () => {
  test('every connection uses a fresh ticket', async () => {
    const { socket, opened, settle, phase } = scene();
    socket.start();
    await settle();
    opened[0]!.open();
    expect(phase()).toBe('live');
    opened[0]!.fail(1006);
    expect(phase()).toBe('waiting');
    await settle(1_500);
    expect(opened.map((fake) => fake.path)).toEqual(['/ws?ticket=1', '/ws?ticket=2']);
    socket.stop();
  });

  test('waits longer after each failure and starts short again after a steady connection', async () => {
    const { socket, opened, settle } = scene();
    socket.start();
    await settle();
    const gaps: number[] = [];
    for (let i = 0; i < 4; i++) {
      const before = Date.now();
      opened.at(-1)!.fail(1006);
      const count = opened.length;
      while (opened.length === count) await settle(50);
      gaps.push(Date.now() - before);
    }
    expect([...gaps].sort((a, b) => a - b)).toEqual(gaps);
    opened.at(-1)!.open();
    await settle(6_000);
    opened.at(-1)!.fail(1012);
    const count = opened.length;
    await settle(1_000);
    expect(opened.length).toBe(count + 1);
    socket.stop();
  });

  test('a failing ticket is retried, no sooner than the server asked', async () => {
    const { socket, ticket, opened, settle } = scene();
    ticket.mockRejectedValueOnce(new Problem(429, '', 'slow down', {}, 20));
    socket.start();
    await settle(19_000);
    expect(ticket).toHaveBeenCalledTimes(1);
    await settle(2_000);
    expect(opened).toHaveLength(1);
    socket.stop();
  });

  test('4401 renews the session before the next ticket', async () => {
    const { socket, opened, renewAuthority, settle } = scene();
    socket.start();
    await settle();
    opened[0]!.open();
    opened[0]!.fail(4401);
    await settle(2_000);
    expect(renewAuthority).toHaveBeenCalledTimes(1);
    expect(opened).toHaveLength(2);
    socket.stop();
  });

  test('4401 with the session really over stays closed', async () => {
    const { socket, opened, renewAuthority, settle } = scene();
    renewAuthority.mockResolvedValueOnce(false);
    socket.start();
    await settle();
    opened[0]!.fail(4401);
    await settle(60_000);
    expect(opened).toHaveLength(1);
  });

  test('a sensor taken away is reported', async () => {
    const { socket, opened, onAccessChange, settle } = scene();
    socket.start();
    await settle();
    opened[0]!.open();
    opened[0]!.fail(4404);
    expect(onAccessChange).toHaveBeenCalledTimes(1);
    socket.stop();
  });

  test('retry connects at once while waiting and leaves a live socket alone', async () => {
    const { socket, opened, settle } = scene();
    socket.start();
    await settle();
    opened[0]!.fail(1006);
    socket.retry();
    await settle();
    expect(opened).toHaveLength(2);
    opened[1]!.open();
    socket.retry();
    await settle();
    expect(opened).toHaveLength(2);
    socket.stop();
  });

  test('renew replaces a live socket without counting its close', async () => {
    const { socket, opened, settle, phase } = scene();
    socket.start();
    await settle();
    opened[0]!.open();
    socket.renew();
    await settle();
    opened[1]!.open();
    expect(phase()).toBe('live');
    expect(opened).toHaveLength(2);
    socket.stop();
  });

  test('says offline when the browser has no network', async () => {
    const { socket, opened, network, settle, phase } = scene();
    socket.start();
    await settle();
    network.online = false;
    opened[0]!.fail(1006);
    expect(phase()).toBe('offline');
    socket.stop();
  });

  test('after stop nothing happens any more', async () => {
    const { socket, opened, settle, phase } = scene();
    socket.start();
    socket.stop();
    await settle(60_000);
    expect(opened).toHaveLength(0);
    expect(phase()).toBe('idle');
  });

  test('an upgrade that never answers is given up', async () => {
    const { socket, opened, settle } = scene();
    socket.start();
    await settle(12_000);
    expect(opened.length).toBeGreaterThan(1);
    socket.stop();
  });
});
