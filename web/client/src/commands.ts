import { SensorcastError } from './error.js';

/** The server has made the command durable; the sensor gets it when it is there. */
export interface Ack {
  /** The server's and the sensor's name for the command, as in `GET …/commands`. */
  commandId: string;
}

export interface CommandOptions {
  /** Milliseconds to wait for the server's acknowledgement; default 15,000. */
  timeout?: number;
  /** Seconds after which a sensor that was away need not get it any more; default is the server's. */
  expiresIn?: number;
}

interface Pending {
  resolve: (ack: Ack) => void;
  reject: (error: SensorcastError) => void;
  timer: ReturnType<typeof setTimeout>;
}

const defaultTimeoutMs = 15_000;
/** More that wait for an acknowledgement are a loop gone wild. */
const maxPending = 100;

/** The commands of one connection that wait for their acknowledgement. */
export class Commands {
  readonly #pending = new Map<string, Pending>();
  #next = 1;

  constructor(
    /** Queues a message; its text is asked for when its turn comes. */
    private readonly push: (make: () => string | undefined) => void,
    private readonly stringify: (value: unknown) => string,
  ) {}

  send(serial: string, name: string, data: unknown, options: CommandOptions): Promise<Ack> {
    if (this.#pending.size >= maxPending) {
      return Promise.reject(new SensorcastError('too_many', `${maxPending} commands wait for the server already`, { serial }));
    }
    const id = `c${this.#next++}`;
    let text: string;
    try {
      text = this.stringify({ type: 'command', id, serial_no: serial, name, data, expires_in: options.expiresIn });
    } catch (cause) {
      return Promise.reject(new SensorcastError('invalid', 'the data of the command cannot be written as JSON', { serial, cause }));
    }
    return new Promise((resolve, reject) => {
      const timeout = options.timeout ?? defaultTimeoutMs;
      const timer = setTimeout(() => {
        const message = `the server did not acknowledge the command within ${timeout} ms; it may have it all the same`;
        this.#take(id)?.reject(new SensorcastError('timeout', message, { serial }));
      }, timeout);
      this.#pending.set(id, { resolve, reject, timer });
      this.push(() => (this.#pending.has(id) ? text : undefined));
    });
  }

  acknowledge(id: string, commandId: string): void {
    this.#take(id)?.resolve({ commandId });
  }

  /** False: the error is about no command of ours. */
  refuse(id: string, error: SensorcastError): boolean {
    const pending = this.#take(id);
    pending?.reject(error);
    return pending !== undefined;
  }

  /** The socket is gone and with it every acknowledgement. */
  lose(): void {
    const message = 'the connection was lost before the server acknowledged the command; it may have it all the same';
    for (const id of [...this.#pending.keys()]) this.refuse(id, new SensorcastError('disconnected', message));
  }

  #take(id: string): Pending | undefined {
    const pending = this.#pending.get(id);
    if (pending) clearTimeout(pending.timer);
    this.#pending.delete(id);
    return pending;
  }
}
