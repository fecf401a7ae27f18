// The client of web/client against the binary in a real browser: the README's page as it stands, then what happens when lines break.
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { layLine } from './line.mjs';
import { freePort } from './server.mjs';
import { browser, here, origin, own, play, same, serve, server, step, work } from './stage.mjs';

const readme = readFileSync(join(here, '../client/README.md'), 'utf8');
const patienceMs = 15_000;

/** Everything any page wrote to its console, and every ticket and token that was given out: the one must not hold the other. */
const written = [];
const tickets = [];
const tokens = [];
let token, line, pages, foreign;
const readmePort = await freePort();
await play('client e2e', async () => {
  pages = own(await servePages());
  foreign = own(await servePages());
  await serve(['--allowed-origins', `${pages.origin},http://localhost:${readmePort}`]);
  line = own(await layLine(server.addr.http));
  token = (await post('/auth/register', { username: 'ada', email: 'ada@example.org', password: 'a long enough passphrase 42', first_name: 'Ada', last_name: 'L' })).access_token;
  await theReadmesPage();
  await commands();
  await whatTheServerClosesForGood();
  await aForeignPage();
  await aCutLine();
  await aRestart();
  await aRate();
  nothingSecretWritten();
});

/** Nothing is changed in the README's two files but the name of the server. */
async function theReadmesPage() {
  const sensor = await addSensor('greenhouse');
  const site = join(work, 'site');
  mkdirSync(site);
  writeFileSync(join(site, 'index.html'), block('html').replaceAll('https://sensors.example.com', origin()));
  writeFileSync(join(site, 'serve.mjs'), block('js'));
  const env = { PATH: process.env.PATH, SENSORCAST_URL: origin(), SENSORCAST_TOKEN: token, PORT: String(readmePort) };
  const child = spawn(process.execPath, ['serve.mjs'], { cwd: site, env, stdio: 'inherit' });
  try {
    await reachable(`http://localhost:${readmePort}/`);
    await sensor.publish({ temperature: 21.5 });
    const page = await tab(`http://localhost:${readmePort}/`);
    await page.locator('output', { hasText: /^21\.5$/ }).waitFor();
    await sensor.publish({ temperature: 22.25 });
    await page.locator('output', { hasText: /^22\.25$/ }).waitFor();
    await page.close();
    const said = written.filter((text) => !text.startsWith('ws://'));
    if (said.length > 0) throw new Error(`the README's page wrote to the console: ${said.join('\n')}`);
  } finally {
    child.kill();
  }
  const lines = block('html').trimEnd().split('\n').length;
  if (lines > 15) throw new Error(`the README's page has ${lines} lines, want at most 15`);
  step("the README's page, 15 lines from another origin, shows the newest value and then the live one");
}

async function commands() {
  await addSensor('valve');
  const page = await client(origin(), ['valve']);
  await page.evaluate(() => window.live());
  same(await page.evaluate(() => window.command('valve', 'open', { percent: 40 })), 'stored string', 'a command to a sensor that is away');
  same(await page.evaluate(() => window.command('greenhouse', 'open')), 'refused not_found', 'a command to a sensor the ticket does not name');
  const many = await page.evaluate(() => Promise.all(Array.from({ length: 25 }, (_, i) => window.command('valve', 'open', { i }))));
  same([...new Set(many)], ['stored string'], 'twenty-five commands at once');
  await page.close();
  step('commands are stored, refused by name, and many at once do not cost the connection');
}

async function whatTheServerClosesForGood() {
  await addSensor('doomed');
  const page = await client(origin(), ['doomed']);
  await page.evaluate(() => window.live());
  const count = tickets.length;
  await request('DELETE', '/sensors/doomed');
  await page.evaluate(() => window.until(() => window.connection.status.name === 'closed', 'closed'));
  same((await heard(page)).statuses.at(-1), { name: 'closed', code: 'sensor_deleted' }, 'after the sensor was deleted');
  await page.waitForTimeout(2_000);
  same(tickets.length, count, 'tickets asked for after that');
  await page.close();
  step('a deleted sensor ends the connection, with its reason and without another try');
}

async function aForeignPage() {
  const page = await client(origin(), ['greenhouse'], foreign.origin);
  await page.evaluate(() => window.until(({ statuses }) => statuses.some(({ code }) => code === 'connect_failed'), 'a refusal'));
  same((await heard(page)).hellos, [], 'what a foreign page hears');
  await page.close();
  step('a page of a foreign origin gets no connection');
}

// From here on the server has to resume: tokens, replay, rates.

async function aCutLine() {
  const [one, two] = [await addSensor('one'), await addSensor('two')];
  const page = await client(`http://${line.addr}`, ['one', 'two']);
  await page.evaluate(() => window.live());
  const given = tickets.length;
  let value = 0;
  for (let round = 0; round < 5; round++) {
    for (let i = 0; i < 3; i++) await (i % 2 ? one : two).publish({ value: ++value });
    await page.evaluate((wanted) => window.values(wanted), value);
    line.cut();
    for (let i = 0; i < 4; i++) await (i % 2 ? one : two).publish({ value: ++value });
    line.mend();
    await page.evaluate(() => window.live());
    await one.publish({ value: ++value });
    await page.evaluate((wanted) => window.values(wanted), value);
  }
  const { readings, hellos, gaps } = await heard(page);
  same(readings.map((reading) => reading.value), Array.from({ length: value }, (_, i) => i + 1), 'values over five cuts');
  same(gaps, [], 'gaps over five cuts');
  same([...new Set(hellos.slice(1))], [true], 'hellos after the first are resumed');
  same(tickets.length - given, 0, 'tickets that five reconnects cost');
  await page.close();
  step('five cuts of the line: every reading once, in order, and no ticket');
}

async function aRestart() {
  const sensor = await addSensor('three');
  const page = await client(`http://${line.addr}`, ['three']);
  await page.evaluate(() => window.live());
  await sensor.publish({ value: 1 });
  await page.evaluate(() => window.values(1));
  const given = tickets.length;
  await server.stop();
  await serve(['--allowed-origins', pages.origin]);
  await sensor.publish({ value: 2 });
  await page.evaluate(() => window.values(2));
  const { readings, hellos } = await heard(page);
  same(readings.map((reading) => reading.value), [1, 2], 'values over a restart');
  same(hellos.at(-1), true, 'the hello after a restart is resumed');
  same(tickets.length - given, 0, 'tickets that a restart cost');
  await page.close();
  step('a restart of the server: nothing missed, no ticket');
}

async function aRate() {
  const sensor = await addSensor('four');
  const page = await client(origin(), ['four']);
  await page.evaluate(() => (window.live(), window.connection.rate(1)));
  await page.evaluate(() => window.live());
  for (let value = 1; value <= 40; value++) await sensor.publish({ value });
  await page.evaluate(() => window.values(40));
  const slow = await heard(page);
  if (slow.readings.length > 20) throw new Error(`at one a second: got ${slow.readings.length} of 40 readings within moments`);
  same([...new Set(slow.gaps)], ['rate'], 'the reasons of its gaps');
  same(slow.errors, [], 'complaints');
  await page.evaluate(() => window.connection.rate(0));
  await page.waitForTimeout(500);
  for (let value = 41; value <= 60; value++) await sensor.publish({ value });
  await page.evaluate(() => window.values(60));
  const fast = (await heard(page)).readings.map((reading) => reading.value).filter((value) => value > 40);
  same(fast, Array.from({ length: 20 }, (_, i) => 41 + i), 'values at full speed again');
  await page.close();
  step('a page asks for less, is told of the gaps, and gets everything again when it asks for it');
}

function nothingSecretWritten() {
  const leaked = written.filter((text) => [...tickets, ...tokens, token].some((secret) => text.includes(secret)));
  if (leaked.length > 0) throw new Error(`${leaked.length} lines of a console hold a secret`);
  step(`${tickets.length} tickets and ${tokens.length} tokens were given out, and no console shows one`);
}

/** The README's code in a language, without the fence. */
function block(language) {
  const found = new RegExp('^```' + language + '\\n([^]*?)^```', 'm').exec(readme);
  if (!found) throw new Error(`the README has no ${language} block`);
  return found[1];
}

/** A tab with client-page.mjs loaded and connected to `to`. */
async function client(to, serials, from = pages.origin) {
  const page = await tab('about:blank');
  await page.exposeFunction('ticket', async () => {
    const { ticket } = await post('/tickets', { serial_nos: serials });
    tickets.push(ticket);
    return ticket;
  });
  await page.goto(from);
  await page.evaluate(async (address) => {
    const module = await import('/client-page.mjs');
    await module.open(address);
    Object.assign(window, module);
  }, to);
  return page;
}

async function tab(url) {
  const page = await browser.newPage();
  page.setDefaultTimeout(patienceMs);
  page.on('console', (message) => written.push(message.text()));
  page.on('websocket', (socket) => {
    written.push(socket.url()); // what a console prints of a socket that fails
    socket.on('framereceived', ({ payload }) => payload.startsWith('{"type":"resume"') && tokens.push(JSON.parse(payload).token));
  });
  page.on('pageerror', (error) => written.push(`uncaught ${error}`));
  await page.goto(url);
  return page;
}

function heard(page) {
  return page.evaluate(() => window.heard);
}

async function addSensor(serial) {
  const { secret_key: secret } = await post('/sensors', { serial_no: serial, name: serial });
  return { publish: (data) => post(`/sensors/${serial}/telemetry`, data, secret) };
}

function post(path, body, bearer = token) {
  return request('POST', path, body, bearer);
}

async function request(method, path, body, bearer = token) {
  const headers = { ...(body && { 'content-type': 'application/json' }), ...(bearer && { authorization: `Bearer ${bearer}` }) };
  const reply = await fetch(`${origin()}/api/v1${path}`, { method, headers, body: body && JSON.stringify(body) });
  const text = await reply.text();
  if (!reply.ok) throw new Error(`${method} ${path}: ${reply.status} ${text}`);
  return text && JSON.parse(text);
}

async function servePages() {
  const script = readFileSync(join(here, 'client-page.mjs'));
  const http = createServer((request, response) => {
    const module = request.url === '/client-page.mjs';
    response.writeHead(200, { 'content-type': module ? 'text/javascript' : 'text/html' });
    response.end(module ? script : '<!doctype html><meta charset="utf-8"><title>client</title><link rel="icon" href="data:,">');
  });
  await new Promise((done) => http.listen(0, '127.0.0.1', done));
  return { origin: `http://127.0.0.1:${http.address().port}`, close: () => (http.close(), http.closeAllConnections()) };
}

async function reachable(url) {
  for (const end = Date.now() + patienceMs; ; ) {
    if (await fetch(url).then(() => true, () => false)) return;
    if (Date.now() > end) throw new Error(`nothing answers at ${url}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}
