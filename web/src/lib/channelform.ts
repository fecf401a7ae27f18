import type { Channel, ChannelDraft, ChannelPatch, Severity } from './api';
import { PartError, services } from './service';

/** What a channel leads to: e-mail, a webhook, or one of the services by its id. */
export type Receiver = string;

/** The form's fields, the way inputs hold them. */
export interface ChannelForm {
  receiver: Receiver;
  name: string;
  /** The parts of the address, by name; of a webhook `url`. */
  parts: Record<string, string>;
  severity: Severity;
  quiet: boolean;
  from: string;
  to: string;
  zone: string;
}

/** Where the browser is, unless it does not say. */
const ownZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';

export function formOf(receiver: Receiver, channel?: Channel): ChannelForm {
  const hours = channel?.quiet_hours;
  return {
    receiver,
    name: channel?.name ?? '',
    parts: {},
    severity: channel?.min_severity ?? 'info',
    quiet: Boolean(hours),
    from: hours?.from ?? '22:00',
    to: hours?.to ?? '07:00',
    zone: hours?.time_zone ?? ownZone(),
  };
}

/** A channel that leads where another has led is edited with the fields of its service. */
export function receiverOf({ type, url }: Pick<Channel, 'type' | 'url'>): Receiver {
  if (type !== 'url') return type;
  return services.find(({ id }) => url?.startsWith(`${id}://`))?.id ?? 'shoutrrr';
}

/** The address the parts make; empty where nothing was filled in. Throws PartError. */
function address(form: ChannelForm): string {
  if (!Object.values(form.parts).some((text) => text.trim() !== '')) return '';
  const service = services.find(({ id }) => id === form.receiver);
  return service ? service.address(form.parts) : (form.parts['url'] ?? '').trim();
}

const hours = (form: ChannelForm) => (form.quiet ? { from: form.from, to: form.to, time_zone: form.zone.trim() } : null);

/** A new channel. Throws PartError. */
export function draftOf(form: ChannelForm): ChannelDraft {
  const quiet = hours(form);
  const draft: ChannelDraft = {
    name: form.name.trim(),
    type: form.receiver === 'email' || form.receiver === 'webhook' ? form.receiver : 'url',
    min_severity: form.severity,
    ...(quiet && { quiet_hours: quiet }),
  };
  if (form.receiver === 'email') return draft;
  const url = address(form);
  const service = services.find(({ id }) => id === form.receiver);
  if (url === '') throw new PartError(service?.parts[0]!.name ?? 'url', 'This is needed.');
  return { ...draft, url };
}

/** An edit. The address stays where no part of it was filled in again. Throws PartError. */
export function patchOf(form: ChannelForm): ChannelPatch {
  const url = form.receiver === 'email' ? '' : address(form);
  return { name: form.name.trim(), min_severity: form.severity, quiet_hours: hours(form), ...(url !== '' && { url }) };
}
