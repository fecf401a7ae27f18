import type { Sensor, SensorInput } from './api';

/** The form's fields as text, the way inputs hold them. */
export interface Draft {
  serial_no: string;
  name: string;
  description: string;
  sensor_type: string;
  manufacturer: string;
  mac_address: string;
  tags: string;
  /** What decides when it is silent: the server, a time of its own, its rhythm. */
  silence: 'default' | 'own' | 'learned';
  /** Seconds; while its rhythm decides, until that is known. */
  silence_after: string;
}

export function draftOf(sensor?: Sensor): Draft {
  return {
    serial_no: sensor?.serial_no ?? '',
    name: sensor?.name ?? '',
    description: sensor?.description ?? '',
    sensor_type: sensor?.sensor_type ?? '',
    manufacturer: sensor?.manufacturer ?? '',
    mac_address: sensor?.mac_address ?? '',
    tags: (sensor?.tags ?? []).join(', '),
    silence: sensor?.silence_mode === 'learned' ? 'learned' : sensor?.silence_after ? 'own' : 'default',
    silence_after: sensor?.silence_after ? String(sensor.silence_after) : '',
  };
}

const tagList = (text: string) => [...new Set(text.split(',').map((tag) => tag.trim()).filter(Boolean))];
const seconds = ({ silence, silence_after: text }: Draft) => (silence === 'default' || text.trim() === '' ? null : Number(text));
const mode = ({ silence }: Draft) => (silence === 'learned' ? 'learned' : 'fixed');

/** A new sensor: what was left empty is left out, so the server's own defaults apply. */
export function creationOf(draft: Draft): SensorInput {
  const input: SensorInput = {};
  for (const key of ['serial_no', 'name', 'description', 'sensor_type', 'manufacturer', 'mac_address'] as const) {
    const value = draft[key].trim();
    if (value !== '') input[key] = value;
  }
  const tags = tagList(draft.tags);
  if (tags.length > 0) input.tags = tags;
  const silence = seconds(draft);
  if (silence !== null) input.silence_after = silence;
  if (draft.silence === 'learned') input.silence_mode = 'learned';
  return input;
}

/** An edit: only what differs is sent, so two people editing different fields do not undo each other. */
export function changeOf(draft: Draft, sensor: Sensor): SensorInput {
  const before = draftOf(sensor);
  const patch: SensorInput = {};
  for (const key of ['name', 'description', 'sensor_type', 'manufacturer', 'mac_address'] as const) {
    if (draft[key].trim() !== before[key]) patch[key] = draft[key].trim();
  }
  if (draft.tags !== before.tags) patch.tags = tagList(draft.tags);
  if (seconds(draft) !== seconds(before)) patch.silence_after = seconds(draft);
  if (mode(draft) !== mode(before)) patch.silence_mode = mode(draft);
  return patch;
}
