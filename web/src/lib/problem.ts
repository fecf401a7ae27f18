/** A refusal from the API (RFC 9457 problem+json), or the lack of any answer. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly type: string,
    readonly detail: string,
    /** Message by field name, to be shown beside the field. */
    readonly fields: Record<string, string> = {},
    /** Seconds the server asked us to wait, 0 when it did not. */
    readonly retryAfter = 0,
  ) {
    super(detail);
    this.name = 'Problem';
  }

  /** The server was not reached, or stands behind a proxy that could not reach it. */
  get unreachable(): boolean {
    return this.status === 0 || this.status === 502 || this.status === 503 || this.status === 504;
  }
}

export function unreachable(): Problem {
  return new Problem(0, '', 'The server cannot be reached right now.');
}

/** Reads a non-2xx reply; anything that is not problem+json still yields a readable sentence. */
export async function readProblem(reply: Response): Promise<Problem> {
  const wait = Number(reply.headers.get('Retry-After') ?? 0) || 0;
  let body: Record<string, unknown> = {};
  try {
    const parsed: unknown = await reply.json();
    if (parsed !== null && typeof parsed === 'object') body = parsed as Record<string, unknown>;
  } catch {
    // A proxy's HTML page; the status alone has to do.
  }
  const detail = text(body['detail']) || text(body['title']) || `The server answered ${reply.status}.`;
  return new Problem(reply.status, text(body['type']), detail, fieldMessages(body['errors']), wait);
}

function fieldMessages(errors: unknown): Record<string, string> {
  const messages: Record<string, string> = {};
  if (!Array.isArray(errors)) return messages;
  for (const entry of errors as Record<string, unknown>[]) {
    const path = text(entry['location']) || text(entry['field']) || text(entry['pointer']);
    // "body.tags[2]" and "/tags/2" both belong to the field "tags".
    const field = path.replace(/^#?\/?(body[./])?/, '').split(/[.[/]/)[0] ?? '';
    const message = text(entry['message']) || text(entry['detail']);
    if (field && message && !(field in messages)) messages[field] = message;
  }
  return messages;
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/** What to tell a person about any failure. */
export function explain(failure: unknown): Problem {
  return failure instanceof Problem ? failure : new Problem(-1, '', String(failure));
}

/** For `catch` where something is to be ended or taken away: that it is gone already is as good. */
export function unlessGone(failure: unknown): void {
  if (explain(failure).status !== 404) throw failure;
}
