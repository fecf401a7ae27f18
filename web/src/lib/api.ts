/**
 * Every call to the server and every shape it speaks, in one place. The shapes come from the generated
 * `api.gen.ts` by path, method and status only, so a renamed schema on the server touches nothing here.
 */
import { readingOf, type Reading } from 'sensorcast-client';
import type { paths } from '../api.gen';
import { Client } from './client';
import type { Page } from './pages.svelte';
import { skew } from './skew';

type Content<C> = C extends { content: infer T } ? T[keyof T] : never;
type Reply<P extends keyof paths, M extends keyof paths[P], S extends number> = paths[P][M] extends {
  responses: Record<S, infer R>;
}
  ? Content<R>
  : never;
type Body<P extends keyof paths, M extends keyof paths[P]> = paths[P][M] extends { requestBody?: infer B }
  ? Content<NonNullable<B>>
  : never;
type Listed<P extends keyof paths> = paths[P] extends { get: unknown } ? Reply<P, 'get' & keyof paths[P], 200> : never;
type Item<P extends keyof paths> = Listed<P> extends { items: (infer T)[] } ? T : never;

export type ServerInfo = Reply<'/api/v1/server', 'get', 200>;
export type Session = Reply<'/api/v1/auth/login', 'post', 200>;
export type User = Reply<'/api/v1/users/me', 'get', 200>;
export type UserPatch = Body<'/api/v1/users/me', 'patch'>;
export type Registration = Omit<Body<'/api/v1/auth/register', 'post'>, 'session'>;
export type Sensor = Reply<'/api/v1/sensors/{serial_no}', 'get', 200>;
export type SensorInput = Body<'/api/v1/sensors', 'post'>;
export type SensorPatch = Body<'/api/v1/sensors/{serial_no}', 'patch'>;
export type SensorCreated = Reply<'/api/v1/sensors', 'post', 201>;
export type Secret = Reply<'/api/v1/sensors/{serial_no}/secret', 'post', 200>;
export type Ticket = Reply<'/api/v1/tickets', 'post', 201>;
export type SignIn = Omit<Body<'/api/v1/auth/login', 'post'>, 'session'>;
export type Login = Item<'/api/v1/users/me/sessions'>;
export type APIToken = Item<'/api/v1/users/me/tokens'>;
export type TokenDraft = Body<'/api/v1/users/me/tokens', 'post'>;
export type TokenCreated = Reply<'/api/v1/users/me/tokens', 'post', 201>;
export type SecondFactor = Reply<'/api/v1/users/me/second-factor', 'get', 200>;
export type Enrolment = Reply<'/api/v1/users/me/second-factor', 'post', 200>;
type Recovery = Reply<'/api/v1/users/me/second-factor/confirm', 'post', 200>;
export type Account = Item<'/api/v1/users'>;
export type AccountChange = Body<'/api/v1/users/{username}', 'patch'>;
export type Invitation = Item<'/api/v1/invitations'>;
export type InvitationDraft = Body<'/api/v1/invitations', 'post'>;
export type InvitationCreated = Reply<'/api/v1/invitations', 'post', 201>;
export type AuditEntry = Item<'/api/v1/audit'>;
export type AuditFilter = Partial<Record<'actor' | 'serial_no' | 'action' | 'from' | 'to', string>>;
type SensorPage = Reply<'/api/v1/sensors', 'get', 200>;
type ReadingPage = Reply<'/api/v1/sensors/{serial_no}/readings', 'get', 200>;

/** Set by the session: what to do when the refresh cookie is refused. */
export const authority = { onSignedOut: () => {} };

const client = new Client({
  fetch: (...args) => fetch(...args),
  now: () => Date.now(),
  onSignedOut: () => authority.onSignedOut(),
  onDate: (server, sent, got) => skew.date(server, sent, got),
  // Web Locks exist in secure contexts only; elsewhere the server's 10 s of grace covers two tabs.
  exclusive: (work) =>
    navigator.locks ? (navigator.locks.request('sensorcast.refresh', work) as ReturnType<typeof work>) : work(),
});

const sensorPath = (serial: string) => `/sensors/${encodeURIComponent(serial)}`;

function query(values: Record<string, string | number | undefined>): string {
  const pairs = Object.entries(values).filter(([, value]) => value !== undefined && value !== '');
  return pairs.length === 0 ? '' : '?' + new URLSearchParams(pairs.map(([key, value]) => [key, String(value)]));
}

/** One page of a list. */
async function page<T>(path: string, filter: Record<string, string | number | undefined>): Promise<Page<T>> {
  const { items, next_cursor } = await client.call<{ items: T[]; next_cursor: string | null }>('GET', path + query(filter));
  return { items, next: next_cursor };
}

export const api = {
  server: () => client.open<ServerInfo>('GET', '/server'),

  async login(signIn: SignIn): Promise<Session> {
    const session = await client.open<Session>('POST', '/auth/login', { ...signIn, session: 'cookie' });
    client.adopt(session);
    return session;
  },
  async register(registration: Registration): Promise<Session> {
    const session = await client.open<Session>('POST', '/auth/register', { ...registration, session: 'cookie' });
    client.adopt(session);
    return session;
  },
  refresh: () => client.refresh(),
  async logout(): Promise<void> {
    try {
      await client.call('POST', '/auth/logout', {});
    } finally {
      client.forget();
    }
  },
  confirmEmail: (token: string) => client.open('POST', '/auth/email-verification/confirm', { token }),
  requestReset: (email: string) => client.open('POST', '/auth/password-reset', { email }),
  resetPassword: (token: string, new_password: string) => client.open('POST', '/auth/password-reset/confirm', { token, new_password }),

  me: () => client.call<User>('GET', '/users/me'),
  patchMe: (patch: UserPatch) => client.call<User>('PATCH', '/users/me', patch),
  changePassword: (current_password: string, new_password: string) =>
    client.call('POST', '/users/me/password', { current_password, new_password }),
  async deleteMe(password: string): Promise<void> {
    await client.call('DELETE', '/users/me', { password });
    client.forget();
  },
  sendVerification: () => client.call('POST', '/auth/email-verification', {}),

  logins: (cursor?: string) => page<Login>('/users/me/sessions', { cursor }),
  endLogin: (id: string) => client.call('DELETE', `/users/me/sessions/${encodeURIComponent(id)}`),

  tokens: () => page<APIToken>('/users/me/tokens', {}),
  makeToken: (draft: TokenDraft) => client.call<TokenCreated>('POST', '/users/me/tokens', draft),
  revokeToken: (id: string) => client.call('DELETE', `/users/me/tokens/${encodeURIComponent(id)}`),

  secondFactor: () => client.call<SecondFactor>('GET', '/users/me/second-factor'),
  enrolFactor: (password: string) => client.call<Enrolment>('POST', '/users/me/second-factor', { password }),
  confirmFactor: async (code: string) => (await client.call<Recovery>('POST', '/users/me/second-factor/confirm', { code })).recovery_codes,
  removeFactor: (password: string, code: string) => client.call('DELETE', '/users/me/second-factor', { password, code }),

  accounts: (q: string, cursor?: string) => page<Account>('/users', { q, cursor }),
  changeAccount: (username: string, change: AccountChange) =>
    client.call<Account>('PATCH', `/users/${encodeURIComponent(username)}`, change),
  removeFactorOf: (username: string) => client.call('DELETE', `/users/${encodeURIComponent(username)}/second-factor`),
  invitations: (cursor?: string) => page<Invitation>('/invitations', { cursor }),
  invite: (draft: InvitationDraft) => client.call<InvitationCreated>('POST', '/invitations', draft),
  audit: (filter: AuditFilter, cursor?: string) => page<AuditEntry>('/audit', { ...filter, cursor }),
  uninvite: (id: string) => client.call('DELETE', `/invitations/${encodeURIComponent(id)}`),

  async sensors(filter: { q?: string; limit?: number; cursor?: string }) {
    const page = await client.call<SensorPage>('GET', '/sensors' + query(filter));
    return { items: page.items ?? [], next: page.next_cursor ?? null };
  },
  sensor: (serial: string) => client.call<Sensor>('GET', sensorPath(serial)),
  addSensor: (input: SensorInput) => client.call<SensorCreated>('POST', '/sensors', input),
  patchSensor: (serial: string, patch: SensorPatch) => client.call<Sensor>('PATCH', sensorPath(serial), patch),
  deleteSensor: (serial: string) => client.call('DELETE', sensorPath(serial)),
  rotateSecret: (serial: string, grace_seconds: number) =>
    client.call<Secret>('POST', `${sensorPath(serial)}/secret`, { grace_seconds }),

  /** Newest first. */
  async readings(serial: string, limit: number, cursor?: string): Promise<{ items: Reading[]; next: string | null }> {
    const page = await client.call<ReadingPage>('GET', `${sensorPath(serial)}/readings${query({ limit, cursor })}`);
    return { items: (page.items ?? []).map((item) => readingOf(serial, item)), next: page.next_cursor ?? null };
  },

  ticket: () => client.call<Ticket>('POST', '/tickets', { all: true }),
};
