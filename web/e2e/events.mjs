// Event streams in a real browser, by its own EventSource: pages of the server, of an allowed origin and of a foreign one, and a cut line.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { layLine } from './line.mjs';
import { browser, here, origin, own, play, same, serve, server, step } from './stage.mjs';

const script = readFileSync(join(here, 'events-page.mjs'));

let line, home, foreign, token, secret;
await play('events e2e', async () => {
  home = own(await servePage());
  foreign = own(await servePage());
  await serve(['--allowed-origins', home.origin]);
  line = own(await layLine(server.addr.http));
  const person = { username: 'ada', email: 'ada@example.org', password: 'a long enough passphrase 42', first_name: 'Ada', last_name: 'L' };
  token = (await post('/auth/register', person)).access_token;
  secret = (await post('/sensors', { serial_no: 'SN1', name: 'Greenhouse' })).secret_key;
  await theServersOwnPage();
  await aCutLineAndTheEnd();
  await aForeignPage();
});

/** Under the policy the server gives its pages. */
async function theServersOwnPage() {
  const page = await browser.newPage();
  await page.goto(`${origin()}/docs`);
  await publish(1);
  const { ticket } = await post('/tickets', { serial_no: 'SN1' });
  const value = await page.evaluate((query) => new Promise((done, fail) => {
    const source = new EventSource(`/api/v1/events?${query}`);
    source.onerror = () => fail(new Error('the stream broke'));
    source.addEventListener('hello', ({ data }) => {
      source.close();
      done(JSON.parse(data).sensors[0].reading.data.value);
    });
  }), `ticket=${ticket}`);
  same(value, 1, 'the value in the hello');
  await page.close();
  step("a page of the server's own opens a stream");
}

async function aCutLineAndTheEnd() {
  const page = await tab(home.origin);
  const { ticket } = await post('/tickets', { all: true });
  await page.evaluate(([at, by]) => window.open(at, by), [`http://${line.addr}`, ticket]);
  await page.evaluate(() => window.until(({ hellos }) => hellos.length === 1, 'a hello'));
  let value = 10;
  for (let round = 0; round < 2; round++) {
    await publish(++value);
    await page.evaluate((wanted) => window.value(wanted), value);
    line.cut();
    for (let i = 0; i < 3; i++) await publish(++value);
    line.mend();
    await page.evaluate((wanted) => window.value(wanted), value);
  }
  await post('/auth/logout-all', {});
  await page.evaluate(() => window.until(({ closes }) => closes.length > 0, 'the end'));
  const heard = await page.evaluate(() => window.heard);
  same(heard.values, Array.from({ length: value - 10 }, (_, i) => 11 + i), 'values over two cuts');
  same(heard.hellos, [false, true, true], 'whether the hellos were resumed');
  same([heard.gaps, heard.closes], [[], [4401]], 'gaps and closes');
  await page.close();
  step('a page of an allowed origin: two cuts of the line, every reading once, and the end of the login with its code');
}

async function aForeignPage() {
  token = (await post('/auth/login', { login: 'ada', password: 'a long enough passphrase 42' })).access_token;
  const page = await tab(foreign.origin);
  const { ticket } = await post('/tickets', { all: true });
  await page.evaluate(([at, by]) => window.open(at, by), [origin(), ticket]);
  await page.evaluate(() => window.until(({ refused }) => refused > 0, 'a refusal'));
  same((await page.evaluate(() => window.heard)).hellos, [], 'what a foreign page hears');
  await page.close();
  const reply = await fetch(`${origin()}/api/v1/events?ticket=${ticket}`);
  same(reply.status, 200, 'the ticket afterwards');
  await reply.body.cancel();
  step('a page of a foreign origin gets nothing, and does not spoil the ticket');
}

/** A tab with events-page.mjs loaded. */
async function tab(from) {
  const page = await browser.newPage();
  page.on('pageerror', (error) => console.error(`page: ${error}`));
  await page.goto(from);
  await page.evaluate(async () => Object.assign(window, await import('/events-page.mjs')));
  return page;
}

function publish(value) {
  return post('/sensors/SN1/telemetry', { value }, secret);
}

async function post(path, body, bearer = token) {
  const headers = { 'content-type': 'application/json', ...(bearer && { authorization: `Bearer ${bearer}` }) };
  const reply = await fetch(`${origin()}/api/v1${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
  const text = await reply.text();
  if (!reply.ok) throw new Error(`POST ${path}: ${reply.status} ${text}`);
  return text && JSON.parse(text);
}

async function servePage() {
  const http = createServer((request, response) => {
    const module = request.url === '/events-page.mjs';
    response.writeHead(200, { 'content-type': module ? 'text/javascript' : 'text/html' });
    response.end(module ? script : '<!doctype html><meta charset="utf-8"><title>events</title><link rel="icon" href="data:,">');
  });
  await new Promise((done) => http.listen(0, '127.0.0.1', done));
  return { origin: `http://127.0.0.1:${http.address().port}`, close: () => (http.close(), http.closeAllConnections()) };
}
