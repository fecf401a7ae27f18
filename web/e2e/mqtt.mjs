// MQTT from a page: MQTT.js in a real browser, through the binary's /mqtt.
// Our own pages are under a policy that would not let them connect elsewhere or load a library, so the page comes from a server of this
// test's, whose origin the binary is told to allow; a second server's is foreign.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { browser, here, origin, own, play, same, serve, server, step } from './stage.mjs';

const files = {
  '/': ['text/html', Buffer.from('<!doctype html><meta charset="utf-8"><title>MQTT</title><link rel="icon" href="data:,">')],
  '/mqtt.js': ['text/javascript', await readFile(join(here, '../node_modules/mqtt/dist/mqtt.esm.js'))],
  '/client.mjs': ['text/javascript', await readFile(join(here, 'mqtt-page.mjs'))],
};
const serial = 'SN-browser';
const topic = (metric) => `sensors/${serial}/telemetry/${metric}`;
const lwt = `sensors/${serial}/lwt`;

let home, elsewhere, who;
await play('mqtt e2e', async () => {
  home = own(await serveFiles());
  elsewhere = own(await serveFiles());
  await serve(['--allowed-origins', home.origin]);
  who = await people();
  for (const version of [4, 5]) {
    await everyQoS(version);
    await retained(version);
    await willOfAClosedTab(version);
    await sessionAcrossReloads(version);
    step(`MQTT.js speaks protocol ${version} in the browser`);
  }
  await foreignPagesAreRefused();
});

async function serveFiles() {
  const http = createServer((request, response) => {
    const [type, body] = files[request.url] ?? [];
    response.writeHead(body ? 200 : 404, { 'content-type': type ?? 'text/plain' }).end(body);
  });
  await new Promise((done) => http.listen(0, '127.0.0.1', done));
  return {
    origin: `http://127.0.0.1:${http.address().port}`,
    close: () => (http.close(), http.closeAllConnections()),
  };
}

/** The accounts of the play: a person with the one sensor. */
async function people() {
  const post = async (path, body, token) => {
    const headers = { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) };
    const response = await fetch(`${origin()}/api/v1${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`POST ${path}: ${response.status} ${await response.text()}`);
    return response.json();
  };
  const password = 'a long enough passphrase 42';
  const { access_token: token } = await post('/auth/register', { username: 'ada', email: 'ada@example.org', password, first_name: 'Ada', last_name: 'L' });
  const { secret_key: secret } = await post('/sensors', { serial_no: serial, name: 'Browser' }, token);
  return { person: { username: 'ada', password }, sensor: { username: serial, password: secret } };
}

/** A tab of its own with MQTT.js loaded. */
async function tab(origin = home.origin) {
  const page = await browser.newPage();
  page.setDefaultTimeout(15_000);
  page.on('pageerror', (error) => console.error(`page: ${error}`));
  await open(page, origin);
  return page;
}

async function open(page, origin = home.origin) {
  await page.goto(origin);
  await page.evaluate(async () => Object.assign(window, await import('/client.mjs')));
}

function connect(page, as, options) {
  return page.evaluate((all) => window.connect(all), { url: `ws://${server.addr.http}/mqtt`, ...as, ...options });
}

function subscribe(page, filter, qos) {
  return page.evaluate(([f, q]) => window.subscribe(f, q), [filter, qos]);
}

function publish(page, topicName, payload, options) {
  return page.evaluate((all) => window.publish(...all), [topicName, payload, options]);
}

function next(page) {
  return page.evaluate(() => window.next());
}

function end(page) {
  return page.evaluate(() => window.end());
}

async function everyQoS(protocolVersion) {
  const [sensor, viewer] = [await tab(), await tab()];
  await connect(sensor, who.sensor, { protocolVersion });
  await connect(viewer, who.person, { protocolVersion });
  for (const granted of [0, 1, 2]) {
    await subscribe(viewer, topic('qos'), granted);
    for (const qos of [0, 1, 2]) {
      await publish(sensor, topic('qos'), `grüße ${granted} ${qos}`, { qos });
      const { payload, qos: got } = await next(viewer);
      same([payload, got], [`grüße ${granted} ${qos}`, Math.min(granted, qos)], `v${protocolVersion}, QoS ${qos} to ${granted}`);
    }
  }
  await Promise.all([sensor.close(), viewer.close()]);
}

async function retained(protocolVersion) {
  const [sensor, viewer] = [await tab(), await tab()];
  await connect(sensor, who.sensor, { protocolVersion });
  for (const payload of ['first', 'second']) {
    await publish(sensor, topic('kept'), payload, { qos: 1, retain: true });
  }
  await connect(viewer, who.person, { protocolVersion });
  await subscribe(viewer, topic('+'), 1);
  const got = await next(viewer);
  same([got.payload, got.retain], ['second', true], `v${protocolVersion}, retained`);
  await publish(sensor, topic('kept'), '', { qos: 1, retain: true });
  await publish(sensor, topic('marker'), 'now', { qos: 1 });
  same([(await next(viewer)).payload, (await next(viewer)).payload], ['', 'now'], `v${protocolVersion}, cleared while watching`);
  await end(viewer);
  await connect(viewer, who.person, { protocolVersion });
  await subscribe(viewer, topic('+'), 1);
  await publish(sensor, topic('marker'), 'then', { qos: 1 });
  same((await next(viewer)).payload, 'then', `v${protocolVersion}, after clearing`);
  await Promise.all([sensor.close(), viewer.close()]);
}

/** A tab that closes takes no leave. */
async function willOfAClosedTab(protocolVersion) {
  const [sensor, viewer] = [await tab(), await tab()];
  await connect(viewer, who.person, { protocolVersion });
  await subscribe(viewer, lwt, 1);
  const will = { topic: lwt, payload: `tab ${protocolVersion} closed`, qos: 1, retain: false };
  await connect(sensor, who.sensor, { protocolVersion, will });
  await end(sensor); // and who takes it leaves no will
  await connect(sensor, who.sensor, { protocolVersion, will: { ...will, payload: 'the second' } });
  await sensor.close();
  same((await next(viewer)).payload, 'the second', `v${protocolVersion}, will`);
  await viewer.close();
}

async function sessionAcrossReloads(protocolVersion) {
  const [sensor, viewer] = [await tab(), await tab()];
  await connect(sensor, who.sensor, { protocolVersion });
  const stay = { protocolVersion, clean: false, clientId: `reload-${protocolVersion}`, ...(protocolVersion === 5 && { properties: { sessionExpiryInterval: 3600 } }) };
  same(await connect(viewer, who.person, stay), { present: false }, `v${protocolVersion}, first visit`);
  await subscribe(viewer, topic('log'), 1);
  for (const round of [1, 2]) {
    await viewer.goto('about:blank');
    const sent = [];
    for (let i = 0; i < 8; i++) sent.push(`round ${round} entry ${i}`);
    for (const payload of sent) await publish(sensor, topic('log'), payload, { qos: 1 });
    await open(viewer);
    same(await connect(viewer, who.person, stay), { present: true }, `v${protocolVersion}, visit after ${round} reloads`);
    const got = [];
    while (got.length < sent.length) got.push((await next(viewer)).payload);
    same(got, sent, `v${protocolVersion}, what came meanwhile`);
  }
  await Promise.all([sensor.close(), viewer.close()]);
}

async function foreignPagesAreRefused() {
  const page = await tab(elsewhere.origin);
  const said = await connect(page, who.sensor, { protocolVersion: 5 }).then(() => 'connected', (failure) => String(failure));
  if (!said.includes('refused')) throw new Error(`a page of a foreign origin: ${said}, want a refusal`);
  await page.close();
  step('a page of a foreign origin is refused');
}
