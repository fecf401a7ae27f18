import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { connect, type Options } from './index';
import { Relay } from './testing/relay';

const settle = (ms = 0) => vi.advanceTimersByTimeAsync(ms);

/** A browser in miniature: a page that can be hidden and a network that can go. */
class Browser extends EventTarget {
  readonly document = Object.assign(new EventTarget(), { visibilityState: 'visible' });
  readonly navigator = { onLine: true };

  constructor() {
    super();
    vi.stubGlobal('document', this.document);
    vi.stubGlobal('navigator', this.navigator);
    vi.stubGlobal('addEventListener', this.addEventListener.bind(this));
  }

  show(visibilityState: 'visible' | 'hidden'): void {
    this.document.visibilityState = visibilityState;
    this.document.dispatchEvent(new Event('visibilitychange'));
  }

  network(onLine: boolean): void {
    this.navigator.onLine = onLine;
    this.dispatchEvent(new Event(onLine ? 'online' : 'offline'));
  }
}

async function scene(more: Partial<Options> = {}) {
  const browser = new Browser();
  const relay = new Relay();
  const connection = connect({ url: 'https://sensors.example', ticket: relay.ticket, WebSocket: relay.WebSocket, ...more });
  await settle();
  const rates = () => relay.last.heard.filter((message) => message['type'] === 'rate').map((message) => message['max_per_second']);
  return { browser, relay, connection, rates };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe('rate', () => {
  test('is said once, and again to each new socket', async () => {
    const { relay, connection, rates } = await scene();
    expect(rates()).toEqual([]);
    connection.rate(5);
    connection.rate(5);
    expect(rates()).toEqual([5]);
    relay.last.end();
    await settle(2_000);
    expect(rates()).toEqual([5]);
    connection.rate(0);
    expect(rates()).toEqual([5, 0]);
    connection.close();
  });

  test('asked for before the connection is live is said when it is', async () => {
    const relay = new Relay();
    const connection = connect({ url: 'https://sensors.example', ticket: relay.ticket, WebSocket: relay.WebSocket });
    connection.rate(2);
    await settle();
    expect(relay.last.heard).toEqual([{ type: 'rate', max_per_second: 2 }]);
    connection.close();
  });

  test('falls to hiddenRate while the page is hidden, and comes back', async () => {
    const { browser, connection, rates } = await scene({ hiddenRate: 1 });
    browser.show('hidden');
    browser.show('visible');
    browser.show('hidden');
    expect(rates()).toEqual([1, 0, 1]);
    connection.rate(5);
    connection.rate(0.5);
    browser.show('visible');
    expect(rates()).toEqual([1, 0, 1, 0.5]);
    connection.close();
  });

  test('a page hidden when its socket comes back asks for less at once', async () => {
    const { browser, relay, connection, rates } = await scene({ hiddenRate: 1 });
    browser.show('hidden');
    relay.last.end();
    await settle(2_000);
    expect(rates()).toEqual([1]);
    connection.close();
  });

  test('without hiddenRate hiding changes nothing', async () => {
    const { browser, connection, rates } = await scene();
    browser.show('hidden');
    expect(rates()).toEqual([]);
    connection.close();
  });

  test('a slider pulled about does not break the limit of messages, and its last word counts', async () => {
    const { relay, connection, rates } = await scene();
    for (let i = 1; i <= 50; i++) connection.rate(i);
    expect(relay.last.heard.length).toBeLessThanOrEqual(8);
    await settle(2_000);
    expect(rates().at(-1)).toBe(50);
    connection.close();
  });

  test.each([-1, NaN, Infinity])('%d is refused by name', async (rate) => {
    const { connection } = await scene();
    expect(() => connection.rate(rate)).toThrow(/^maxPerSecond: /);
    connection.close();
  });
});

describe('the page around it', () => {
  test('without a network it says offline, and connects at once when there is one', async () => {
    const { browser, relay, connection } = await scene();
    browser.network(false);
    expect(connection.status.name).toBe('live'); // the socket may survive
    relay.last.end();
    expect(connection.status.name).toBe('offline');
    browser.network(true);
    await settle();
    expect(connection.status.name).toBe('live');
    connection.close();
  });

  test('shown again it does not wait any longer', async () => {
    const { browser, relay, connection } = await scene();
    browser.show('hidden');
    relay.up = false;
    relay.last.end();
    await settle(30_000);
    relay.up = true;
    browser.show('visible');
    await settle();
    expect(connection.status.name).toBe('live');
    connection.close();
  });

  test('a live socket is left alone when the page is shown', async () => {
    const { browser, relay, connection } = await scene();
    browser.show('hidden');
    browser.show('visible');
    await settle();
    expect(relay.peers).toHaveLength(1);
    connection.close();
  });

  test('after a sleep the socket is replaced, for it may be dead without knowing', async () => {
    const { relay, connection } = await scene();
    await settle(30_000);
    expect(relay.peers).toHaveLength(1);
    vi.setSystemTime(Date.now() + 3_600_000);
    await settle(11_000);
    expect(relay.peers).toHaveLength(2);
    expect(connection.status.name).toBe('live');
    connection.close();
  });

  test('what the server closed for good no event brings back', async () => {
    const { browser, relay, connection } = await scene();
    relay.last.end(4403);
    browser.network(false);
    browser.network(true);
    browser.show('hidden');
    browser.show('visible');
    vi.setSystemTime(Date.now() + 3_600_000);
    await settle(600_000);
    expect(relay.peers).toHaveLength(1);
    connection.close();
  });

  test('after close() nobody listens', async () => {
    const { browser, relay, connection } = await scene();
    connection.close();
    browser.network(false);
    browser.network(true);
    browser.show('hidden');
    await settle(600_000);
    expect(relay.peers).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);
  });
});
