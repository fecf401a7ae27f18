// Sensors and their people: sharing, giving away, adopting and importing, in browsers of several people against the real binary.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { shoot } from './browser.mjs';
import { live, looks, origin, play, serve, server, shots, step, tab, waitMs, watchdog } from './stage.mjs';

/** The inbox is asked every 15 s, and the server lists who knocked some seconds later. */
const inboxMs = 40_000;
const password = 'a long enough passphrase 42';
const run = promisify(execFile);

await play('e2e of sensors', async () => {
  await serve();
  step(`server at ${server.addr.http}, MQTT at ${server.addr.mqtt}`);
  for (const username of ['ada', 'bob']) await post('auth/register', { username, email: `${username}@example.org`, password });
  const ada = await signIn('ada');
  const bob = await signIn('bob');
  const desk = await add(ada);
  await share(ada, bob, desk);
  await give(ada, desk);
  await adopt(ada);
  await importSheet(ada);
  await gallery(await ada.context().storageState());
});

/** A sensor is added though the answer is lost, by a form that is sent twice; every recipe that can be run here works. */
async function add(ada) {
  await ada.goto(`${origin()}/add`);
  await ada.fill('[name=name]', '<img src=x onerror=alert(1)> Desk');
  watchdog.restarting = true; // for the connection that breaks
  await ada.route('**/api/v1/sensors', async (route) => void (await route.fetch(), await route.abort('connectionreset')), { times: 1 });
  await ada.getByRole('button', { name: 'Add sensor' }).click();
  await ada.locator('form [role=alert]').waitFor();
  watchdog.restarting = false;
  await ada.getByRole('button', { name: 'Add sensor' }).dblclick();
  const mqtt = await ada.locator('[data-copy="Send a reading over MQTT"]').textContent();
  const serial = /-u (\S+)/.exec(mqtt)[1];
  await ada.goto(origin());
  await ada.locator('article').first().waitFor();
  const cards = await ada.locator('article').count();
  if (cards !== 1) throw new Error(`${cards} sensors came of one wish`);
  step('the answer was lost and the button clicked three times: one sensor');

  // Its secret is known to the lost page only; rotating shows the recipes again.
  await ada.goto(`${origin()}/sensors/${serial}`);
  await ada.getByRole('button', { name: 'Rotate secret' }).click();
  await ada.getByRole('button', { name: 'Rotate', exact: true }).click();
  const dialog = ada.getByRole('dialog');
  for (const kind of ['Arduino', 'ESPHome', 'Tasmota', 'Shelly', 'Something else']) {
    await dialog.getByRole('button', { name: kind }).click();
    await dialog.locator('section pre').first().waitFor();
  }
  await dialog.getByRole('button', { name: 'Command line' }).click();
  await dialog.getByText('QR code for its label').click();
  const label = await dialog.locator('[data-qr]').getAttribute('data-qr');
  if (label !== `${origin()}/sensors/${serial}`) throw new Error(`the QR code leads to ${label}`);
  const line = await dialog.locator('[data-copy="Send a reading over MQTT"]').textContent();
  const curl = await dialog.locator('[data-copy="Send a reading over HTTP"]').textContent();
  await run('sh', ['-c', line.replace('21.5', '22.5')], { timeout: waitMs });
  await ada.locator('tbody tr', { hasText: '22.5' }).waitFor();
  await run('sh', ['-c', `${curl.replace('21.5', '23.5')} --fail-with-body`], { timeout: waitMs });
  await ada.locator('tbody tr', { hasText: '23.5' }).waitFor();
  await dialog.getByRole('button', { name: 'Close' }).click();
  step('the recipes for a shell work as they are pasted');
  return { serial, line };
}

/** What is shared appears on the other's page at once, as far as they may; what is taken away is said at once. */
async function share(ada, bob, { serial, line }) {
  await bob.goto(origin());
  await bob.getByText('No sensors yet').waitFor();
  await live(bob);
  await ada.getByRole('button', { name: 'Share', exact: true }).click();
  const dialog = ada.getByRole('dialog');
  watchdog.refusing = true;
  await dialog.locator('[name=username]').fill('nobody-such');
  await dialog.getByRole('button', { name: 'Share', exact: true }).click();
  await dialog.locator('[aria-invalid=true]').waitFor();
  watchdog.refusing = false;
  await dialog.locator('[name=username]').fill('bob');
  await dialog.getByRole('button', { name: 'Share', exact: true }).click();
  await dialog.locator('li', { hasText: 'bob' }).waitFor();
  const card = bob.locator(`article[data-serial="${serial}"]`);
  await card.getByText('shared by ada (viewer)').waitFor();
  await publish(line, { temperature: 25.25 });
  await card.locator('[data-metric=temperature]', { hasText: '25.25' }).waitFor();
  await shoot(bob, join(shots, 'desk-light-shared.png'));
  await card.getByRole('link').click();
  await bob.getByTestId('shared-by').waitFor();
  await offers(bob, ['Leave'], ['Share', 'Edit', 'Rotate secret', 'Give away', 'Delete']);
  step('shared: the other’s page showed it live, and nothing they may not do');

  await dialog.getByRole('button', { name: 'Take it away from bob' }).click();
  const taken = Date.now();
  await bob.getByRole('heading', { name: 'Not shared any more' }).waitFor({ timeout: 3000 });
  step(`taken away: the other’s page said so after ${Date.now() - taken} ms`);
  await bob.getByRole('link', { name: 'All sensors' }).click();
  await bob.getByText('No sensors yet').waitFor();

  await dialog.locator('[name=username]').fill('bob');
  await dialog.locator('form [name=access]').selectOption('manager');
  await dialog.getByRole('button', { name: 'Share', exact: true }).click();
  await card.getByText('shared by ada (manager)').waitFor();
  await card.getByRole('link').click();
  await offers(bob, ['Leave', 'Edit', 'Rotate secret'], ['Share', 'Give away', 'Delete']);
  await bob.getByRole('button', { name: 'Leave' }).click();
  await bob.getByRole('dialog').getByRole('button', { name: 'Leave' }).click();
  await bob.getByText('No sensors yet').waitFor();
  await ada.getByRole('dialog').getByRole('button', { name: 'Close' }).click();
  step('a manager may do more, and left by themself');
}

/** By a link that is opened by somebody who has no account yet. */
async function give(ada, { serial }) {
  await ada.getByRole('button', { name: 'Give away' }).click();
  const dialog = ada.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Make a claim code' }).click();
  const link = await dialog.locator('[data-copy=Link]').textContent();
  const code = await dialog.locator('[data-copy="Claim code"]').textContent();
  if (link !== `${origin()}/claim/${serial}#${code}`) throw new Error(`the link is ${link}`);
  if ((await dialog.locator('[data-qr]').getAttribute('data-qr')) !== link) throw new Error('the QR code is not the link');
  await dialog.getByRole('button', { name: 'Done' }).click();
  await ada.getByRole('button', { name: 'Give away' }).click();
  await dialog.getByText('It is offered to whoever has the code').waitFor();
  await dialog.getByRole('button', { name: 'Cancel' }).click();

  const carol = await tab('carol');
  await carol.goto(link);
  await carol.getByRole('link', { name: 'Create one' }).click();
  await carol.fill('[name=username]', 'carol');
  await carol.fill('[name=email]', 'carol@example.org');
  await carol.fill('[name=password]', password);
  await carol.getByRole('button', { name: 'Create account' }).click();
  await carol.getByRole('heading', { name: `Claim ${serial}` }).waitFor();
  if ((await carol.inputValue('[name=claim_code]')) !== code) throw new Error('the code of the link was lost on the way');
  watchdog.refusing = true;
  await carol.fill('[name=claim_code]', 'K7QP-4M2D-9XWA');
  await carol.getByRole('button', { name: 'Claim', exact: true }).click();
  await carol.getByText('No sensor can be claimed with this code').waitFor();
  watchdog.refusing = false;
  await carol.fill('[name=claim_code]', link.toLowerCase());
  await carol.getByRole('button', { name: 'Claim', exact: true }).click();
  await carol.getByRole('heading', { name: 'is yours' }).waitFor();
  await ada.getByRole('heading', { name: 'Gone' }).waitFor({ timeout: 3000 });
  await carol.getByText('Waiting for its first reading').waitFor();
  const line = await carol.locator('[data-copy="Send a reading over MQTT"]').textContent();
  await run('sh', ['-c', line], { timeout: waitMs });
  await carol.locator('[data-testid=first-reading]', { hasText: '21.5' }).waitFor();
  await carol.context().close();
  step('given away by link, to somebody who registered on the way; the giver’s page said so');
}

/** A device that nobody knows knocks; adopted by one click, its next publish shows. */
async function adopt(ada) {
  const knock = (serial, value, more = []) =>
    run('mosquitto_pub', [...mqttAt(), '-u', serial, '-P', `secret-of-${serial}-0123`, '-i', 'esp-4f21', '-t', `sensors/${serial}/telemetry`, '-q', '1', '-m', `{"temperature":${value}}`, ...more], { timeout: waitMs });
  for (const serial of ['TASMOTA-4F21', 'ROOF-2', 'NOISE-1']) await knock(serial, 1).catch(() => {});
  await ada.goto(origin());
  await ada.getByTestId('inbox-badge').getByText('3', { exact: true }).waitFor({ timeout: inboxMs });
  await ada.getByTestId('inbox-badge').click();
  await ada.getByRole('heading', { name: 'Inbox' }).waitFor();
  await shoot(ada, join(shots, 'desk-light-inbox.png'));
  await ada.getByRole('button', { name: 'Dismiss NOISE-1' }).click();
  await ada.locator('[data-stranger="NOISE-1"]').waitFor({ state: 'detached' });
  await ada.getByRole('button', { name: 'Adopt TASMOTA-4F21', exact: true }).click();
  await ada.getByText('It keeps the secret it showed').waitFor();
  await knock('TASMOTA-4F21', 19.5);
  await ada.locator('[data-testid=first-reading]', { hasText: '19.5' }).waitFor();
  await ada.getByRole('dialog').getByRole('button', { name: 'Close' }).last().click();
  step('an unknown device knocked, was adopted by one click, and its next reading was live');

  await ada.getByRole('button', { name: 'Adopt ROOF-2 with a name' }).click();
  await ada.getByRole('dialog').locator('[name=name]').fill('Roof');
  await ada.getByRole('dialog').locator('[name=owner]').fill('nobody-such');
  watchdog.refusing = true;
  await ada.getByRole('dialog').getByRole('button', { name: 'Adopt', exact: true }).click();
  await ada.getByRole('dialog').locator('[aria-invalid=true]').waitFor();
  watchdog.refusing = false;
  await ada.getByRole('dialog').locator('[name=owner]').fill('bob');
  await ada.getByRole('dialog').getByRole('button', { name: 'Adopt', exact: true }).click();
  await ada.getByText('bob sees it from now on').waitFor();
  await ada.getByRole('dialog').getByRole('button', { name: 'Close' }).last().click();
  await ada.getByRole('heading', { name: 'Nobody is waiting' }).waitFor();
  await ada.getByTestId('inbox-badge').waitFor({ state: 'detached' });
  step('another was adopted for somebody else, a third dismissed; the badge is gone');
}

/** 200 rows: tried out, mended, imported, their secrets downloaded; exported again. */
async function importSheet(ada) {
  const rows = Array.from({ length: 200 }, (_, i) => `BULK-${i + 1},Bulk ${i + 1},bulk;floor ${i % 5},`);
  const sheet = (lines) => ({ name: 'fleet.csv', mimeType: 'text/csv', buffer: Buffer.from(['serial_no,name,tags,silence_after', ...lines].join('\n')) });
  await ada.goto(`${origin()}/import`);
  await ada.getByRole('heading', { name: 'What it looks like' }).waitFor();
  await shoot(ada, join(shots, 'desk-light-import.png'));
  watchdog.refusing = true;
  await ada.setInputFiles('input[type=file]', sheet(rows.with(3, 'BULK-1,Twice,,').with(6, 'BULK-7,Soon,,-5').with(8, 'no good,,,')));
  await ada.getByTestId('mistakes').locator('tr', { hasText: 'silence_after' }).filter({ hasText: '8' }).waitFor();
  watchdog.refusing = false;
  await shoot(ada, join(shots, 'desk-light-import-mistakes.png'));
  step(`mistakes of a sheet by row and field: ${(await ada.getByTestId('mistakes').locator('tbody tr').allInnerTexts()).map((text) => text.replaceAll('\t', ' · ')).join(' | ')}`);

  await ada.setInputFiles('input[type=file]', sheet(rows));
  await ada.getByTestId('plan').getByRole('heading', { name: '200 new' }).waitFor();
  await shoot(ada, join(shots, 'desk-light-import-plan.png'));
  await ada.getByRole('button', { name: 'Import 200 sensors' }).click();
  await ada.getByTestId('imported').getByText('200 new').waitFor();
  await shoot(ada, join(shots, 'desk-light-import-done.png'));
  const secrets = await downloaded(ada, 'Download 200 secrets');
  const [, serial, secret] = /^(BULK-77),(.+)$/m.exec(secrets.replaceAll('\r', ''));
  await run('mosquitto_pub', [...mqttAt(), '-u', serial, '-P', secret, '-t', `sensors/${serial}/telemetry`, '-q', '1', '-m', '{"temperature":7.75}'], { timeout: waitMs });
  await ada.getByRole('link', { name: 'All sensors' }).click();
  await ada.fill('input[type=search]', 'BULK-77');
  await ada.locator('article[data-serial="BULK-77"] [data-metric=temperature]', { hasText: '7.75' }).waitFor();
  step('200 rows imported; a sensor of the downloaded sheet of secrets reports');

  await ada.fill('input[type=search]', 'bulk');
  const exported = await downloaded(ada, 'Export as CSV');
  const lines = exported.trim().split(/\r?\n/).length;
  if (lines !== 201) throw new Error(`the export has ${lines} lines, want 201`);
  await ada.goto(`${origin()}/import`);
  await ada.setInputFiles('input[type=file]', { name: 'again.csv', mimeType: 'text/csv', buffer: Buffer.from(exported) });
  await ada.getByRole('button', { name: 'Nothing to import' }).waitFor();
  step('the export of what a search shows can be imported again and changes nothing');
}

/** Every new page and dialog on both screens in both themes. */
async function gallery(storageState) {
  const knocked = run('mosquitto_pub', [...mqttAt(), '-u', 'SHELLY-C4', '-P', 'secret-of-shelly-0123', '-i', 'shellyplus1-441793a5d2fc', '-t', 'x', '-m', 'x'], { timeout: waitMs });
  await knocked.catch(() => {});
  for await (const { label, page } of looks(storageState)) {
    const shot = (name) => shoot(page, join(shots, `${label}-${name}.png`));
    await page.goto(origin());
    await page.locator('article').first().waitFor();
    await live(page);
    await shot('sensors');
    await page.goto(`${origin()}/sensors/TASMOTA-4F21`);
    await page.locator('canvas').waitFor();
    await shot('own');
    await page.getByRole('button', { name: 'Share', exact: true }).click();
    if (label === 'phone-light') {
      await page.getByRole('dialog').locator('[name=username]').fill('bob');
      await page.getByRole('dialog').getByRole('button', { name: 'Share', exact: true }).click();
    }
    await page.getByRole('dialog').locator('li', { hasText: 'bob' }).waitFor();
    await shot('share');
    await page.getByRole('dialog').getByRole('button', { name: 'Close' }).click();
    await page.getByRole('button', { name: 'Give away' }).click();
    await page.getByText('When that happens').waitFor();
    await shot('give');
    await page.getByRole('button', { name: /^Make a/ }).click();
    await page.locator('[data-qr]').waitFor();
    await shot('give-code');
    await page.getByRole('button', { name: 'Done' }).click();
    await page.getByRole('button', { name: 'Rotate secret' }).click();
    await page.getByRole('button', { name: 'Rotate', exact: true }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'ESPHome' }).click();
    await shot('provision');
    await page.goto(`${origin()}/claim/DESK-1#K7QP-4M2D-9XWA`);
    await page.getByRole('heading', { name: 'Claim DESK-1' }).waitFor();
    await shot('claim');
    await page.goto(`${origin()}/admin/inbox`);
    await page.locator('[data-stranger="SHELLY-C4"]').waitFor({ timeout: inboxMs });
    await shot('inbox-one');
    await page.getByRole('button', { name: 'with a name or for somebody' }).click();
    await shot('adopt');
    await page.goto(`${origin()}/import`);
    await page.setInputFiles('input[type=file]', { name: 'fleet.csv', mimeType: 'text/csv', buffer: Buffer.from('serial_no,name\nNEW-1,One\nBULK-1,Bulk 1\n') });
    await page.getByTestId('plan').waitFor();
    await shot('import-plan');
    step(`${label}: pages look as they should`);
  }
}

async function signIn(name) {
  const page = await tab(name);
  await page.goto(origin());
  await page.fill('[name=login]', name);
  await page.fill('[name=password]', password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await live(page);
  return page;
}

/** The buttons of a sensor's page that are there, and those that are not. */
async function offers(page, there, missing) {
  for (const name of there) await page.getByRole('button', { name, exact: true }).waitFor();
  for (const name of missing) {
    if ((await page.getByRole('button', { name, exact: true }).count()) > 0) throw new Error(`there is a button ${name}`);
  }
}

async function downloaded(page, button) {
  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: button }).click()]);
  return readFileSync(await file.path(), 'utf8');
}

async function post(path, body) {
  const reply = await fetch(`${origin()}/api/v1/${path}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
  if (!reply.ok) throw new Error(`${path}: ${reply.status} ${await reply.text()}`);
  return reply.json();
}

/** The shown line at QoS 1 with another payload. */
async function publish(line, data) {
  await run('sh', ['-c', `${line.replace(/ -m '.*'$/, '')} -q 1 -m '${JSON.stringify(data)}'`], { timeout: waitMs });
}

function mqttAt() {
  const [host, port] = server.addr.mqtt.split(':');
  return ['-h', host, '-p', port];
}

