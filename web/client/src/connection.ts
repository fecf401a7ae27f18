import { Address } from './address.js';
import { Backoff } from './backoff.js';
import { Commands, type Ack, type CommandOptions } from './commands.js';
import { Cursor } from './cursor.js';
import { SensorcastError } from './error.js';
import { finalError, waitAfter } from './farewell.js';
import { parseFrame, type Hello } from './frame.js';
import { Link, type WebSocketClass } from './link.js';
import type { Options, Status } from './options.js';
import { Pacer } from './pacer.js';
import { isHidden, isOnline, watchPage } from './page.js';
import { Rate } from './rate.js';
import { ResumeToken } from './resume.js';
import { checkSource, fetchTicket } from './ticket.js';

/** A connection that lasted this long proves the server well, so the next failure starts at a short wait again. */
const steadyMs = 5_000;

const subprotocol = 'sensorcast.v1';

/** A live connection that comes back by itself. At most one attempt, one timer and one socket exist at any time. */
export class Connection {
  readonly #options: Options;
  readonly #address: Address;
  readonly #WebSocket: WebSocketClass;
  readonly #cursor: Cursor;
  readonly #rate: Rate;
  readonly #commands: Commands;
  readonly #backoff = new Backoff();
  readonly #resume = new ResumeToken();
  readonly #pacer = new Pacer((text) => this.#link?.send(text));
  readonly #unwatch: () => void;
  #status: Status = { name: 'connecting' };
  /** Counts attempts; what belongs to an earlier one has no say any more. */
  #attempt = 0;
  #link: Link | undefined;
  #liveSince = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #ended = false;

  constructor(options: Options) {
    checkSource(options.ticket);
    const found = options.WebSocket ?? (globalThis as { WebSocket?: WebSocketClass }).WebSocket;
    if (!found) throw new TypeError('WebSocket: there is none here, so it must be given');
    this.#options = options;
    this.#WebSocket = found;
    this.#address = new Address(options.url);
    this.#cursor = new Cursor(options.maxAway ?? Infinity);
    this.#rate = new Rate(options.hiddenRate, isHidden);
    this.#commands = new Commands((make) => this.#pacer.push(make), options.stringify ?? JSON.stringify);
    this.#unwatch = watchPage({
      onOnline: () => this.#revive(),
      onOffline: () => this.#networkLost(),
      onVisibility: () => this.#visibilityChanged(),
      onTick: () => this.#status.name === 'live' && this.#cursor.touch(),
      onWake: () => this.#revive(),
    });
    // Not at once: a handler may want the variable that the caller is about to assign.
    const first = ++this.#attempt;
    queueMicrotask(() => first === this.#attempt && void this.#connect());
  }

  get status(): Status {
    return this.#status;
  }

  /**
   * Connects now: cuts a wait short, replaces a live socket, and begins again where the server had closed it for good.
   * After close() it does nothing.
   */
  reconnect(): void {
    if (this.#ended) return;
    this.#drop();
    this.#backoff.reset();
    void this.#connect();
  }

  /** Ends the connection for good. Commands that wait are rejected. */
  close(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#unwatch();
    this.#drop();
    this.#status = { name: 'closed', error: null };
    this.#call(this.#options.onStatus, this.#status);
  }

  /** Asks for at most so many readings of each sensor a second; 0 is as fast as they come. Holds for later sockets too. */
  rate(maxPerSecond: number): void {
    this.#rate.wanted = maxPerSecond;
    this.#tellRate();
  }

  /** Sends a command to a sensor; resolves once the server has stored it, rejects with a SensorcastError. It is never sent twice. */
  command(serial: string, name: string, data: unknown = {}, options: CommandOptions = {}): Promise<Ack> {
    if (this.#status.name !== 'live') {
      return Promise.reject(new SensorcastError('not_connected', 'there is no connection to send the command by', { serial }));
    }
    return this.#commands.send(serial, name, data, options);
  }

  async #connect(): Promise<void> {
    const attempt = ++this.#attempt;
    this.#setStatus({ name: 'connecting' });
    if (attempt !== this.#attempt) return; // a handler closed or reconnected it
    const token = this.#resume.usable;
    if (token !== null) this.#open(`resume.${token}`, attempt, () => void this.#connectByTicket(attempt));
    else await this.#connectByTicket(attempt);
  }

  /**
   * Browsers do not tell a refused socket from an unreachable server. So when a token failed, a ticket is asked for: if
   * that fails too the server is away, and the token is kept for the next try.
   */
  async #connectByTicket(attempt: number): Promise<void> {
    let ticket: string;
    try {
      ticket = await fetchTicket(this.#options.ticket, this.#address);
    } catch (failure) {
      const error = failure as SensorcastError;
      if (attempt !== this.#attempt) return;
      this.#tell(this.#options.onError, error);
      if (error.permanent) this.#giveUp(error);
      else this.#wait(Math.max(this.#backoff.next(), (error.retryAfter ?? 0) * 1000), error);
      return;
    }
    if (attempt !== this.#attempt) return;
    this.#resume.forget();
    this.#open(`ticket.${ticket}`, attempt, () => this.#wait(this.#backoff.next(), unreached()));
  }

  /** `proof` goes as a subprotocol and not in the address, which browsers print into their console and proxies into their logs. */
  #open(proof: string, attempt: number, onRefused: () => void): void {
    const current = () => attempt === this.#attempt;
    this.#liveSince = 0;
    try {
      this.#link = new Link(this.#WebSocket, this.#address.socket(this.#cursor.query() ?? {}), [subprotocol, proof], {
        onOpen: () => current() && this.#resume.forget(),
        onText: (text) => current() && this.#receive(text),
        onClose: (code, reason, opened) => {
          if (!current()) return;
          this.#lost();
          if (opened) this.#closed(code, reason);
          else onRefused();
        },
      });
    } catch (failure) {
      this.#tell(this.#options.onError, failure as SensorcastError);
      this.#wait(this.#backoff.next(), failure as SensorcastError);
    }
  }

  #closed(code: number, reason: string): void {
    if (this.#liveSince > 0 && Date.now() - this.#liveSince >= steadyMs) this.#backoff.reset();
    const final = finalError(code, reason);
    if (!final) return this.#wait(waitAfter(code, reason, this.#backoff), closedEarly(code, reason));
    // Resuming would not tell which sensor was taken away; the fresh hello of a later reconnect() does.
    if (code !== 4401) this.#cursor.forget();
    this.#giveUp(final);
  }

  #receive(text: string): void {
    let frame: ReturnType<typeof parseFrame>;
    try {
      frame = parseFrame(text, this.#options.parse ?? JSON.parse);
    } catch (failure) {
      const error = failure as SensorcastError;
      this.#tell(this.#options.onError, error);
      if (error.permanent) this.#giveUp(error);
      return;
    }
    const { onReading, onState, onAlert, onGap, onError } = this.#options;
    switch (frame?.type) {
      case 'reading':
        if (this.#cursor.admit(frame.seq)) this.#tell(onReading, frame);
        break;
      case 'hello':
        this.#welcome(frame);
        break;
      case 'state':
        this.#tell(onState, frame);
        break;
      case 'alert':
        this.#tell(onAlert, frame);
        break;
      case 'gap':
        this.#tell(onGap, frame);
        break;
      case 'resume':
        this.#resume.set(frame.token);
        break;
      case 'ack':
        this.#commands.acknowledge(frame.id, frame.commandId);
        break;
      case 'error':
        if (!this.#commands.refuse(frame.id, frame.error)) this.#tell(onError, frame.error);
        break;
    }
  }

  #welcome(hello: Hello): void {
    this.#cursor.welcome(hello);
    this.#link?.greeted();
    if (this.#status.name !== 'live') {
      this.#liveSince = Date.now();
      this.#rate.restart();
      const attempt = this.#attempt;
      this.#setStatus({ name: 'live' });
      if (attempt !== this.#attempt) return; // a handler closed or reconnected it
      this.#tellRate();
    }
    this.#tell(this.#options.onHello, hello);
  }

  #tellRate(): void {
    if (this.#status.name === 'live' && this.#rate.stale) this.#pacer.push(() => this.#rate.message());
  }

  /** Something outside changed for the better; what the server closed for good stays closed. */
  #revive(): void {
    if (this.#status.name !== 'closed') this.reconnect();
  }

  #visibilityChanged(): void {
    this.#tellRate();
    if (!isHidden() && (this.#status.name === 'waiting' || this.#status.name === 'offline')) this.reconnect();
  }

  /** A live socket may survive a short loss of the network, so it is left to itself. */
  #networkLost(): void {
    if (this.#status.name !== 'connecting' && this.#status.name !== 'waiting') return;
    this.#drop();
    this.#wait(this.#backoff.next(), null);
  }

  #wait(delay: number, error: SensorcastError | null): void {
    if (this.#ended) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#connect(), delay);
    this.#setStatus(isOnline() ? { name: 'waiting', until: Date.now() + delay, error } : { name: 'offline' });
  }

  #giveUp(error: SensorcastError): void {
    if (this.#ended) return;
    this.#drop();
    this.#resume.forget();
    this.#setStatus({ name: 'closed', error });
  }

  /** Ends whatever is under way. */
  #drop(): void {
    this.#attempt++;
    clearTimeout(this.#timer);
    this.#link?.close();
    this.#lost();
  }

  #lost(): void {
    if (this.#link && this.#liveSince > 0) this.#resume.lost();
    this.#link = undefined;
    this.#pacer.clear();
    this.#commands.lose();
  }

  #setStatus(status: Status): void {
    this.#status = status;
    this.#tell(this.#options.onStatus, status);
  }

  /** After close() a page hears nothing more. */
  #tell<T>(handler: ((what: T) => void) | undefined, what: T): void {
    if (!this.#ended) this.#call(handler, what);
  }

  #call<T>(handler: ((what: T) => void) | undefined, what: T): void {
    try {
      handler?.(what);
    } catch (failure) {
      queueMicrotask(() => {
        throw failure;
      });
    }
  }
}

const unreached = () => new SensorcastError('connect_failed', 'the server was not reached, or did not let the connection in');

function closedEarly(code: number, reason: string): SensorcastError {
  return new SensorcastError('connection_lost', `the connection ended: ${reason || `close code ${code}`}`);
}
