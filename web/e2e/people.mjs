// People and their accounts, with nothing faked: browsers, the sensorcast binary, a mail server, an authenticator app.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { shoot } from './browser.mjs';
import { openMailbox } from './mailbox.mjs';
import { freePort } from './server.mjs';
import { browser, live, looks, own, play, serve, shots, step, tab, watchdog } from './stage.mjs';
import { totp } from './totp.mjs';

/** The contract grants a session that is ended a second until its sockets are closed; the page then asks at once, not after its pause before reconnecting. */
const outMs = 1_400;
const password = 'a long enough passphrase 42';
/** In every name that people choose: it must be seen, and must not be obeyed. */
const trap = `<img src=x onerror="document.title='obeyed'">`;

let mailbox, origin;
await play('people e2e', async () => {
  mailbox = own(await openMailbox());
  origin = `http://127.0.0.1:${await freePort()}`; // stands in letters, and so is known before the server starts
  const flags = ['--registration', 'invite', '--smtp-url', mailbox.url, '--mail-from', 'sensorcast@example.org', '--public-url', origin];
  await serve(flags, { http: new URL(origin).host });
  const ada = await firstAccount();
  const secret = await secondFactor(ada);
  await sessions(ada, secret);
  await tokens(ada);
  const bob = await invited(ada);
  await disabled(ada, bob);
  await forgotten();
  await factorOff(ada, secret);
  await audited(ada);
  await gallery(ada);
  await resigned();
});

async function firstAccount() {
  const page = await tab('ada');
  await page.goto(origin);
  await page.getByRole('link', { name: 'Create your account' }).click();
  await fill(page, { username: 'ada', email: 'ada@example.org', password: 'short', first_name: trap });
  await refused(() => page.getByRole('button', { name: 'Create account' }).click(), page.getByText('must be at least 10 characters long'));
  await page.fill('[name=password]', password);
  await page.getByRole('button', { name: 'Create account' }).click();
  await page.getByText('No sensors yet').waitFor();
  step('the first account was made; the mistake stood beside its field and nothing typed was lost');

  await page.getByRole('link', { name: 'Account' }).click();
  await page.getByText('Not confirmed').waitFor();
  await page.getByRole('heading', { name: trap }).waitFor();
  await picture(page, 'profile-unconfirmed');
  await page.goto(await mailbox.link('ada@example.org', '/confirm-email'));
  await picture(page, 'confirm-email');
  await page.getByRole('button', { name: 'Confirm', exact: true }).click();
  await page.getByText('your address is confirmed').waitFor();
  await page.goto(`${origin}/account`);
  await page.getByText('Confirmed', { exact: true }).waitFor();
  step('the link of the letter confirmed the address');
  return page;
}

/** Turns it on; returns the secret and the recovery codes. */
async function secondFactor(page) {
  await page.getByRole('link', { name: 'Security' }).click();
  await page.getByRole('button', { name: 'Turn on…' }).click();
  await page.fill('[name=password]', 'not the password');
  await refused(() => page.getByRole('button', { name: 'Go on' }).click(), page.locator('[name=password][aria-invalid=true]'));
  await page.fill('[name=password]', password);
  await page.getByRole('button', { name: 'Go on' }).click();
  const key = (await page.getByTestId('factor-secret').textContent()).replace(/\s/g, '');
  const uri = await page.locator('svg[data-qr]').getAttribute('data-qr');
  if (!uri.includes(`secret=${key}`)) throw new Error('the QR code and the text are different secrets');
  await picture(page, 'factor-app');
  await page.fill('[name=code]', totp(key));
  await page.getByRole('button', { name: 'Turn on' }).click();
  const list = page.getByRole('list', { name: 'Recovery codes' }).getByRole('listitem');
  await list.first().waitFor();
  const codes = await list.allTextContents();
  await picture(page, 'factor-recovery');
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download' }).click()]);
  const file = readFileSync(await download.path(), 'utf8');
  if (codes.length !== 10 || !codes.every((code) => file.includes(code))) throw new Error(`${codes.length} recovery codes, and the file holds: ${file.length} characters`);
  await page.getByRole('button', { name: 'I have kept them' }).click();
  await page.getByText('10 of your recovery codes are left').waitFor();
  step('the second factor was set up with an app; ten recovery codes were downloaded');
  return { key, codes };
}

async function sessions(first, { key, codes }) {
  const second = await tab('ada elsewhere');
  await second.goto(origin);
  await fill(second, { login: 'ada', password });
  await refused(() => second.getByRole('button', { name: 'Sign in' }).click(), second.getByRole('heading', { name: 'One more step' }));
  await picture(second, 'signin-code');
  await second.fill('[name=code]', totp(key) === '000000' ? '111111' : '000000');
  await refused(() => second.getByRole('button', { name: 'Sign in' }).click(), second.getByText('This code is wrong'));
  await second.fill('[name=code]', totp(key, 1)); // that of now turned it on, and is spent
  await second.getByRole('button', { name: 'Sign in' }).click();
  await live(second);
  step('signed in with a code of the app, after a wrong one');

  const third = await tab('ada by recovery code');
  await third.goto(origin);
  await fill(third, { login: 'ada', password });
  await refused(() => third.getByRole('button', { name: 'Sign in' }).click(), third.getByRole('heading', { name: 'One more step' }));
  await third.getByRole('button', { name: 'Use a recovery code instead' }).click();
  await third.fill('[name=recovery]', codes[0]);
  await third.getByRole('button', { name: 'Sign in' }).click();
  await live(third);
  step('signed in with a recovery code');

  await first.getByRole('link', { name: 'Sessions' }).click();
  const rows = first.locator('.rows > li');
  await rows.nth(2).waitFor();
  if ((await rows.filter({ hasText: 'This one' }).count()) !== 1) throw new Error('the session one looks from is not marked');
  await picture(first, 'sessions');
  await rows.first().getByRole('button', { name: 'End…' }).click();
  await out(third, () => first.getByRole('button', { name: 'End it' }).click());
  await third.getByText('Your session has ended').waitFor();
  await first.getByRole('button', { name: 'End all others…' }).click();
  await out(second, () => first.getByRole('button', { name: 'End them' }).click());
  await first.getByText('All other sessions ended.').waitFor();
  if ((await rows.count()) !== 1) throw new Error('sessions that ended are still listed');
  step('a session ended from another tab is out at once, and so are all others');
  await second.context().close();
  await third.context().close();
}

async function tokens(page) {
  await page.getByRole('link', { name: 'API tokens' }).first().click();
  await page.getByText('None yet.').waitFor();
  await page.getByRole('button', { name: 'New token' }).click();
  await refused(() => page.getByRole('button', { name: 'Make token' }).click(), page.locator('[name=name][aria-invalid=true]'));
  await page.fill('[name=name]', trap);
  await page.getByLabel('Good for').selectOption('for ever');
  await page.getByRole('button', { name: 'Make token' }).click();
  const token = await page.locator('[data-copy=Token]').textContent();
  await picture(page, 'token-made');
  await page.getByRole('button', { name: 'Done' }).click();
  const ask = async (path) => (await fetch(`${origin}/api/v1${path}`, { headers: { authorization: `Bearer ${token}` } })).status;
  const answers = [await ask('/sensors'), await ask('/users/me')];
  if (answers.join() !== '200,403') throw new Error(`the token: got ${answers}, want 200,403`);
  await page.reload();
  const row = page.locator('.rows > li', { hasText: trap });
  await row.getByText('never expires').waitFor();
  await row.getByText('last used').waitFor();
  await row.getByRole('button', { name: 'Revoke…' }).click();
  await page.getByRole('button', { name: 'Revoke it' }).click();
  await row.waitFor({ state: 'detached' });
  const after = await ask('/sensors');
  if (after !== 401) throw new Error(`the revoked token: got ${after}, want 401`);
  step('a token was made, used, and revoked');
}

async function invited(admin) {
  const stranger = await tab('stranger');
  await stranger.goto(`${origin}/register`);
  await fill(stranger, { username: 'eve', email: 'eve@example.org', password });
  await refused(() => stranger.getByRole('button', { name: 'Create account' }).click(), stranger.locator('[name=invitation][aria-invalid=true]'));
  await picture(stranger, 'register-invitation-missing');
  await stranger.context().close();

  await admin.getByRole('link', { name: 'Admin' }).click();
  await admin.getByRole('link', { name: 'Invitations' }).click();
  await admin.getByRole('button', { name: 'Invite somebody' }).click();
  await admin.fill('[name=email]', 'bob@example.org');
  await admin.getByRole('button', { name: 'Invite', exact: true }).click();
  const shown = await admin.locator('[data-copy=Link]').textContent();
  await picture(admin, 'invitation-made');
  await admin.getByRole('button', { name: 'Done' }).click();

  const link = await mailbox.link('bob@example.org', '/register');
  if (link !== shown) throw new Error('the letter and the page have different links');
  const bob = await tab('bob');
  await bob.goto(link);
  await fill(bob, { username: 'bob', email: 'rob@example.org', password, last_name: trap });
  await refused(() => bob.getByRole('button', { name: 'Create account' }).click(), bob.getByText('must be the address that was invited'));
  await bob.fill('[name=email]', 'bob@example.org');
  await bob.getByRole('button', { name: 'Create account' }).click();
  await live(bob);
  await admin.reload();
  await admin.locator('.rows > li', { hasText: 'bob@example.org' }).getByText('used', { exact: true }).waitFor();
  await bob.goto(await mailbox.link('bob@example.org', '/confirm-email'));
  await bob.getByRole('button', { name: 'Confirm', exact: true }).click();
  await bob.getByText('your address is confirmed').waitFor();
  await bob.goto(link);
  await bob.getByText('You are signed in as bob').waitFor();
  await bob.goto(`${origin}/admin/accounts`);
  await bob.getByRole('heading', { name: 'Not found' }).waitFor();
  await bob.goto(origin);
  await live(bob);
  step('without an invitation nobody gets in; with the one of the letter bob did, and is no admin');
  return bob;
}

async function disabled(admin, bob) {
  await admin.getByRole('link', { name: 'Accounts' }).click();
  await admin.getByText(trap).first().waitFor();
  await admin.getByLabel('Search accounts').fill('bob');
  const row = admin.locator('[data-account=bob]');
  await admin.locator('[data-account=ada]').waitFor({ state: 'detached' });
  await row.getByRole('button', { name: 'Disable…' }).click();
  await picture(admin, 'account-disable');
  await out(bob, () => admin.getByRole('button', { name: 'Disable', exact: true }).click());
  await row.getByText('disabled', { exact: true }).waitFor();
  await fill(bob, { login: 'bob', password });
  await refused(() => bob.getByRole('button', { name: 'Sign in' }).click(), bob.getByText('User name or password is wrong'));
  await row.getByRole('button', { name: 'Enable' }).click();
  await row.getByRole('button', { name: 'Disable…' }).waitFor();
  await bob.getByRole('button', { name: 'Sign in' }).click();
  await live(bob);
  await row.getByRole('button', { name: 'Make admin…' }).click();
  await out(bob, () => admin.getByRole('button', { name: 'Make admin', exact: true }).click());
  await row.getByText('admin', { exact: true }).waitFor();
  await row.getByRole('button', { name: 'Make user…' }).click();
  await admin.getByRole('button', { name: 'Make user', exact: true }).click();
  await row.getByRole('button', { name: 'Make admin…' }).waitFor();
  step('an account disabled by an admin is out at once, also when its role changes, and comes back when enabled');
  await bob.context().close();
}

async function forgotten() {
  const page = await tab('bob forgot');
  await page.goto(origin);
  await page.getByRole('link', { name: 'Forgot your password?' }).click();
  await page.fill('[name=email]', 'bob@example.org');
  await page.getByRole('button', { name: 'Send the letter' }).click();
  await page.getByText('a letter is on its way').waitFor();
  await picture(page, 'forgot-password');
  const link = await mailbox.link('bob@example.org', '/reset-password');
  await page.goto(link);
  await page.fill('[name=new_password]', 'short');
  await refused(() => page.getByRole('button', { name: 'Set the password' }).click(), page.locator('[name=new_password][aria-invalid=true]'));
  await page.fill('[name=new_password]', `${password} too`);
  await picture(page, 'reset-password');
  await page.getByRole('button', { name: 'Set the password' }).click();
  await page.getByText('Your new password is set').waitFor();
  await page.goto(`${origin}/signin`);
  await page.goto(link);
  await page.fill('[name=new_password]', `${password} again`);
  await refused(() => page.getByRole('button', { name: 'Set the password' }).click(), page.getByText('This link is wrong, was used before'));
  await page.getByRole('link', { name: 'Sign in' }).click();
  await fill(page, { login: 'bob', password: `${password} too` });
  await page.getByRole('button', { name: 'Sign in' }).click();
  await live(page);
  step('a forgotten password was replaced by letter, once');
  await page.context().close();
}

async function factorOff(page, { codes }) {
  await page.goto(`${origin}/account/security`);
  await page.getByRole('button', { name: 'Turn off…' }).click();
  await fill(page.locator('dialog'), { password, code: codes[1] });
  await picture(page, 'factor-off');
  await page.getByRole('button', { name: 'Turn off', exact: true }).click();
  await page.getByRole('button', { name: 'Turn on…' }).waitFor();
  step('the second factor was turned off with a recovery code');
}

/** What was done above, as an admin sees it. */
async function audited(page) {
  await page.goto(`${origin}/admin/activity`);
  const entries = page.locator('.trail > li');
  const entry = (who, what) => entries.filter({ hasText: who }).filter({ hasText: what });
  await entry('ada', 'Turn the second factor off').waitFor();
  await page.getByLabel('What').selectOption('Change an account');
  await entry('ada', 'Turn the second factor off').waitFor({ state: 'detached' });
  const changes = await entry('ada', 'bob').count();
  if (changes !== 4) throw new Error(`got ${changes} changes of bob's account, want 4: disabled, enabled, made admin, made user`);
  await page.getByLabel('What').selectOption('Sign in');
  await entry('bob', 'refused').first().waitFor();
  await page.fill('[name=from]', '2100-01-01');
  await page.getByText('Nothing fits these filters.').waitFor();
  await page.getByRole('button', { name: 'Clear' }).click();
  await entry('ada', 'Turn the second factor off').waitFor();
  step('the trail tells who did what, and can be searched');
}

/** Every page on both screens in both themes. */
async function gallery(page) {
  const { access_token: token } = await post('/auth/login', { login: 'ada', password });
  await post('/sensors', { serial_no: 'SN1', name: 'Greenhouse' }, token);
  await post('/users/me/tokens', { name: 'Grafana', scopes: ['read'] }, token);
  await post('/users/me/tokens', { name: 'Nightly export of the greenhouse and everything beside it', scopes: ['write'], serial_nos: ['SN1'], expires_at: '2099-01-01T00:00:00Z' }, token);
  await post('/invitations', {}, token);
  const storageState = await page.context().storageState();
  await page.context().close();
  for await (const { label, page, options } of looks(storageState)) {
    for (const path of ['account', 'account/security', 'account/sessions', 'account/tokens', 'account/activity', 'admin/accounts', 'admin/invitations', 'admin/activity']) {
      await page.goto(`${origin}/${path}`);
      await page.locator('main h1').waitFor();
      await live(page);
      await shoot(page, join(shots, `${label}-${path.replace('/', '-')}.png`));
    }
    await page.goto(`${origin}/account/tokens`);
    await page.getByRole('button', { name: 'New token' }).click();
    await page.getByLabel('only these').check();
    await shoot(page, join(shots, `${label}-token-dialog.png`));
    for (const path of ['signin', 'register', 'forgot-password', 'reset-password']) {
      const context = await browser.newContext(options);
      const page = await context.newPage();
      await page.goto(`${origin}/${path}`);
      await page.locator('h1').waitFor();
      await shoot(page, join(shots, `${label}-${path}.png`));
      await context.close();
    }
    step(`${label}: pages fit the screen`);
  }
}

async function resigned() {
  const page = await tab('bob leaves');
  await page.goto(origin);
  await fill(page, { login: 'bob', password: `${password} too` });
  await page.getByRole('button', { name: 'Sign in' }).click();
  await live(page);
  await page.goto(`${origin}/account`);
  await page.getByRole('button', { name: 'Delete my account…' }).click();
  await page.locator('dialog [name=password]').fill(password);
  await refused(() => page.getByRole('button', { name: 'Delete for good' }).click(), page.locator('dialog [aria-invalid=true]'));
  await page.locator('dialog [name=password]').fill(`${password} too`);
  await out(page, () => page.getByRole('button', { name: 'Delete for good' }).click());
  await fill(page, { login: 'bob', password: `${password} too` });
  await refused(() => page.getByRole('button', { name: 'Sign in' }).click(), page.getByText('User name or password is wrong'));
  step('bob deleted his account');
}

/** Does what the server is to refuse, and waits for what the page says to it. */
async function refused(act, said) {
  watchdog.refusing = true;
  await act();
  await said.waitFor();
  watchdog.refusing = false;
}

/** Does what ends a page's session; the page must ask to sign in right then. */
async function out(page, act) {
  watchdog.refusing = true; // it asks whether the session goes on, and it does not
  const answers = [];
  page.on('request', (request) => request.url().endsWith('/auth/refresh') && answers.push(request.response()));
  await act();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor({ timeout: outMs });
  await Promise.all(answers); // it may say so before it has heard
  await page.evaluate(() => {}); // what the console has to say of that has come, too
  watchdog.refusing = false;
}

async function fill(page, fields) {
  for (const [name, text] of Object.entries(fields)) await page.locator(`[name=${name}]`).fill(text);
}

async function picture(page, name) {
  await shoot(page, join(shots, `${name}.png`));
  if ((await page.title()) === 'obeyed') throw new Error(`${name}: a name was obeyed as markup`);
}

async function post(path, body, token) {
  const reply = await fetch(`${origin}/api/v1${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify(body),
  });
  if (!reply.ok) throw new Error(`${path}: ${reply.status} ${await reply.text()}`);
  return reply.json();
}
