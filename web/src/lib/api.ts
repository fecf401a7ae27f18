/**
 * Every call to the server and every shape it speaks, in one place. The shapes come from the generated
 * `api.gen.ts` by path, method and status only, so a renamed schema on the server touches nothing here.
 */
import { alertOf, readingOf, type Alert, type Reading } from 'sensorcast-client';
import type { paths } from '../api.gen';
import { Client, csv } from './client';
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
export type Happening = Item<'/api/v1/sensors/{serial_no}/timeline'>;
export type Channel = Reply<'/api/v1/channels/{channel_id}', 'get', 200>;
export type ChannelDraft = Body<'/api/v1/channels', 'post'>;
export type ChannelPatch = Body<'/api/v1/channels/{channel_id}', 'patch'>;
export type ChannelCreated = Reply<'/api/v1/channels', 'post', 201>;
export type Delivery = Item<'/api/v1/channels/{channel_id}/deliveries'>;
export type Trial = Reply<'/api/v1/channels/{channel_id}/test', 'post', 200>;
export type Severity = Channel['min_severity'];
export type Access = Sensor['access'];
export type Share = Reply<'/api/v1/sensors/{serial_no}/shares/{username}', 'put', 200>;
export type ShareAccess = Share['access'];
export type Offer = Reply<'/api/v1/sensors/{serial_no}/transfer', 'post', 201>;
export type OfferState = Reply<'/api/v1/sensors/{serial_no}/transfer', 'get', 200>;
export type OfferDraft = Body<'/api/v1/sensors/{serial_no}/transfer', 'post'>;
export type Claimed = Reply<'/api/v1/sensors/claim', 'post', 200>;
export type Stranger = Item<'/api/v1/inbox'>;
export type Adoption = Body<'/api/v1/inbox/{serial_no}/adopt', 'post'>;
export type Adopted = Reply<'/api/v1/inbox/{serial_no}/adopt', 'post', 201>;
export type Imported = Reply<'/api/v1/sensors/import', 'post', 200>;
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
export type Rule = Reply<'/api/v1/rules/{rule_id}', 'get', 200>;
export type RuleDraft = Omit<Body<'/api/v1/rules', 'post'>, 'enabled'>; // which is true when it is absent
export type RulePatch = Body<'/api/v1/rules/{rule_id}', 'patch'>;
export type RulePreview = Reply<'/api/v1/rules/preview', 'post', 200>;
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
const channelPath = (id: string) => `/channels/${encodeURIComponent(id)}`;

const sharePath = (serial: string, username: string) => `${sensorPath(serial)}/shares/${encodeURIComponent(username)}`;
const strangerPath = (serial: string) => `/inbox/${encodeURIComponent(serial)}`;

function query(values: Record<string, string | number | boolean | undefined>): string {
  const pairs = Object.entries(values).filter(([, value]) => value !== undefined && value !== '');
  return pairs.length === 0 ? '' : '?' + new URLSearchParams(pairs.map(([key, value]) => [key, String(value)]));
}

/** One page of a list. */
async function page<T>(path: string, filter: Record<string, string | number | undefined>): Promise<Page<T>> {
  const { items, next_cursor } = await client.call<{ items: T[]; next_cursor: string | null }>('GET', path + query(filter));
  return { items, next: next_cursor };
}

export const api = {
  /** Who is signed in is told more: the certificates. */
  server: () => client.either<ServerInfo>('GET', '/server'),

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
  endOtherLogins: () => client.call('DELETE', '/users/me/sessions'),
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
  /** The key makes asking again the same wish, so that a lost answer does not leave two sensors. */
  addSensor: (input: SensorInput, key: string) => client.call<SensorCreated>('POST', '/sensors', input, { 'Idempotency-Key': key }),
  patchSensor: (serial: string, patch: SensorPatch) => client.call<Sensor>('PATCH', sensorPath(serial), patch),
  deleteSensor: (serial: string) => client.call('DELETE', sensorPath(serial)),
  rotateSecret: (serial: string, grace_seconds: number) =>
    client.call<Secret>('POST', `${sensorPath(serial)}/secret`, { grace_seconds }),

  shares: async (serial: string) => (await page<Share>(`${sensorPath(serial)}/shares`, {})).items,
  share: (serial: string, username: string, access: ShareAccess) => client.call<Share>('PUT', sharePath(serial, username), { access }),
  unshare: (serial: string, username: string) => client.call('DELETE', sharePath(serial, username)),
  offerState: (serial: string) => client.call<OfferState>('GET', `${sensorPath(serial)}/transfer`),
  offer: (serial: string, draft: OfferDraft) => client.call<Offer>('POST', `${sensorPath(serial)}/transfer`, draft),
  withdrawOffer: (serial: string) => client.call('DELETE', `${sensorPath(serial)}/transfer`),
  claim: (claim_code: string, keep_secret: boolean) => client.call<Claimed>('POST', '/sensors/claim', { claim_code, keep_secret }),

  strangers: async () => (await page<Stranger>('/inbox', { limit: 500 })).items,
  adopt: (serial: string, adoption: Adoption) => client.call<Adopted>('POST', `${strangerPath(serial)}/adopt`, adoption),
  dismissStranger: (serial: string) => client.call('DELETE', strangerPath(serial)),

  /** As bytes: the server says when they are no UTF-8. */
  importSensors: (sheet: BlobPart, options: { dry_run?: boolean; update?: boolean }) =>
    client.call<Imported>('POST', '/sensors/import' + query(options), csv(sheet)),
  exportSensors: (filter: { q?: string; tag?: string; state?: string; access?: string }) =>
    client.call<string>('GET', '/sensors/export' + query(filter)),

  /** Newest first. */
  async readings(serial: string, limit: number, cursor?: string): Promise<{ items: Reading[]; next: string | null }> {
    const page = await client.call<ReadingPage>('GET', `${sensorPath(serial)}/readings${query({ limit, cursor })}`);
    return { items: (page.items ?? []).map((item) => readingOf(serial, item)), next: page.next_cursor ?? null };
  },

  /** Newest first. */
  async alerts(filter: { state?: string; serial_no?: string; limit?: number; cursor?: string }): Promise<Page<Alert>> {
    const { items, next } = await page<Item<'/api/v1/alerts'>>('/alerts', filter);
    return { items: items.map(alertOf), next };
  },
  acknowledge: async (id: string): Promise<Alert> => alertOf(await client.call('POST', `/alerts/${encodeURIComponent(id)}/ack`)),
  /** Newest first. */
  timeline: (serial: string, filter: { from?: string; limit?: number; cursor?: string }) =>
    page<Happening>(`${sensorPath(serial)}/timeline`, filter),

  /** All of them: there are at most 200. */
  rules: async () => (await client.call<{ items: Rule[] }>('GET', '/rules' + query({ limit: 500 }))).items,
  addRule: (draft: RuleDraft) => client.call<Rule>('POST', '/rules', draft),
  tryRule: (draft: RuleDraft) => client.call<RulePreview>('POST', '/rules/preview', draft),
  patchRule: (id: string, patch: RulePatch) => client.call<Rule>('PATCH', `/rules/${encodeURIComponent(id)}`, patch),
  deleteRule: (id: string) => client.call('DELETE', `/rules/${encodeURIComponent(id)}`),

  channels: async () => (await client.call<{ items: Channel[] }>('GET', '/channels')).items,
  addChannel: (draft: ChannelDraft) => client.call<ChannelCreated>('POST', '/channels', draft),
  patchChannel: (id: string, patch: ChannelPatch) => client.call<Channel>('PATCH', channelPath(id), patch),
  deleteChannel: (id: string) => client.call('DELETE', channelPath(id)),
  testChannel: (id: string) => client.call<Trial>('POST', `${channelPath(id)}/test`),
  /** Newest first. */
  deliveries: (id: string, limit: number, cursor?: string) => page<Delivery>(`${channelPath(id)}/deliveries`, { limit, cursor }),

  ticket: () => client.call<Ticket>('POST', '/tickets', { all: true }),
};
