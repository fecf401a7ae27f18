// @vitest-environment jsdom
import { cleanup, fireEvent, render, screen } from '@testing-library/svelte';
import { createRawSnippet } from 'svelte';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Problem } from '../lib/problem';
import ConfirmEmail from '../pages/ConfirmEmail.svelte';
import Register from '../pages/Register.svelte';
import SignIn from '../pages/SignIn.svelte';
import { server } from '../lib/server.svelte';
import { session } from '../lib/session.svelte';
import ConfirmDialog from './ConfirmDialog.svelte';
import RecoveryCodes from './RecoveryCodes.svelte';
import Refusal from './Refusal.svelte';

beforeEach(() => {
  // jsdom has no modal dialogs yet.
  HTMLDialogElement.prototype.showModal = function () {
    this.open = true;
  };
});

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
  session.state = 'out';
  session.user = null;
});

describe('Refusal', () => {
  test('what no field shows is said in full', () => {
    render(Refusal, { problem: new Problem(422, '', 'no', { name: 'is taken', odd: 'is odd' }), beside: ['name'] });
    expect(screen.getByRole('alert').textContent).toContain('odd: is odd');
    expect(screen.getByRole('alert').textContent).not.toContain('is taken');
  });

  test('a limit says how long to wait', () => {
    render(Refusal, { problem: new Problem(429, '', 'Wait as long as Retry-After says.', {}, 90) });
    expect(screen.getByRole('alert').textContent).toContain('Try again in 1 min 30 s.');
  });
});

test('a dialog that asks first stays open with the reason when it is refused', async () => {
  const act = vi.fn().mockRejectedValueOnce(new Problem(409, '/problems/last-admin', 'One active admin must remain.')).mockResolvedValue(undefined);
  const onclose = vi.fn();
  const children = createRawSnippet(() => ({ render: () => '<p>Really?</p>' }));
  render(ConfirmDialog, { title: 'Disable ada', action: 'Disable', act, onclose, children });
  await fireEvent.click(screen.getByText('Disable'));
  expect((await screen.findByRole('alert')).textContent).toContain('One active admin must remain.');
  expect(onclose).not.toHaveBeenCalled();
  await fireEvent.click(screen.getByText('Disable'));
  await vi.waitFor(() => expect(onclose).toHaveBeenCalledTimes(1));
});

test('recovery codes are all there, as text', () => {
  render(RecoveryCodes, { codes: ['aaaa-bbbb', 'cccc-dddd'], username: 'ada', ondone: () => {} });
  expect(screen.getAllByRole('listitem').map((item) => item.textContent)).toEqual(['aaaa-bbbb', 'cccc-dddd']);
});

/** Answers requests in turn and keeps what was sent. */
function serve(...answers: [number, unknown][]) {
  const sent: Record<string, unknown>[] = [];
  vi.stubGlobal('fetch', async (_path: string, init: RequestInit) => {
    sent.push(JSON.parse(String(init.body)) as Record<string, unknown>);
    const [status, body] = answers.shift()!;
    return new Response(body === null ? null : JSON.stringify(body), { status });
  });
  return sent;
}

const input = (name: string) => document.querySelector<HTMLInputElement>(`[name=${name}]`);
const type = (name: string, value: string) => fireEvent.input(input(name)!, { target: { value } });

test('signing in asks for the code of the second factor and keeps what was typed', async () => {
  const sent = serve(
    [401, { type: '/problems/second-factor-required', detail: '' }],
    [401, { type: '/problems/unauthenticated', detail: 'wrong' }],
    [200, { access_token: 't', expires_in: 900, user: { username: 'ada' } }],
  );
  render(SignIn);
  await type('login', 'ada');
  await type('password', 'secret');
  await fireEvent.submit(input('login')!.form!);
  await vi.waitFor(() => expect(input('code')).toBe(document.activeElement));
  expect(screen.queryByRole('alert')).toBeNull();
  await type('code', '123 456');
  await fireEvent.submit(input('code')!.form!);
  expect((await screen.findByRole('alert')).textContent).toContain('This code is wrong');
  await type('code', '654321');
  await fireEvent.submit(input('code')!.form!);
  await vi.waitFor(() => expect(session.state).toBe('in'));
  expect(sent.map(({ login, password, code }) => [login, password, code])).toEqual([
    ['ada', 'secret', undefined],
    ['ada', 'secret', '123456'],
    ['ada', 'secret', '654321'],
  ]);
});

test('where letters hold codes, a pasted one confirms the address, and a wrong one says so beside its field', async () => {
  const sent = serve([422, { detail: 'no', errors: [{ location: 'body.token', message: 'is wrong' }] }], [204, null]);
  render(ConfirmEmail);
  await type('token', ' ver_wrong ');
  await fireEvent.submit(input('token')!.form!);
  expect(await screen.findByText('is wrong')).toBeTruthy();
  await vi.waitFor(() => expect(input('token')).toBe(document.activeElement));
  await type('token', 'https://sensors.example.org/confirm-email#ver_right');
  await fireEvent.submit(input('token')!.form!);
  expect(await screen.findByText(/your address is confirmed/)).toBeTruthy();
  expect(sent.map(({ token }) => token)).toEqual(['ver_wrong', 'ver_right']);
});

describe('registering', () => {
  const registration = (value: 'open' | 'invite' | 'closed') => (server.info = { ...server.info!, registration: value });

  test('by invitation asks for the code and says so beside its field', async () => {
    registration('invite');
    serve([403, { type: '/problems/invitation-required', detail: '' }]);
    render(Register);
    await fireEvent.submit(input('username')!.form!);
    await vi.waitFor(() => expect(input('invitation')!.getAttribute('aria-invalid')).toBe('true'));
  });

  test('asks for the set-up token when the server does, which is no mistake the first time', async () => {
    registration('open');
    serve([403, { type: '/problems/setup-token-required', detail: '' }], [403, { type: '/problems/setup-token-required', detail: 'Still needed.' }]);
    render(Register);
    await fireEvent.submit(input('username')!.form!);
    await vi.waitFor(() => expect(input('setup_token')).not.toBeNull());
    expect(screen.queryByRole('alert')).toBeNull();
    await fireEvent.submit(input('username')!.form!);
    expect((await screen.findByRole('alert')).textContent).toContain('Still needed.');
  });

  test('that is closed says whom to ask', () => {
    registration('closed');
    render(Register);
    expect(screen.getByText(/takes no new accounts/)).toBeTruthy();
    expect(input('username')).toBeNull();
  });
});
