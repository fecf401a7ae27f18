import { describe, expect, test } from 'vitest';
import type { Channel, Delivery } from './api';
import { draftOf, formOf, patchOf, receiverOf } from './channelform';
import { health } from './channelhealth';
import { kindOf, PartError, services, verification } from './service';

const address = (id: string, given: Record<string, string>) => services.find((service) => service.id === id)!.address(given);

describe('addresses are as the server takes them', () => {
  test.each<[string, Record<string, string>, string]>([
    ['ntfy', { topic: 'cellar' }, 'ntfy://ntfy.sh/cellar'],
    ['ntfy', { topic: 'cellar', server: 'http://box.example:8443/', user: 'ann', password: 'p@/w' }, 'ntfy://ann:p%40%2Fw@box.example:8443/cellar?scheme=http'],
    ['telegram', { token: '123456:AAE-canary_x', chat: '-1001' }, 'telegram://123456:AAE-canary_x@telegram?chats=-1001'],
    ['telegram', { token: ' 1:A ', chat: '@alerts' }, 'telegram://1:A@telegram?chats=%40alerts'],
    ['slack', { hook: 'https://hooks.slack.com/services/T00000000/B00000000/abcdefghijklmnopqrstuvwx' }, 'slack://hook:T00000000-B00000000-abcdefghijklmnopqrstuvwx@webhook'],
    ['discord', { hook: 'https://discord.com/api/webhooks/123456789/canary-token_' }, 'discord://canary-token_@123456789'],
    ['discord', { hook: 'https://discordapp.com/api/webhooks/1/t' }, 'discord://t@1'],
    ['gotify', { server: 'box.example/base/', token: 'Acanary.token' }, 'gotify://box.example/base/Acanary.token'],
    ['gotify', { server: 'http://box.example', token: 'A' }, 'gotify://box.example/A?disabletls=yes'],
    ['pushover', { user: 'userkey', token: 'canary' }, 'pushover://shoutrrr:canary@userkey'],
    ['mattermost', { hook: 'https://chat.example:8065/hooks/canary' }, 'mattermost://chat.example:8065/canary'],
    ['googlechat', { hook: 'https://chat.googleapis.com/v1/spaces/FOO/messages?key=canary&token=canary2' }, 'googlechat://chat.googleapis.com/v1/spaces/FOO/messages?key=canary&token=canary2'],
    ['shoutrrr', { url: ' ntfy://ntfy.sh/x?priority=5 ' }, 'ntfy://ntfy.sh/x?priority=5'],
  ])('%s %o', (id, given, want) => expect(address(id, given)).toBe(want));

  test.each<[string, Record<string, string>, string]>([
    ['ntfy', {}, 'topic'],
    ['ntfy', { topic: 'x', server: 'ftp://x' }, 'server'],
    ['ntfy', { topic: 'x', server: 'https://h/path' }, 'server'],
    ['telegram', { token: 'canary', chat: '1' }, 'token'],
    ['telegram', { token: '1:A' }, 'chat'],
    ['slack', { hook: 'https://evil.example/services/T/B/x' }, 'hook'],
    ['discord', { hook: 'https://discord.com/channels/1' }, 'hook'],
    ['mattermost', { hook: 'chat.example' }, 'hook'],
    ['googlechat', { hook: 'https://chat.googleapis.com/v1/spaces/FOO' }, 'hook'],
  ])('%s %o: the part is named', (id, given, part) => {
    expect(() => address(id, given)).toThrow(expect.objectContaining({ part }));
  });
});

describe('the form of a channel', () => {
  const form = { ...formOf('webhook'), name: ' Hook ', zone: 'Europe/Berlin' };
  const channel = { id: 'c', name: 'Phone', type: 'url', url: 'ntfy://ntfy.sh/…', min_severity: 'critical', quiet_hours: { from: '23:00', to: '06:00', time_zone: 'UTC' } } as Channel;

  test('makes what is sent', () => {
    expect(draftOf({ ...form, parts: { url: 'https://x.example' } })).toEqual({ name: 'Hook', type: 'webhook', min_severity: 'info', url: 'https://x.example' });
    expect(draftOf({ ...form, receiver: 'email', quiet: true })).toEqual({
      name: 'Hook', type: 'email', min_severity: 'info', quiet_hours: { from: '22:00', to: '07:00', time_zone: 'Europe/Berlin' },
    });
    expect(draftOf({ ...form, receiver: 'ntfy', parts: { topic: 't' } })).toMatchObject({ type: 'url', url: 'ntfy://ntfy.sh/t' });
  });

  test('needs an address', () => expect(() => draftOf(form)).toThrow(PartError));

  test('an edit leaves the address alone unless it is given again', () => {
    const edit = formOf(receiverOf(channel), channel);
    expect(edit.receiver).toBe('ntfy');
    expect(patchOf(edit)).toEqual({ name: 'Phone', min_severity: 'critical', quiet_hours: { from: '23:00', to: '06:00', time_zone: 'UTC' } });
    expect(patchOf({ ...edit, quiet: false, parts: { topic: 'new' } })).toEqual({ name: 'Phone', min_severity: 'critical', quiet_hours: null, url: 'ntfy://ntfy.sh/new' });
  });

  test('a channel is called by its service', () => {
    expect([channel, { type: 'email', url: null }, { type: 'webhook', url: 'https://x/…' }, { type: 'url', url: 'pigeon://…' }].map((one) => kindOf(one as Channel))).toEqual(['ntfy', 'E-mail', 'Webhook', 'Service']);
  });
});

describe('how a channel is doing', () => {
  const now = Date.UTC(2026, 0, 31, 12);
  const time = (seconds: number) => new Date(now + seconds * 1000).toISOString();
  const channel = (more: Partial<Channel> = {}) => ({ enabled: true, failures: 0, retry_at: null, ...more }) as Channel;
  const delivery = (more: Partial<Delivery>) => ({ state: 'sent', error: null, due_at: null, settled_at: null, ...more }) as Delivery;

  test.each<[Channel, Delivery | null, string, RegExp]>([
    [channel(), null, 'New', /test/],
    [channel(), delivery({ settled_at: time(-180) }), 'Works', /3 min ago/],
    [channel({ failures: 3, retry_at: time(240) }), delivery({ state: 'waiting', error: 'answered with 500' }), 'Failing', /3 attempts in a row failed: answered with 500\. It is tried again at \d\d:04:00/],
    [channel({ failures: 1, enabled: false }), null, 'Failing', /^The last attempt failed\.$/],
    [channel({ enabled: false }), delivery({}), 'Off', /Nothing/],
    [channel(), delivery({ state: 'failed', error: 'answered with 410' }), 'Look', /given up: answered with 410/],
    [channel(), delivery({ state: 'waiting', due_at: time(3600) }), 'Quiet', /after the quiet hours/],
    [channel(), delivery({ state: 'waiting' }), 'Sending', /on its way/],
  ])('%#', (one, last, word, says) => {
    expect(health(one, last, now)).toMatchObject({ word, says: expect.stringMatching(says) });
  });
});

test('the shown check takes what is genuine and nothing else', async () => {
  const key = 'k'.repeat(32);
  const { isGenuine } = await import(/* @vite-ignore */ `data:text/javascript,${encodeURIComponent(verification('whsec_' + btoa(key)))}`);
  const bytes = (text: string) => new TextEncoder().encode(text);
  const hmac = await crypto.subtle.importKey('raw', bytes(key), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  const sign = async (at: number, body: string) => ({
    'webhook-id': 'm1',
    'webhook-timestamp': String(at),
    'webhook-signature': 'v1,AAAA v1,' + btoa(String.fromCharCode(...new Uint8Array(await crypto.subtle.sign('HMAC', hmac, bytes(`m1.${at}.${body}`))))),
  });
  const at = Math.floor(Date.now() / 1000);
  expect(isGenuine(await sign(at, '{}'), '{}')).toBe(true);
  expect(isGenuine(await sign(at, '{}'), '{} ')).toBe(false);
  expect(isGenuine(await sign(at - 400, '{}'), '{}')).toBe(false);
  expect(isGenuine({ ...(await sign(at, '{}')), 'webhook-signature': 'v1,x' }, '{}')).toBe(false);
});
