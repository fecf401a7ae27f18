import { SensorcastError } from './error.js';

interface Events {
  onOpen: () => void;
  onText: (text: string) => void;
  /** Called once, and not after close(). `opened` is false when the server did not let the socket in, or was not reached. */
  onClose: (code: number, reason: string, opened: boolean) => void;
}

/** An upgrade that neither opens nor fails (a proxy swallowing it) is given up. */
const openTimeoutMs = 10_000;
/** A hello may be megabytes on a slow line; later than this it is not coming. */
const helloTimeoutMs = 60_000;

export type WebSocketClass = new (url: string, protocols: string[]) => WebSocket;

/** One WebSocket, from the try to its end. */
export class Link {
  readonly #socket: WebSocket;
  #timer: ReturnType<typeof setTimeout>;

  /** Throws a SensorcastError when the browser will not even try. */
  constructor(make: WebSocketClass, url: string, protocols: string[], events: Events) {
    try {
      this.#socket = new make(url, protocols);
    } catch {
      // The browser's own words repeat address and subprotocols, and with them the ticket.
      throw new SensorcastError('connect_failed', 'the browser refuses to open the WebSocket: a page on https may only reach a server on https');
    }
    let opened = false;
    const over = (code: number, reason: string) => {
      this.#detach();
      this.#socket.close();
      events.onClose(code, reason, opened);
    };
    this.#timer = setTimeout(() => over(1006, 'the server did not answer'), openTimeoutMs);
    this.#socket.onopen = () => {
      opened = true;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => over(1006, 'the server sent no hello'), helloTimeoutMs);
      events.onOpen();
    };
    this.#socket.onmessage = (event: MessageEvent<unknown>) => {
      if (typeof event.data === 'string') events.onText(event.data);
    };
    this.#socket.onclose = (event) => over(event.code, event.reason);
  }

  /** The hello is here: the connection is what it should be. */
  greeted(): void {
    clearTimeout(this.#timer);
  }

  send(text: string): void {
    if (this.#socket.readyState === 1) this.#socket.send(text);
  }

  /** Ends it without another event. */
  close(): void {
    this.#detach();
    this.#socket.close();
  }

  #detach(): void {
    clearTimeout(this.#timer);
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
  }
}
