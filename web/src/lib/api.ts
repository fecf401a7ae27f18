/**
 * Every call to the server and every shape it speaks, in one place. The shapes come from the generated
 * `api.gen.ts` by path, method and status only, so a renamed schema on the server touches nothing here.
 */
import { alertOf, readingOf, type Alert, type Reading } from 'sensorcast-client';
import type { paths } from '../api.gen';
import { Client } from './client';
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
export type Happening = Reply<'/api/v1/sensors/{serial_no}/timeline', 'get', 200>['items'][number];
export type Channel = Reply<'/api/v1/channels/{channel_id}', 'get', 200>;
export type ChannelDraft = Body<'/api/v1/channels', 'post'>;
export type ChannelPatch = Body<'/api/v1/channels/{channel_id}', 'patch'>;
export type ChannelCreated = Reply<'/api/v1/channels', 'post', 201>;
export type Delivery = Reply<'/api/v1/channels/{channel_id}/deliveries', 'get', 200>['items'][number];
export type Trial = Reply<'/api/v1/channels/{channel_id}/test', 'post', 200>;
export type Severity = Channel['min_severity'];
type AlertPage = Reply<'/api/v1/alerts', 'get', 200>;
type TimelinePage = Reply<'/api/v1/sensors/{serial_no}/timeline', 'get', 200>;
type DeliveryPage = Reply<'/api/v1/channels/{channel_id}/deliveries', 'get', 200>;
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

function query(values: Record<string, string | number | undefined>): string {
  const pairs = Object.entries(values).filter(([, value]) => value !== undefined && value !== '');
  return pairs.length === 0 ? '' : '?' + new URLSearchParams(pairs.map(([key, value]) => [key, String(value)]));
}

export const api = {
  server: () => client.open<ServerInfo>('GET', '/server'),

  async login(login: string, password: string): Promise<Session> {
    const session = await client.open<Session>('POST', '/auth/login', { login, password, session: 'cookie' });
    client.adopt(session);
    return session;
  },
  async register(registration: Registration): Promise<Session> {
    const session = await client.open<Session>('POST', '/auth/register', { ...registration, session: 'cookie' });
    client.adopt(session);
    return session;
  },
  refresh: () => client.refresh(),
  async logout(everywhere: boolean): Promise<void> {
    try {
      await client.call('POST', everywhere ? '/auth/logout-all' : '/auth/logout', {});
    } finally {
      client.forget();
    }
  },

  me: () => client.call<User>('GET', '/users/me'),
  patchMe: (patch: UserPatch) => client.call<User>('PATCH', '/users/me', patch),
  changePassword: (current_password: string, new_password: string) =>
    client.call('POST', '/users/me/password', { current_password, new_password }),

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

  /** Newest first. */
  async alerts(filter: { state?: string; serial_no?: string; limit?: number; cursor?: string }): Promise<{ items: Alert[]; next: string | null }> {
    const page = await client.call<AlertPage>('GET', '/alerts' + query(filter));
    return { items: page.items.map(alertOf), next: page.next_cursor };
  },
  acknowledge: async (id: string): Promise<Alert> => alertOf(await client.call('POST', `/alerts/${encodeURIComponent(id)}/ack`)),
  /** Newest first. */
  async timeline(serial: string, filter: { from?: string; limit?: number; cursor?: string }) {
    const page = await client.call<TimelinePage>('GET', `${sensorPath(serial)}/timeline${query(filter)}`);
    return { items: page.items, next: page.next_cursor };
  },

  channels: async () => (await client.call<{ items: Channel[] }>('GET', '/channels')).items,
  addChannel: (draft: ChannelDraft) => client.call<ChannelCreated>('POST', '/channels', draft),
  patchChannel: (id: string, patch: ChannelPatch) => client.call<Channel>('PATCH', channelPath(id), patch),
  deleteChannel: (id: string) => client.call('DELETE', channelPath(id)),
  testChannel: (id: string) => client.call<Trial>('POST', `${channelPath(id)}/test`),
  /** Newest first. */
  async deliveries(id: string, limit: number, cursor?: string) {
    const page = await client.call<DeliveryPage>('GET', `${channelPath(id)}/deliveries${query({ limit, cursor })}`);
    return { items: page.items, next: page.next_cursor };
  },
  sendVerification: () => client.call('POST', '/auth/email-verification', {}),

  ticket: () => client.call<Ticket>('POST', '/tickets', { all: true }),
};
