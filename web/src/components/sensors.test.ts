// @vitest-environment jsdom
import { cleanup, fireEvent, render, screen, waitFor, within } from '@testing-library/svelte';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import GiveDialog from './GiveDialog.svelte';
import SecretPanel from './SecretPanel.svelte';
import ShareDialog from './ShareDialog.svelte';

type Answer = [status: number, body: unknown];
let answers: Record<string, Answer | ((body: unknown) => Answer)>;
let asked: string[];

beforeEach(() => {
  // jsdom has no modal dialogs; that they are is the browser's part.
  HTMLDialogElement.prototype.showModal = function () {
    this.open = true;
  };
  answers = { 'POST /auth/refresh': [200, { access_token: 't', expires_in: 900 }] };
  asked = [];
  vi.stubGlobal('fetch', async (input: string, init: RequestInit) => {
    const call = `${init.method} ${String(input).replace('/api/v1', '')}`;
    asked.push(call);
    const answer = answers[call] ?? [404, { detail: 'not here' }];
    const [status, body] = typeof answer === 'function' ? answer(JSON.parse(String(init.body))) : answer;
    return new Response(status === 204 ? null : JSON.stringify(body), { status, headers: { 'Content-Type': 'application/json' } });
  });
});
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

test('a secret comes with the settings of the kind of device that is picked', async () => {
  answers['GET /server'] = [200, { mqtt_port: 1883, mqtts_port: null, certificates: [] }];
  const { container } = render(SecretPanel, { serial: 'SN1', secret: 'sdk_0123456789abcdef' });
  expect(container.querySelector('[data-copy=Secret]')!.textContent).toBe('sdk_0123456789abcdef');
  await waitFor(() => expect(container.textContent).toContain('mosquitto_pub'));
  await fireEvent.click(screen.getByRole('button', { name: 'ESPHome' }));
  expect(screen.getByRole('button', { name: 'ESPHome' }).getAttribute('aria-pressed')).toBe('true');
  expect(container.textContent).toContain('password: "sdk_0123456789abcdef"');
  expect(container.textContent).not.toContain('mosquitto_pub');
});

test('the secret is in no QR code', async () => {
  const { container } = render(SecretPanel, { serial: 'SN.1', secret: 'sdk_0123456789abcdef' });
  const label = container.querySelector('details')!;
  label.open = true;
  await fireEvent(label, new Event('toggle'));
  expect(container.querySelector('[data-qr]')!.getAttribute('data-qr')).toBe(`${location.origin}/sensors/SN.1`);
});

test('who shares sees with whom, changes what they may, and is told of a name that is nobody’s', async () => {
  answers['GET /sensors/SN1/shares'] = [200, { items: [{ username: 'zoe', access: 'viewer', since: new Date().toISOString() }] }];
  answers['PUT /sensors/SN1/shares/zoe'] = (body) => [200, { username: 'zoe', since: new Date().toISOString(), ...(body as object) }];
  answers['PUT /sensors/SN1/shares/nobody'] = [404, { detail: 'not found', errors: [{ location: 'path.username', message: 'is nobody’s user name' }] }];
  answers['DELETE /sensors/SN1/shares/zoe'] = [404, { detail: 'gone' }];
  render(ShareDialog, { serial: 'SN1', onclose: () => {} });
  const access = (await screen.findByLabelText('What zoe may do')) as HTMLSelectElement;
  await fireEvent.change(access, { target: { value: 'manager' } });
  await waitFor(() => expect(asked).toContain('PUT /sensors/SN1/shares/zoe'));

  await fireEvent.input(screen.getByLabelText('User name'), { target: { value: ' nobody ' } });
  await fireEvent.click(screen.getByRole('button', { name: 'Share', hidden: true }));
  expect(await screen.findByText('is nobody’s user name')).toBeTruthy();
  expect((screen.getByLabelText('User name') as HTMLInputElement).value).toBe(' nobody ');

  // They left a moment ago: it is as good as removed.
  await fireEvent.click(screen.getByLabelText('Take it away from zoe'));
  expect(await screen.findByText('Nobody else has access yet.')).toBeTruthy();
});

test('a claim link has its code where no server sees it', async () => {
  answers['GET /sensors/SN.1/transfer'] = [200, { open: true, username: 'bob', expires_at: new Date().toISOString() }];
  answers['POST /sensors/SN.1/transfer'] = [201, { claim_code: 'K7QP-4M2D-9XWA', expires_at: new Date().toISOString() }];
  const { container } = render(GiveDialog, { serial: 'SN.1', onclose: () => {} });
  expect(await screen.findByText(/It is offered to bob/)).toBeTruthy();
  await fireEvent.click(screen.getByText('Make a new claim code'));
  await waitFor(() => expect(container.querySelector('[data-copy=Link]')).toBeTruthy());
  const link = new URL(container.querySelector('[data-copy=Link]')!.textContent!);
  expect([link.pathname, link.search, link.hash]).toEqual(['/claim/SN.1', '', '#K7QP-4M2D-9XWA']);
  expect(container.querySelector('[data-qr]')!.getAttribute('data-qr')).toBe(link.href);
  expect(within(container).getByText('K7QP-4M2D-9XWA')).toBeTruthy();
});
