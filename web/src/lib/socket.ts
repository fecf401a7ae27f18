import { Backoff } from './backoff';
import { Problem } from './problem';

/** What the connection indicator shows. */
export type Phase =
  | { name: 'idle' }
  | { name: 'connecting' }
  | { name: 'live' }
  | { name: 'waiting'; until: number }
  | { name: 'offline' };

interface Deps {
  /** A fresh single-use ticket's path; a reconnect never reuses one. */
  ticket: () => Promise<string>;
  open: (path: string) => WebSocket;
  onMessage: (text: string) => void;
  onPhase: (phase: Phase) => void;
  /** Close code 4401: the session's authority ended. False means it is really over. */
  renewAuthority: () => Promise<boolean>;
  /** Close codes 4403 and 4404: a sensor was taken away; resuming would not tell which. */
  onAccessChange: () => void;
  isOnline: () => boolean;
  backoff?: Backoff;
}

/** A connection that lasted this long proves the server well, so the next failure starts at a short wait again. */
const steadyMs = 5_000;
/** An upgrade that neither opens nor fails (a proxy swallowing it) is given up. */
const openTimeoutMs = 10_000;

/** One WebSocket that comes back by itself. At most one attempt, one timer and one socket exist at any time. */
export class Socket {
  readonly #backoff: Backoff;
  #generation = 0;
  #socket: WebSocket | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running = false;

  constructor(private readonly deps: Deps) {
    this.#backoff = deps.backoff ?? new Backoff();
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#backoff.reset();
    void this.#connect();
  }

  stop(): void {
    this.#running = false;
    this.#drop();
    this.deps.onPhase({ name: 'idle' });
  }

  /** Connect now, whatever the backoff says: the person asked, or the network just came back. */
  retry(): void {
    if (!this.#running || this.#socket?.readyState === 1) return;
    this.renew();
  }

  /** Replace the socket even if it looks alive: after a sleep it may be dead without knowing. */
  renew(): void {
    if (!this.#running) return;
    this.#drop();
    this.#backoff.reset();
    void this.#connect();
  }

  /** The browser lost its network. The socket may survive a short loss, so it is left to itself. */
  lostNetwork(): void {
    if (this.#running && this.#socket?.readyState !== 1) this.#wait(0);
  }

  #drop(): void {
    this.#generation++;
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close();
  }

  async #connect(): Promise<void> {
    const generation = ++this.#generation;
    const current = () => this.#running && generation === this.#generation;
    this.deps.onPhase({ name: 'connecting' });
    let path: string;
    try {
      path = await this.deps.ticket();
    } catch (failure) {
      // 401 means the session ended; whoever shows the sign-in page stops this socket.
      if (current()) this.#wait(failure instanceof Problem ? failure.retryAfter * 1000 : 0);
      return;
    }
    if (current()) this.#open(path, current);
  }

  #open(path: string, current: () => boolean): void {
    const socket = this.deps.open(path);
    this.#socket = socket;
    this.#timer = setTimeout(() => socket.close(), openTimeoutMs);
    let openedAt = 0;
    socket.onopen = () => {
      if (!current()) return;
      clearTimeout(this.#timer);
      openedAt = Date.now();
      this.deps.onPhase({ name: 'live' });
    };
    socket.onmessage = (event: MessageEvent<unknown>) => {
      if (current() && typeof event.data === 'string') this.deps.onMessage(event.data);
    };
    socket.onclose = (event) => {
      if (!current()) return;
      clearTimeout(this.#timer);
      this.#socket = undefined;
      if (openedAt > 0 && Date.now() - openedAt >= steadyMs) this.#backoff.reset();
      void this.#closed(event.code, current);
    };
  }

  async #closed(code: number, current: () => boolean): Promise<void> {
    if (code === 4403 || code === 4404) this.deps.onAccessChange();
    if (code === 4401) {
      this.deps.onPhase({ name: 'connecting' });
      const renewed = await this.deps.renewAuthority().catch(() => true);
      if (!renewed || !current()) return;
    }
    this.#wait(0);
  }

  #wait(atLeastMs: number): void {
    clearTimeout(this.#timer);
    const delay = Math.max(this.#backoff.next(), atLeastMs);
    this.deps.onPhase(this.deps.isOnline() ? { name: 'waiting', until: Date.now() + delay } : { name: 'offline' });
    this.#timer = setTimeout(() => void this.#connect(), delay);
  }
}
