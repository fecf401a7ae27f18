// What the test's page does with MQTT.js: one client at a time, everything by promises.
import mqtt from '/mqtt.js';

const patienceMs = 10_000;
let client;
let arrived = [];
let waiting = [];

/** Resolves on CONNACK to whether a session was there. A WebSocket that does not open, or a refusal, rejects. */
export function connect({ url, ...options }) {
  arrived = [];
  waiting = [];
  client = mqtt.connect(url, { reconnectPeriod: 0, connectTimeout: patienceMs, ...options });
  client.on('message', (topic, payload, packet) => {
    if (topic.endsWith('/status')) return; // the server's own, which come as they come
    const message = { topic, payload: new TextDecoder().decode(payload), qos: packet.qos, retain: packet.retain };
    waiting.length > 0 ? waiting.shift()(message) : arrived.push(message);
  });
  return new Promise((done, fail) => {
    client.once('connect', (connack) => done({ present: connack.sessionPresent }));
    client.once('error', (error) => fail(new Error(`refused: ${error.message}`)));
    client.once('close', () => fail(new Error('refused: closed before CONNACK')));
  });
}

/** Resolves to the next message. */
export function next() {
  if (arrived.length > 0) return arrived.shift();
  return new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error('no message came')), patienceMs);
    waiting.push((message) => (clearTimeout(timer), done(message)));
  });
}

export async function subscribe(filter, qos) {
  const [granted] = await client.subscribeAsync(filter, { qos });
  if (granted.qos !== qos) throw new Error(`${filter}: got ${granted.qos}, want QoS ${qos}`);
}

export async function publish(topic, payload, options) {
  await client.publishAsync(topic, payload, options);
}

export async function end() {
  await client.endAsync();
}
