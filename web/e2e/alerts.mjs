// Silence under one's eyes: a real sensor falls silent, the page says so, somebody looks after it, a signed webhook tells a program, it comes back.
import { createServer } from 'node:http';
import { join } from 'node:path';
import { shoot } from './browser.mjs';
import { looks, origin, own, play, serve, server, shots, step, tab, waitMs, watchdog } from './stage.mjs';

/** Silences are gathered for most of a minute before anybody is told, in case there are many. */
const toldMs = 90_000;
const password = 'a long enough passphrase 42';

let receiver;
await play('e2e of alerts', async () => {
  receiver = own(await listen());
  await serve(['--webhook-allow', '127.0.0.0/8']);
  step(`server at ${server.addr.http}, a receiver at ${receiver.url}`);
  await gallery(await journey());
});

async function journey() {
  const page = await tab('journey');
  await page.goto(`${origin()}/register`);
  await page.fill('[name=username]', 'ada');
  await page.fill('[name=email]', 'ada@example.org');
  await page.fill('[name=password]', password);
  await page.getByRole('button', { name: 'Create account' }).click();
  await page.getByText('No sensors yet').waitFor();
  const token = (await call('POST', '/auth/login', { login: 'ada', password })).access_token;
  const cellar = await sensor(token, { serial_no: 'CEL-1', name: '<img src=x onerror=alert(1)>Cellar', silence_after: 2 });
  const roof = await sensor(token, { serial_no: 'ROOF-1', name: 'Roof', silence_mode: 'learned' });
  await cellar.report();
  const breath = setInterval(() => void cellar.report(), 400);
  const rhythm = setInterval(() => void roof.report(), 300);

  await page.getByRole('link', { name: 'Alerts' }).click();
  await page.getByText('Nothing is wrong now.').waitFor();
  await page.getByRole('link', { name: 'How I am told' }).click();
  await page.getByText('Nobody tells you yet').waitFor();
  const genuine = await addWebhook(page);
  await page.getByRole('button', { name: 'Send a test' }).click();
  await page.getByText('The test message was taken').waitFor();
  const test = await receiver.next('alert.test', waitMs);
  if (!genuine(test.headers, test.body)) throw new Error('the signature of the test is not what the page says it should be');
  if (genuine(test.headers, test.body + ' ')) throw new Error('the check the page shows lets everything through');
  step('a webhook was added; its test arrived, and is genuine by the script the page shows');

  await page.getByRole('button', { name: 'Add', exact: true }).click();
  await page.locator('[data-kind=ntfy]').click();
  await page.fill('[name=name]', 'Phone');
  await page.getByRole('button', { name: 'Add', exact: true }).last().click();
  await page.getByText('This is needed.').waitFor();
  await page.fill('[name=part_topic]', 'cellar');
  await page.fill('[name=part_server]', `http://127.0.0.1:${receiver.closedPort}`);
  await page.getByLabel('Quiet hours').check();
  await page.fill('[name=time_zone]', 'Europe/Berlin');
  await page.getByLabel('Tell me').selectOption('critical');
  await page.getByRole('button', { name: 'Add', exact: true }).last().click();
  const phone = page.locator('article', { hasText: 'Phone' });
  await phone.getByText('quiet from 22:00 to 07:00 (Europe/Berlin)').waitFor();
  await page.waitForTimeout(5200); // a test every five seconds
  await phone.getByRole('button', { name: 'Send a test' }).click();
  await phone.getByText('did not get through: connection refused').waitFor();
  await phone.getByRole('switch').click();
  await phone.getByText('Off', { exact: true }).first().waitFor();
  step('a service was added by simple fields, says why it does not work, and is off');

  await page.getByRole('link', { name: 'What is wrong' }).click();
  await page.getByText('Nothing is wrong now.').waitFor();
  clearInterval(breath);
  const open = page.locator('[data-testid=open-alerts] [data-state=open]');
  await open.getByText('Cellar (CEL-1)').waitFor();
  await open.getByText('no reading for').waitFor();
  await page.locator('nav [data-testid=count]', { hasText: '1' }).waitFor();
  await page.locator('.notice.alert', { hasText: 'Cellar (CEL-1) is silent' }).waitFor();
  step('it fell silent: the list, the bar and a notice say so by themselves');

  await open.getByRole('button', { name: 'I look after it' }).click();
  await open.getByText('ada looks after it').waitFor();
  const opened = await receiver.next('alert.opened', toldMs);
  if (!genuine(opened.headers, opened.body)) throw new Error('alert.opened is not genuine');
  if (JSON.parse(opened.body).data.serial_no !== 'CEL-1') throw new Error(`told of another sensor: ${opened.body}`);
  step('acknowledged; the webhook was told, genuinely');

  await open.getByRole('link', { name: /Cellar/ }).click();
  await page.getByText('It is silent').waitFor();
  await page.locator('[data-testid=timeline]').getByText('Fell silent').waitFor();
  await page.locator('[data-testid=timeline]').getByText('ada looks after it').waitFor();
  await page.locator('[data-testid=timeline] rect.silent').waitFor({ state: 'attached' });
  await shoot(page, join(shots, 'desk-light-sensor-silent.png'));
  await cellar.report();
  await page.getByText('It is silent').waitFor({ state: 'detached' });
  await page.locator('[data-testid=timeline]').getByText('Came back').waitFor();
  await page.locator('.notice', { hasText: 'Cellar (CEL-1) is back' }).waitFor();
  if ((await page.locator('nav [data-testid=count]').count()) > 0) throw new Error('the bar still counts an alert');
  const resolved = await receiver.next('alert.resolved', toldMs);
  if (!genuine(resolved.headers, resolved.body)) throw new Error('alert.resolved is not genuine');
  const { alert } = JSON.parse(resolved.body).data;
  if (alert.acknowledged_by !== 'ada') throw new Error(`the resolved alert was acknowledged by ${alert.acknowledged_by}`);
  step('it is back: banner, notice, bar and webhook agree');

  await page.goto(`${origin()}/alerts?sensor=CEL-1`);
  await page.locator('[data-testid=resolved-alerts] [data-state=resolved]', { hasText: 'was silent' }).waitFor();
  await page.locator('[data-testid=open-alerts] [data-state=open]').waitFor({ state: 'visible' }); // silent again by now
  await page.getByRole('link', { name: 'How I am told' }).click();
  const hook = page.locator('article', { hasText: 'A program' });
  await hook.getByText('Works', { exact: true }).waitFor();
  await hook.getByRole('button', { name: 'What was sent' }).click();
  await page.locator('dialog').getByText('is back').waitFor();
  await shoot(page, join(shots, 'desk-light-deliveries.png'));
  await page.keyboard.press('Escape');
  step('the resolved alert is in the history and the deliveries in the log');

  await page.goto(`${origin()}/sensors/ROOF-1`);
  await page.locator('[data-testid=cadence]', { hasText: /usually every 0\.\d s, (was )?expected by/ }).waitFor();
  clearInterval(rhythm);
  await page.getByRole('button', { name: 'Edit' }).click();
  if (!(await page.getByLabel('Learned from its rhythm').isChecked())) throw new Error('the dialog does not know that the silence is learned');
  await shoot(page, join(shots, 'desk-light-silence.png'));
  await page.getByLabel('A time of its own').check();
  await page.fill('[name=silence_after]', '900');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.locator('dd', { hasText: /^15 min$/ }).waitFor();
  step('the rhythm is told in words, and a silence set by hand');
  await judge(page, roof);
  const cookies = await page.context().storageState();
  await page.context().close();
  return cookies;
}

/** A rule is tried on what was, made, fires, and takes its alert along when it is turned off. */
async function judge(page, roof) {
  await page.getByRole('link', { name: /^Alerts/ }).click();
  await page.getByRole('link', { name: 'Rules' }).click();
  await page.getByRole('button', { name: 'Add a rule' }).click();
  await page.fill('[name=name]', 'Too warm');
  await page.getByRole('button', { name: 'Add the rule' }).click();
  await page.getByText('This is needed.').waitFor();
  await page.locator('[name=serial_no]').selectOption('ROOF-1');
  await page.fill('[name=metric]', 'temperature');
  await page.fill('[name=value]', '20,1');
  await page.getByRole('button', { name: 'Try it' }).click();
  await page.getByText('It would have fired once in the last 7 days.').waitFor();
  await shoot(page, join(shots, 'desk-light-rule.png'));
  await page.getByRole('button', { name: 'Add the rule' }).click();
  await page.getByText('temperature is above 20.1').waitFor();
  const rhythm = setInterval(() => void roof.report(), 500);
  await page.locator('.notice.alert', { hasText: 'Roof (ROOF-1) needs a look: Too warm: temperature is' }).waitFor();
  clearInterval(rhythm);
  await page.goto(`${origin()}/sensors/ROOF-1`);
  await page.getByText('It needs a look').waitFor();
  await page.locator('[data-testid=timeline] rect.alert').waitFor({ state: 'attached' });
  await page.goto(`${origin()}/alerts/rules`);
  await page.getByRole('switch', { name: 'Too warm' }).click();
  await page.locator('.notice', { hasText: 'Roof (ROOF-1) is well again' }).waitFor();
  step('a rule was tried, fired, and took its alert along when it was turned off');
}

/** Adds the receiver as a webhook and returns the check of messages that the page shows, made to run. */
async function addWebhook(page) {
  await page.getByRole('button', { name: 'Be told' }).click();
  await shoot(page, join(shots, 'desk-light-kinds.png'));
  await page.locator('[data-kind=webhook]').click();
  await page.fill('[name=name]', 'A program');
  watchdog.refusing = true;
  await page.fill('[name=part_url]', 'nowhere');
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  await page.getByText('must be an https address').waitFor();
  watchdog.refusing = false;
  await page.fill('[name=part_url]', receiver.url);
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  const script = await page.locator('[data-copy="Check a message in Node.js"]').textContent();
  await shoot(page, join(shots, 'desk-light-secret.png'));
  await page.keyboard.press('Escape');
  const { isGenuine } = await import(`data:text/javascript,${encodeURIComponent(script)}`);
  return isGenuine;
}

/** Every page on both screens in both themes. */
async function gallery(cookies) {
  for await (const { label, page } of looks(cookies)) {
    await page.goto(`${origin()}/alerts`);
    await page.locator('[data-state=open]').first().waitFor();
    await page.locator('[data-state=resolved]').first().waitFor();
    await shoot(page, join(shots, `${label}-alerts.png`));
    await page.goto(`${origin()}/sensors/CEL-1`);
    await page.locator('[data-testid=timeline] figure').waitFor();
    await shoot(page, join(shots, `${label}-sensor-alert.png`));
    await page.goto(`${origin()}/alerts/rules`);
    await page.getByText('temperature is above').waitFor();
    await shoot(page, join(shots, `${label}-rules.png`));
    await page.getByRole('button', { name: 'Edit Too warm' }).click();
    await page.getByRole('button', { name: 'Try it' }).click();
    await page.locator('[data-testid=verdict]').waitFor();
    await shoot(page, join(shots, `${label}-rule-form.png`));
    await page.goto(`${origin()}/alerts/channels`);
    await page.locator('article').nth(1).waitFor();
    await shoot(page, join(shots, `${label}-channels.png`));
    await page.getByRole('button', { name: 'Add', exact: true }).click();
    await page.locator('[data-kind=email]').click();
    await page.getByText('This server sends no mail').waitFor();
    await page.getByRole('button', { name: 'Back' }).click();
    await page.locator('[data-kind=ntfy]').click();
    await page.getByLabel('Quiet hours').check();
    await shoot(page, join(shots, `${label}-channel-form.png`));
    step(`${label}: pages look as they should`);
  }
}

/** A receiver of webhooks on loopback. */
async function listen() {
  const heard = [];
  const waiting = new Set();
  const http = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    heard.push({ headers: request.headers, body, type: JSON.parse(body).type });
    waiting.forEach((look) => look());
    response.writeHead(204).end();
  });
  await new Promise((done) => http.listen(0, '127.0.0.1', done));
  const closed = createServer();
  await new Promise((done) => closed.listen(0, '127.0.0.1', done));
  const closedPort = closed.address().port;
  closed.close();
  return {
    url: `http://127.0.0.1:${http.address().port}/hook`,
    closedPort,
    /** The first message of a type. */
    next(type, ms) {
      return new Promise((done, fail) => {
        const timer = setTimeout(() => fail(new Error(`no ${type} within ${ms} ms, but ${heard.map((one) => one.type).join(', ') || 'nothing'}`)), ms);
        const look = () => {
          const found = heard.find((one) => one.type === type);
          if (!found) return;
          clearTimeout(timer);
          waiting.delete(look);
          done(found);
        };
        waiting.add(look);
        look();
      });
    },
    close: () => http.close(),
  };
}

/** A sensor that reports over HTTP. */
async function sensor(token, input) {
  const { secret_key } = await call('POST', '/sensors', input, token);
  let value = 20;
  return { report: () => call('POST', `/sensors/${input.serial_no}/telemetry`, { temperature: (value += 0.01) }, secret_key) };
}

async function call(method, path, body, token) {
  const reply = await fetch(`${origin()}/api/v1${path}`, {
    method,
    headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify(body),
  });
  if (!reply.ok) throw new Error(`${method} ${path}: ${reply.status} ${await reply.text()}`);
  const text = await reply.text();
  return text === '' ? null : JSON.parse(text);
}
