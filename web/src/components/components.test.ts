// @vitest-environment jsdom
import { cleanup, render, screen } from '@testing-library/svelte';
import { afterEach, describe, expect, test } from 'vitest';
import Field from './Field.svelte';
import Problems from './Problems.svelte';
import ReadingsTable from './ReadingsTable.svelte';
import StateBadge from './StateBadge.svelte';

afterEach(cleanup);

test('each state has its own word and its own shape', () => {
  const shapes = (['online', 'silent', 'never_seen'] as const).map((state) => {
    const { container } = render(StateBadge, { state });
    return container.querySelector('svg')!.innerHTML;
  });
  expect(new Set(shapes).size).toBe(3);
  for (const word of ['Online', 'Silent', 'Never seen']) expect(screen.getByText(word)).toBeTruthy();
});

describe('Field', () => {
  test('an error is tied to its input', () => {
    render(Field, { label: 'Name', name: 'name', value: '', error: 'is taken', hint: 'any' });
    const input = screen.getByLabelText('Name');
    expect(input.getAttribute('aria-invalid')).toBe('true');
    expect(document.getElementById(input.getAttribute('aria-describedby')!)!.textContent).toBe('is taken');
  });

  test('without an error the hint describes it', () => {
    render(Field, { label: 'Name', name: 'name', value: '', hint: 'any' });
    const input = screen.getByLabelText('Name');
    expect(input.getAttribute('aria-invalid')).toBeNull();
    expect(document.getElementById(input.getAttribute('aria-describedby')!)!.textContent).toBe('any');
  });
});

test('a reading is shown as the sensor sent it', () => {
  const row = { type: 'reading' as const, serial: 'A', seq: 1, time: 0, receivedAt: 0, data: { counter: 9007199254740993n, temperature: 21.500001, text: '<b>x</b>' } };
  const { container } = render(ReadingsTable, { rows: [row], now: 0 });
  const text = container.querySelector('tbody')!.textContent.replace(/\s+/g, ' ');
  expect(text).toContain('counter 9007199254740993');
  expect(text).toContain('temperature 21.500001 °C');
  expect(text).toContain('<b>x</b>');
});

test('problems give the counters and the last reason', () => {
  render(Problems, { problems: { malformed: 3, refused: 0, last_reason: 'not JSON', last_at: null }, now: 0 });
  expect(screen.getByText('not JSON')).toBeTruthy();
  expect(screen.queryByText(/refused/)).toBeNull();
});
