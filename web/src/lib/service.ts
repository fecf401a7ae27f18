import type { Channel, Severity } from './api';

/** A field of a receiver's address, explained. */
export interface Part {
  name: string;
  label: string;
  hint?: string;
  placeholder?: string;
  optional?: boolean;
  secret?: boolean;
}

/** A chat or push service, and how its shoutrrr address is put together. */
export interface Service {
  id: string;
  label: string;
  /** What it is, in a few words. */
  says: string;
  parts: Part[];
  /** Throws the name of the part that is wrong and what is wrong with it. */
  address: (given: Record<string, string>) => string;
}

/** What is wrong with one part. */
export class PartError extends Error {
  constructor(
    readonly part: string,
    message: string,
  ) {
    super(message);
  }
}

const enc = encodeURIComponent;

/** The address a person pasted, which must look as the service gives it out. */
function pasted(part: string, text: string, pattern: RegExp, example: string): RegExpMatchArray {
  const found = text.trim().match(pattern);
  if (!found) throw new PartError(part, `This should look like ${example}`);
  return found;
}

/** A server as people write it: with or without https:// in front, with a path or without. */
function serverOf(part: string, text: string): { place: string; plain: boolean } {
  const given = text.trim();
  let url: URL;
  try {
    url = new URL(given.includes('://') ? given : `https://${given}`);
  } catch {
    throw new PartError(part, 'This should be the address of a server, such as https://push.example.org');
  }
  if (!/^https?:$/.test(url.protocol)) throw new PartError(part, 'This should begin with https://');
  return { place: url.host + url.pathname.replace(/\/+$/, ''), plain: url.protocol === 'http:' };
}

function need(given: Record<string, string>, ...parts: string[]): string[] {
  return parts.map((part) => {
    const text = given[part]?.trim() ?? '';
    if (text === '') throw new PartError(part, 'This is needed.');
    return text;
  });
}

/** Every service that can be told by simple fields, those that need no account first. */
export const services: Service[] = [
  {
    id: 'ntfy',
    label: 'ntfy',
    says: 'Push, no account needed',
    parts: [
      { name: 'topic', label: 'Topic', hint: 'Subscribe to it in the ntfy app. Who knows its name can read it: choose one that is hard to guess.', placeholder: 'cellar-k7q4mxw2' },
      { name: 'server', label: 'Server', hint: 'ntfy.sh when empty.', placeholder: 'https://ntfy.sh', optional: true },
      { name: 'user', label: 'User name', optional: true },
      { name: 'password', label: 'Password', optional: true },
    ],
    address(given) {
      const [topic] = need(given, 'topic');
      const { place, plain } = serverOf('server', given['server']?.trim() || 'ntfy.sh');
      if (place.includes('/')) throw new PartError('server', 'This should be the server alone; the topic has a field of its own.');
      const user = given['user']?.trim() ?? '';
      const login = user === '' ? '' : `${enc(user)}:${enc(given['password'] ?? '')}@`;
      return `ntfy://${login}${place}/${enc(topic!)}${plain ? '?scheme=http' : ''}`;
    },
  },
  {
    id: 'telegram',
    label: 'Telegram',
    says: 'Chat, by a bot',
    parts: [
      { name: 'token', label: 'Token of the bot', hint: 'From @BotFather, who makes bots: /newbot.', placeholder: '110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw' },
      { name: 'chat', label: 'Chat', hint: 'The number of a chat the bot was written to from, or the @name of a channel it is in.', placeholder: '-1001234567890' },
    ],
    address(given) {
      const [token, chat] = need(given, 'token', 'chat');
      const [, bot, secret] = pasted('token', token!, /^(\d+):([\w-]+)$/, '110201543:AAHdqTcvCH1vGWJxfSe…');
      return `telegram://${bot}:${secret}@telegram?chats=${enc(chat!)}`;
    },
  },
  {
    id: 'slack',
    label: 'Slack',
    says: 'Team chat',
    parts: [{ name: 'hook', label: 'Incoming webhook', hint: 'Slack gives it out under “Incoming Webhooks” of an app.', placeholder: 'https://hooks.slack.com/services/T…/B…/…' }],
    address(given) {
      const [hook] = need(given, 'hook');
      const [, team, bot, secret] = pasted('hook', hook!, /^https:\/\/hooks\.slack\.com\/services\/([A-Z0-9]+)\/([A-Z0-9]+)\/([A-Za-z0-9]+)$/, 'https://hooks.slack.com/services/T…/B…/…');
      return `slack://hook:${team}-${bot}-${secret}@webhook`;
    },
  },
  {
    id: 'discord',
    label: 'Discord',
    says: 'Chat',
    parts: [{ name: 'hook', label: 'Webhook', hint: 'From the channel’s settings, under “Integrations”.', placeholder: 'https://discord.com/api/webhooks/…/…' }],
    address(given) {
      const [hook] = need(given, 'hook');
      const [, id, token] = pasted('hook', hook!, /^https:\/\/(?:\w+\.)?discord(?:app)?\.com\/api\/webhooks\/(\d+)\/([\w-]+)\/?$/, 'https://discord.com/api/webhooks/…/…');
      return `discord://${token}@${id}`;
    },
  },
  {
    id: 'gotify',
    label: 'Gotify',
    says: 'Push, your own server',
    parts: [
      { name: 'server', label: 'Server', placeholder: 'https://gotify.example.org' },
      { name: 'token', label: 'Token of the application', hint: 'Gotify shows it under “Apps”.' },
    ],
    address(given) {
      const [server, token] = need(given, 'server', 'token');
      const { place, plain } = serverOf('server', server!);
      return `gotify://${place}/${enc(token!)}${plain ? '?disabletls=yes' : ''}`;
    },
  },
  {
    id: 'pushover',
    label: 'Pushover',
    says: 'Push',
    parts: [
      { name: 'user', label: 'User key', hint: 'On the first page of pushover.net once you are signed in.' },
      { name: 'token', label: 'Token of the application', hint: 'Of an application you made there.' },
    ],
    address(given) {
      const [user, token] = need(given, 'user', 'token');
      return `pushover://shoutrrr:${enc(token!)}@${enc(user!)}`;
    },
  },
  {
    id: 'mattermost',
    label: 'Mattermost',
    says: 'Team chat',
    parts: [{ name: 'hook', label: 'Incoming webhook', hint: 'Mattermost gives it out under “Integrations”.', placeholder: 'https://chat.example.org/hooks/…' }],
    address(given) {
      const [hook] = need(given, 'hook');
      const [, scheme, host, token] = pasted('hook', hook!, /^(https?):\/\/([^/]+)\/hooks\/(\w+)$/, 'https://chat.example.org/hooks/…');
      return `mattermost://${host}/${token}${scheme === 'http' ? '?disabletls=yes' : ''}`;
    },
  },
  {
    id: 'googlechat',
    label: 'Google Chat',
    says: 'Team chat',
    parts: [{ name: 'hook', label: 'Webhook', hint: 'From the space’s menu, under “Apps & integrations”.', placeholder: 'https://chat.googleapis.com/v1/spaces/…' }],
    address(given) {
      const [hook] = need(given, 'hook');
      const [, rest] = pasted('hook', hook!, /^https:\/\/(chat\.googleapis\.com\/\S+\?\S*key=\S+)$/, 'https://chat.googleapis.com/v1/spaces/…/messages?key=…&token=…');
      return `googlechat://${rest}`;
    },
  },
  {
    id: 'shoutrrr',
    label: 'By address',
    says: 'Any of these, as shoutrrr writes it',
    parts: [{ name: 'url', label: 'Address', hint: 'As shoutrrr writes it, for any of these services and with options the fields here do not have.', placeholder: 'ntfy://ntfy.sh/cellar?priority=5' }],
    address: (given) => need(given, 'url')[0]!,
  },
];

/** What sort of channel it is, for people: the service where its address tells. */
export function kindOf({ type, url }: Pick<Channel, 'type' | 'url'>): string {
  if (type === 'email') return 'E-mail';
  if (type === 'webhook') return 'Webhook';
  return services.find(({ id }) => url?.startsWith(`${id}://`))?.label ?? 'Service';
}

export const severities: readonly (readonly [Severity, string])[] = [
  ['info', 'Every alert'],
  ['warning', 'Warnings and what is critical'],
  ['critical', 'Only what is critical'],
];

/** A script that checks who sent a message, ready to paste. */
export const verification = (secret: string): string => `import { createHmac, timingSafeEqual } from 'node:crypto';

const key = Buffer.from('${secret.replace(/^whsec_/, '')}', 'base64');

// headers: of the request; body: its text, exactly as it came
export function isGenuine(headers, body) {
  const { 'webhook-id': id, 'webhook-timestamp': at } = headers;
  const mac = createHmac('sha256', key).update(id + '.' + at + '.' + body);
  const want = Buffer.from('v1,' + mac.digest('base64'));
  const same = (one) =>
    one.length === want.length && timingSafeEqual(Buffer.from(one), want);
  const fresh = Math.abs(Date.now() / 1000 - at) < 300;
  return fresh && headers['webhook-signature'].split(' ').some(same);
}`;
