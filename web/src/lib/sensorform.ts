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
    silence_after: sensor?.silence_after ? String(sensor.silence_after) : '',
  };
}

const tagList = (text: string) => [...new Set(text.split(',').map((tag) => tag.trim()).filter(Boolean))];
const seconds = (text: string) => (text.trim() === '' ? null : Number(text));

/** A new sensor: what was left empty is left out, so the server's own defaults apply. */
export function creationOf(draft: Draft): SensorInput {
  const input: SensorInput = {};
  for (const key of ['serial_no', 'name', 'description', 'sensor_type', 'manufacturer', 'mac_address'] as const) {
    const value = draft[key].trim();
    if (value !== '') input[key] = value;
  }
  const tags = tagList(draft.tags);
  if (tags.length > 0) input.tags = tags;
  const silence = seconds(draft.silence_after);
  if (silence !== null) input.silence_after = silence;
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
  if (draft.silence_after.trim() !== before.silence_after) patch.silence_after = seconds(draft.silence_after);
  return patch;
}
