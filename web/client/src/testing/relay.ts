import type { WebSocketClass } from '../link.js';

type Message = Record<string, unknown>;

/** What a sensor's reading looks like on the wire. */
const readingFrame = (serial: string, seq: number): Message => ({
  type: 'reading',
  serial_no: serial,
  seq,
  time: new Date(seq * 1000).toISOString(),
  received_at: new Date(seq * 1000).toISOString(),
  data: { value: seq },
});

/** One WebSocket as the browser gives it to the client, and as the test holds the other end. */
export class Peer {
  readyState = 0;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  readonly query: URLSearchParams;
  readonly heard: Message[] = [];

  constructor(
    readonly url: string,
    readonly protocols: string[],
  ) {
    this.query = new URL(url).searchParams;
  }

  get ticket(): string | undefined {
    return this.#proof('ticket.');
  }

  get resume(): string | undefined {
    return this.#proof('resume.');
  }

  /** The server lets it in. */
  accept(): void {
    this.readyState = 1;
    this.onopen?.();
  }

  say(...messages: Message[]): void {
    for (const message of messages) this.raw(JSON.stringify(message));
  }

  raw(text: string): void {
    if (this.readyState === 1) this.onmessage?.({ data: text });
  }

  /** The server, or the network, ends it. Before accept() it is a refusal. */
  end(code = 1006, reason = ''): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  send(text: string): void {
    this.heard.push(JSON.parse(text) as Message);
  }

  close(): void {
    this.readyState = 3;
  }

  #proof(prefix: string): string | undefined {
    return this.protocols.find((name) => name.startsWith(prefix))?.slice(prefix.length);
  }
}

/**
 * The server's side of contract §4 in memory: one log, single-use tickets and resume tokens, replay. `manual` leaves each
 * socket to the test.
 */
export class Relay {
  readonly peers: Peer[] = [];
  epoch = 'e1';
  readonly #log: { serial: string; seq: number }[] = [];
  readonly #good = new Set<string>();
  #made = 0;
  tickets = 0;
  /** False: nobody is reached, neither by ticket nor by socket. */
  up = true;
  /** Whether it gives resume tokens. */
  tokens = true;

  constructor(private readonly manual = false) {}

  get last(): Peer {
    return this.peers[this.peers.length - 1]!;
  }

  get seq(): number {
    return this.#log.length;
  }

  readonly ticket = async (): Promise<string> => {
    await Promise.resolve();
    if (!this.up) throw new TypeError('fetch failed');
    this.tickets++;
    return this.#secret('ticket');
  };

  get WebSocket(): WebSocketClass {
    const relay = this;
    return function (url: string, protocols: string[]) {
      const peer = new Peer(url, protocols);
      relay.peers.push(peer);
      if (!relay.manual) queueMicrotask(() => relay.#answer(peer));
      return peer as unknown as WebSocket;
    } as unknown as WebSocketClass;
  }

  publish(serial = 'A'): void {
    this.#log.push({ serial, seq: this.seq + 1 });
    if (this.peers.length > 0) this.last.say(readingFrame(serial, this.seq));
  }

  /** The hello, and on a socket that resumes what it missed. */
  greet(peer: Peer): void {
    const since = peer.query.get('epoch') === this.epoch ? Number(peer.query.get('since') ?? NaN) : NaN;
    const resumed = !Number.isNaN(since);
    if (peer.query.has('since') && !resumed) {
      peer.say({ type: 'gap', after_seq: Number(peer.query.get('since')), before_seq: this.seq + 1, reason: 'epoch' });
    }
    peer.say({ type: 'hello', protocol: 1, epoch: this.epoch, seq: this.seq, resumed, sensors: [] });
    if (this.tokens) peer.say({ type: 'resume', token: this.#secret('resume') });
    if (resumed) for (const { serial, seq } of this.#log) if (seq > since) peer.say(readingFrame(serial, seq));
  }

  /** As after a restart with another history. */
  forget(epoch: string): void {
    this.epoch = epoch;
    this.#log.length = 0;
  }

  #answer(peer: Peer): void {
    const secret = peer.resume ?? peer.ticket ?? '';
    if (!this.up || !this.#good.delete(secret)) return peer.end();
    peer.accept();
    this.greet(peer);
  }

  #secret(kind: string): string {
    const secret = `${kind}-${++this.#made}`;
    this.#good.add(secret);
    return secret;
  }
}
