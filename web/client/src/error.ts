interface More {
  serial?: string;
  status?: number;
  retryAfter?: number;
  permanent?: boolean;
  cause?: unknown;
}

/** Whatever goes wrong here. The message says what, in words for a developer; it never holds a ticket, a token or a payload. */
export class SensorcastError extends Error {
  override readonly name = 'SensorcastError';
  /** The sensor it is about, if it is about one. */
  readonly serial: string | undefined;
  /** The HTTP status of a refused ticket request. */
  readonly status: number | undefined;
  /** Seconds the server asked to wait before the next try. */
  readonly retryAfter: number | undefined;
  /** True when trying again by itself would be of no use. */
  readonly permanent: boolean;

  constructor(
    /** Fixed text for programs: one of the README's list, or the code of the server's own error. */
    readonly code: string,
    message: string,
    more: More = {},
  ) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.serial = more.serial;
    this.status = more.status;
    this.retryAfter = more.retryAfter;
    this.permanent = more.permanent ?? false;
  }
}
