// @vitest-environment jsdom
import { cleanup, fireEvent, render, screen } from '@testing-library/svelte';
import type { Alert } from 'sensorcast-client';
import { afterEach, expect, test, vi } from 'vitest';
import { api, type Sensor } from '../lib/api';
import { live } from '../lib/live.svelte';
import { notices } from '../lib/notices.svelte';
import { draftOf } from '../lib/sensorform';
import AlertRow from './AlertRow.svelte';
import Notices from './Notices.svelte';
import Severity from './Severity.svelte';
import SilenceFields from './SilenceFields.svelte';

afterEach(() => {
  cleanup();
  vi.restoreAllMocks();
});

const alert: Alert = {
  type: 'alert', id: 'a1', serial: 'SN1', name: '<b>Cellar</b>', kind: 'silent', cause: 'will', state: 'open', severity: 'warning', message: 'no reading for 10 minutes',
  openedAt: Date.now() - 90_000, resolvedAt: null, acknowledgedAt: null, acknowledgedBy: '', flapping: false, episodes: 1,
};

test('an alert says what is wrong, since when, and can be looked after', async () => {
  const acknowledge = vi.spyOn(api, 'acknowledge').mockResolvedValue({ ...alert, acknowledgedAt: Date.now(), acknowledgedBy: 'ann' });
  const { container } = render(AlertRow, { alert });
  const text = container.textContent!.replace(/\s+/g, ' ');
  expect(text).toContain('<b>Cellar</b> (SN1) is silent');
  expect(text).toContain('No reading for 10 minutes');
  expect(text).toMatch(/for 1 min 3\d s/);
  await fireEvent.click(screen.getByRole('button', { name: 'I look after it' }));
  expect(acknowledge).toHaveBeenCalledWith('a1');
});

test('one that is looked after says by whom, and asks nobody else', () => {
  render(AlertRow, { alert: { ...alert, acknowledgedAt: Date.now(), acknowledgedBy: 'ann' } });
  expect(screen.getByText(/ann looks after it/)).toBeTruthy();
  expect(screen.queryByRole('button')).toBeNull();
});

test('who may only watch is not offered to look after it', () => {
  live.enrol({ serial_no: 'SN1', name: 'Cellar', access: 'viewer', last_seen_at: null } as Sensor);
  render(AlertRow, { alert });
  expect(screen.queryByRole('button')).toBeNull();
  live.remove('SN1');
});

test('a refusal is told where it was asked', async () => {
  vi.spyOn(api, 'acknowledge').mockRejectedValue(new Error('no'));
  render(AlertRow, { alert });
  await fireEvent.click(screen.getByRole('button'));
  expect(await screen.findByRole('alert')).toBeTruthy();
});

test('each severity has its own word and its own shape', () => {
  const shapes = ['critical', 'warning', 'info'].map((severity) => render(Severity, { severity }).container.querySelector('svg')!.innerHTML);
  expect(new Set(shapes).size).toBe(3);
  for (const word of ['Critical', 'Warning', 'Info']) expect(screen.getByText(word)).toBeTruthy();
});

test('a notice names the sensor; only what is wrong looks like an alarm', async () => {
  const { container } = render(Notices);
  notices.alert(alert);
  notices.alert({ ...alert, state: 'resolved', resolvedAt: 1 });
  notices.alert({ ...alert, acknowledgedAt: 1, acknowledgedBy: 'ann' });
  await screen.findByText('<b>Cellar</b> (SN1) is back.');
  expect([...container.querySelectorAll('.notice')].map((notice) => notice.classList.contains('alert'))).toEqual([true, false, false]);
  notices.list = [];
});

test('the silence is set by one of three ways', async () => {
  const draft = $state(draftOf());
  render(SilenceFields, { draft, errors: {} });
  expect(screen.getByRole<HTMLInputElement>('radio', { name: /Server default/ }).checked).toBe(true);
  expect(screen.queryByRole('textbox')).toBeNull();
  await fireEvent.click(screen.getByRole('radio', { name: /A time of its own/ }));
  await fireEvent.input(screen.getByLabelText('Silent after, seconds'), { target: { value: '5400' } });
  expect(screen.getByText('That is 1 h 30 min.')).toBeTruthy();
  expect([draft.silence, draft.silence_after]).toEqual(['own', '5400']);
});
