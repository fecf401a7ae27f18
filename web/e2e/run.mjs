// The whole way, with nothing faked: a browser, the sensorcast binary, mosquitto_pub.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { screens, shoot } from './browser.mjs';
import { browser, live, looks, origin, play, serve, server, shots, step, tab, waitMs, watchdog } from './stage.mjs';

const run = promisify(execFile);

await play('e2e', async () => {
  await serve();
  step(`server at ${server.addr.http}, MQTT at ${server.addr.mqtt}`);
  const state = await journey();
  await gallery(state);
  await endedElsewhere();
});

/** One person's first minutes, then a server restart under their eyes. Returns the signed-in cookies and the serial. */
async function journey() {
  const page = await tab('journey');

  const socket = watchSockets(page);
  await page.goto(origin());
  await page.getByRole('link', { name: 'Create one' }).click();
  await page.fill('[name=username]', 'ada');
  await page.fill('[name=email]', 'ada@example.org');
  await page.fill('[name=password]', 'a long enough passphrase 42');
  await page.fill('[name=first_name]', 'Ada');
  await page.fill('[name=last_name]', 'Lovelace');
  await page.getByRole('button', { name: 'Create account' }).click();
  await page.getByText('No sensors yet').waitFor();
  await live(page);
  step('registered; signed in; the socket is live');

  await page.locator('main').getByRole('link', { name: 'Add a sensor' }).click();
  await page.fill('[name=name]', 'Greenhouse');
  await page.fill('[name=tags]', 'garden, climate');
  await page.getByRole('button', { name: 'Add sensor' }).click();
  const line = await page.locator('[data-copy="Send a reading over MQTT"]').textContent();
  await page.getByText('Waiting for its first reading').waitFor();
  await live(page);
  await paste(line, '{"temperature":21.5}');
  await page.locator('[data-testid=first-reading]', { hasText: '21.5' }).waitFor();
  step('added a sensor; its first reading arrived on the page by the paste-ready line');

  await page.getByRole('link', { name: 'Open Greenhouse' }).click();
  const serial = decodeURIComponent(new URL(page.url()).pathname.split('/').pop());
  await publish(line, { temperature: 23.75, humidity: 41, counter: '9007199254740993' });
  await page.locator('main [data-metric=temperature]', { hasText: /^23\.75$/ }).waitFor();
  await page.locator('tbody tr', { hasText: '23.75' }).filter({ hasText: '9007199254740993' }).waitFor();
  await page.locator('canvas').waitFor();
  await page.getByRole('link', { name: 'Sensors' }).first().click();
  const card = page.locator(`article[data-serial="${serial}"]`);
  await card.locator('[data-metric=temperature]', { hasText: /^23\.75$/ }).waitFor();
  await card.getByText('Online').waitFor();
  step('detail page and card show the published value');

  await socket.says(() => hide(page, true), '{"type":"rate","max_per_second":1}');
  await socket.says(() => hide(page, false), '{"type":"rate","max_per_second":0}');
  step('a hidden tab asks for less, a shown one for everything');

  await page.evaluate(() => (window.notReloaded = true));
  watchdog.restarting = true;
  await server.stop();
  await page.locator('[data-testid=connection]:not([data-phase=live])').waitFor();
  await page.waitForTimeout(1500);
  await serve();
  await live(page);
  watchdog.restarting = false;
  await publish(line, { temperature: 24.25, humidity: 42 });
  await card.locator('[data-metric=temperature]', { hasText: /^24\.25$/ }).waitFor();
  if (!(await page.evaluate(() => window.notReloaded))) throw new Error('the page was reloaded');
  step('the server restarted; the page came back by itself with the new value');

  await page.reload();
  await card.locator('[data-metric=temperature]', { hasText: /^24\.25$/ }).waitFor();
  step('a reload stays signed in');

  for (let i = 0; i < 25; i++) await publish(line, { temperature: Number((24 + Math.sin(i / 4)).toFixed(2)), humidity: 42 });
  const cookies = await page.context().storageState();
  await page.context().close();
  const telling = socket.urls.filter((url) => url.includes('ticket'));
  if (telling.length > 0) throw new Error(`${telling.length} of ${socket.urls.length} sockets have a ticket in their address`);
  return { cookies, serial };
}

/** Listens to the sockets of a page: their addresses, and what the page says on the newest. */
function watchSockets(page) {
  const urls = [];
  const waiting = new Set();
  page.on('websocket', (socket) => {
    urls.push(socket.url());
    socket.on('framesent', ({ payload }) => waiting.forEach((hear) => hear(payload)));
  });
  return {
    urls,
    async says(act, wanted) {
      const heard = [];
      const said = new Promise((done, fail) => {
        const timer = setTimeout(() => fail(new Error(`the page did not say ${wanted} but ${heard.join(' ') || 'nothing'}`)), waitMs);
        waiting.add((payload) => (heard.push(payload), payload === wanted && (clearTimeout(timer), done())));
      });
      await act();
      await said;
      waiting.clear();
    },
  };
}

/** What switching tabs does to a page; a browser without a screen never hides one. */
function hide(page, hidden) {
  return page.evaluate((state) => {
    Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => state });
    document.dispatchEvent(new Event('visibilitychange'));
  }, hidden ? 'hidden' : 'visible');
}

/** Every page on both screens in both themes: nothing overflows, nothing complains, and there is a picture of each. */
async function gallery({ cookies, serial }) {
  let storageState = cookies;
  for await (const { label, page, options } of looks(cookies)) {
    const pages = [
      ['home', '/', page.locator('article')],
      ['sensor', `/sensors/${encodeURIComponent(serial)}`, page.locator('canvas')],
      ['add', '/add', page.locator('form')],
      ['account', '/account', page.locator('form').first()],
    ];
    for (const [name, path, ready] of pages) {
      await page.goto(origin() + path);
      await ready.waitFor();
      await live(page);
      await shoot(page, join(shots, `${label}-${name}.png`));
    }
    const theme = await page.evaluate(() => document.documentElement.dataset.theme);
    if (theme !== options.colorScheme) throw new Error(`${label}: the theme is ${theme}, want ${options.colorScheme}`);
    await page.goto(`${origin()}/docs`);
    await page.locator('.opblock').first().waitFor();
    await page.screenshot({ path: join(shots, `${label}-docs.png`) });
    storageState = await page.context().storageState();
    step(`${label}: pages look as they should`);
  }
  const page = await tab('sign out', { viewport: { width: 1200, height: 800 }, storageState });
  await page.goto(`${origin()}/account`);
  await page.getByRole('button', { name: 'Sign out', exact: true }).click();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  await page.reload();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  step('signed out, and a reload stays signed out without asking');
  await page.screenshot({ path: join(shots, 'signin.png') });
  const bar = await page.evaluate(() => {
    const { scrollHeight, clientHeight } = document.documentElement;
    return { hidden: scrollHeight - clientHeight, overflow: getComputedStyle(document.documentElement).overflowY };
  });
  if (bar.hidden > 0 || bar.overflow === 'scroll') throw new Error(`the sign-in page has a scroll bar: ${JSON.stringify(bar)}`);
  await page.context().close();
  step('the sign-in page fits the screen, without a scroll bar');
}

/** The socket is closed with 4401; the page finds that the session is over. Not watched: the refused refresh is in the console. */
async function endedElsewhere() {
  const context = await browser.newContext(screens.desk);
  context.setDefaultTimeout(waitMs);
  const page = await context.newPage();
  await page.goto(origin());
  await page.fill('[name=login]', 'ada');
  await page.fill('[name=password]', 'a long enough passphrase 42');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await live(page);
  const post = (path, body, token) => fetch(`${origin()}/api/v1/auth/${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify(body),
  });
  const { access_token: token } = await (await post('login', { login: 'ada', password: 'a long enough passphrase 42' })).json();
  const reply = await post('logout-all', {}, token);
  if (!reply.ok) throw new Error(`logout-all: ${reply.status}`);
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  await context.close();
  step('sessions ended elsewhere: the page says so by asking to sign in');
}

/** Runs the shown line in a shell exactly as a person would paste it. */
async function paste(line, mustContain) {
  if (!line.startsWith('mosquitto_pub ') || !line.includes(mustContain)) throw new Error(`not a paste-ready line: ${line}`);
  await run('sh', ['-c', line], { timeout: waitMs });
}

/** The same line at QoS 1 with another payload; digits given as text go out as bare JSON numbers. */
async function publish(line, data) {
  const json = JSON.stringify(data).replace(/"(\d{16,})"/g, '$1');
  await run('sh', ['-c', `${line.replace(/ -m '.*'$/, '')} -q 1 -m '${json}'`], { timeout: waitMs });
}
