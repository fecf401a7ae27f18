import { parseJson } from './json';
import { Problem, readProblem, unreachable } from './problem';

export interface Grant {
  access_token: string;
  expires_in: number;
}

interface Deps {
  fetch: typeof fetch;
  now: () => number;
  /** Called once the session is really over: the refresh cookie was refused. */
  onSignedOut: () => void;
  /** Tells how far the server's clock is, from the Date header of any reply. */
  onDate?: (serverMs: number, sentMs: number, gotMs: number) => void;
  /** Runs refreshes of several tabs one after the other, since each rotates the shared cookie. */
  exclusive?: <T>(work: () => Promise<T>) => Promise<T>;
}

const base = '/api/v1';
/** Renew slightly early: a request that is refused first costs a round trip and a red line in the console. */
const earlyMs = 10_000;
const requestTimeoutMs = 20_000;
/** A sheet may have megabytes, and its sensors are all stored before the answer. */
const sheetTimeoutMs = 120_000;

/** A body that is CSV rather than JSON. */
export const csv = (sheet: BlobPart): Blob => new Blob([sheet], { type: 'text/csv' });

/** Speaks to the API. Holds the access token in memory only; the refresh token is a cookie that script cannot read. */
export class Client {
  #token = '';
  #expiresAt = 0;
  #refreshing: Promise<boolean> | undefined;

  constructor(private readonly deps: Deps) {}

  adopt(grant: Grant): void {
    this.#token = grant.access_token;
    this.#expiresAt = this.deps.now() + grant.expires_in * 1000;
  }

  forget(): void {
    this.#token = '';
    this.#expiresAt = 0;
  }

  /** A call with the session's authority: refreshes before expiry, and once more if the server still says 401. */
  async call<T>(method: string, path: string, body?: unknown, more?: Record<string, string>): Promise<T> {
    if (this.#token === '' || this.#expiresAt - this.deps.now() < earlyMs) await this.#refreshOrThrow();
    const used = this.#token;
    let reply = await this.#send(method, path, body, used, more);
    if (reply.status === 401) {
      // Another call may have renewed it while this one was under way.
      if (this.#token === used) await this.#refreshOrThrow();
      reply = await this.#send(method, path, body, this.#token, more);
    }
    return this.#read<T>(reply);
  }

  /** A call with the session's authority where there is one. */
  either<T>(method: string, path: string): Promise<T> {
    return this.#token === '' ? this.open<T>(method, path) : this.call<T>(method, path);
  }

  /** A call that needs no session. */
  async open<T>(method: string, path: string, body?: unknown): Promise<T> {
    return this.#read<T>(await this.#send(method, path, body, ''));
  }

  /**
   * Gets a fresh access token by cookie; concurrent callers share one request. False: the session is over.
   * Throws when the server could not be asked, which says nothing about the session.
   */
  refresh(): Promise<boolean> {
    const exclusive = this.deps.exclusive ?? ((work) => work());
    this.#refreshing ??= exclusive(() => this.#refresh()).finally(() => (this.#refreshing = undefined));
    return this.#refreshing;
  }

  async #refresh(): Promise<boolean> {
    const reply = await this.#send('POST', '/auth/refresh', {}, '');
    if (reply.status === 401 || reply.status === 403) {
      this.forget();
      this.deps.onSignedOut();
      return false;
    }
    this.adopt(await this.#read<Grant>(reply));
    return true;
  }

  async #refreshOrThrow(): Promise<void> {
    if (!(await this.refresh())) throw new Problem(401, '', 'You have been signed out.');
  }

  async #send(method: string, path: string, body: unknown, token: string, more: Record<string, string> = {}): Promise<Response> {
    const headers: Record<string, string> = { Accept: 'application/json, text/csv;q=0.9', ...more };
    const sheet = body instanceof Blob;
    if (token) headers['Authorization'] = `Bearer ${token}`;
    if (body !== undefined) headers['Content-Type'] = sheet ? body.type : 'application/json';
    const sent = this.deps.now();
    try {
      const reply = await this.deps.fetch(base + path, {
        method,
        headers,
        body: body === undefined || sheet ? body : JSON.stringify(body),
        credentials: 'same-origin',
        signal: AbortSignal.timeout(sheet ? sheetTimeoutMs : requestTimeoutMs),
      });
      const date = Date.parse(reply.headers.get('Date') ?? '');
      if (!Number.isNaN(date)) this.deps.onDate?.(date, sent, this.deps.now());
      return reply;
    } catch {
      throw unreachable();
    }
  }

  async #read<T>(reply: Response): Promise<T> {
    if (!reply.ok) throw await readProblem(reply);
    const body = await reply.text();
    if (reply.headers.get('Content-Type')?.startsWith('text/csv')) return body as T;
    return (body === '' ? undefined : parseJson(body)) as T;
  }
}
