import type { ServerInfo } from './api';
import { c, script, shell, yaml } from './quoting';

/**
 * What a person pastes so that a device reports here. Each is something the server understands today: topics of its own, or HTTP. Firmwares
 * whose will is on a topic of theirs (Tasmota, Shelly) would be refused over MQTT, so theirs speak HTTP.
 */
export interface Recipe {
  title: string;
  lines: { label: string; text: string }[];
  /** What to know before pasting. */
  note?: string;
}

type Info = Pick<ServerInfo, 'mqtt_port' | 'mqtts_port' | 'certificates'>;

/** Everything a recipe is made of. */
interface Setting {
  serial: string;
  secret: string;
  host: string;
  /** Absent where the server has no MQTT listener. */
  mqtt?: { port: number; tls: boolean };
  /** Of the first certificate, where there is one and it may be seen. */
  sha1: string;
  selfSigned: boolean;
  url: string;
  local: boolean;
}

const sample = '{"temperature":21.5}';
const seconds = 60;

export function recipes(serial: string, secret: string, info: Info | null, place: { hostname: string; origin: string }): Recipe[] {
  // A URL writes IPv6 hosts in brackets, MQTT clients do not.
  const host = place.hostname.replace(/^\[|\]$/g, '');
  const port = info?.mqtt_port ?? info?.mqtts_port;
  const certificate = info?.certificates?.[0];
  const setting: Setting = {
    serial,
    secret,
    host,
    ...(port ? { mqtt: { port, tls: !info?.mqtt_port } } : {}),
    sha1: certificate?.sha1 ?? '',
    selfSigned: certificate?.self_signed ?? false,
    url: `${place.origin}/api/v1/sensors/${serial}/telemetry`,
    local: /^(localhost|127\..*|::1)$/.test(host),
  };
  const found = [commandLine(setting), arduino(setting), esphome(setting), tasmota(setting), shelly(setting), byHand(setting, info)];
  return found.filter((recipe) => recipe !== null);
}

function commandLine({ serial, secret, host, mqtt, selfSigned, url }: Setting): Recipe {
  const lines: Recipe['lines'] = [];
  if (mqtt) {
    const tls = mqtt.tls ? (selfSigned ? ' --cafile cert.pem' : ' --tls-use-os-certs') : '';
    lines.push({
      label: `Send a reading over ${mqtt.tls ? 'MQTT over TLS' : 'MQTT'}`,
      text: `mosquitto_pub -h ${host} -p ${mqtt.port}${tls} -u ${serial} -P ${shell(secret)} -t sensors/${serial}/telemetry -m '${sample}'`,
    });
  }
  lines.push({ label: 'Send a reading over HTTP', text: `curl -H ${shell(`Authorization: Bearer ${secret}`)} -d '${sample}' ${url}` });
  return { title: 'Command line', lines };
}

function arduino(setting: Setting): Recipe | null {
  const { serial, secret, host, mqtt, sha1 } = setting;
  if (!mqtt) return null;
  const text = `#ifdef ESP8266
#include <ESP8266WiFi.h>
#else
#include <WiFi.h>
#endif
${mqtt.tls ? '#include <WiFiClientSecure.h>\n' : ''}#include <PubSubClient.h>

const char *serial_no = ${c(serial)};
const char *secret_key = ${c(secret)};
const char *topic = ${c(`sensors/${serial}/telemetry`)};

WiFiClient${mqtt.tls ? 'Secure' : ''} net;
PubSubClient mqtt(net);

void setup() {
  WiFi.begin("your network", "its password");
${mqtt.tls ? trust(sha1) : ''}  mqtt.setServer(${c(host)}, ${mqtt.port});
}

void loop() {
  if (WiFi.status() != WL_CONNECTED || (!mqtt.connected() && !mqtt.connect(serial_no, serial_no, secret_key))) {
    delay(5000);
    return;
  }
  mqtt.loop();
  static unsigned long sent = 0;
  if (sent == 0 || millis() - sent >= ${seconds}000UL) {
    sent = millis();
    mqtt.publish(topic, "{\\"temperature\\":21.5}");
  }
}`;
  return { title: 'Arduino', lines: [{ label: 'Sketch for ESP8266 and ESP32, with the library PubSubClient', text }], ...noted(elsewhere(setting)) };
}

function trust(sha1: string): string {
  return `#ifdef ESP8266
  net.setFingerprint(${c(sha1 || 'SHA-1 of the certificate')});
#else
  net.setInsecure(); // or net.setCACert(…), to know the server by its certificate
#endif
`;
}

function esphome(setting: Setting): Recipe | null {
  const { serial, secret, host, mqtt, sha1 } = setting;
  if (!mqtt) return null;
  const text = `mqtt:
  broker: ${yaml(host)}
  port: ${mqtt.port}
  username: ${yaml(serial)}
  password: ${yaml(secret)}
${mqtt.tls ? `  ssl_fingerprints: [${yaml(sha1.replaceAll(':', '').toLowerCase() || 'SHA-1 of the certificate')}]\n` : ''}  client_id: ${yaml(serial)}
  topic_prefix: null
  discovery: false
  discover_ip: false
  log_topic: null
  birth_message: null
  will_message: null
  shutdown_message: null

sensor:
  - platform: wifi_signal # or any other
    name: WiFi signal
    update_interval: ${seconds}s
    state_topic: ${yaml(`sensors/${serial}/telemetry/wifi_signal`)}`;
  const tls = mqtt.tls ? 'Fingerprints are for the ESP8266; an ESP32 takes certificate_authority.' : '';
  return {
    title: 'ESPHome',
    lines: [{ label: 'Part of the YAML', text }],
    note: join('Each sensor needs a state_topic that ends with the name of its metric.', tls, elsewhere(setting)),
  };
}

/** Between brackets and in a rule these would mean something else, and Tasmota has no escape for them. */
const tasmotaTakes = (secret: string) => !/[[\]|%]/.test(secret);

function tasmota(setting: Setting): Recipe {
  const { secret, url } = setting;
  if (!tasmotaTakes(secret)) {
    return { title: 'Tasmota', lines: [], note: 'This secret has a [, ], | or %, which Tasmota cannot send. Rotate the secret: made-up ones work.' };
  }
  return {
    title: 'Tasmota',
    lines: [
      {
        label: 'A rule, for its console',
        text: `Rule1 ON Tele-AM2301#Temperature DO WebQuery ${url} POST [Authorization: Bearer ${secret}] {"temperature":%value%} ENDON`,
      },
      { label: 'Switch it on', text: `Backlog Rule1 1; TelePeriod ${seconds}` },
    ],
    note: join(
      'Put your sensor in the place of AM2301; the console shows its name every few minutes. Readings come over HTTP: Tasmota’s own MQTT topics are not understood yet.',
      url.startsWith('https:') ? 'HTTPS takes a build for the ESP32.' : '',
      elsewhere(setting),
    ),
  };
}

function shelly(setting: Setting): Recipe {
  const { secret, url } = setting;
  const text = `function send() {
  let s = Shelly.getComponentStatus("switch:0"); // or "temperature:100", "em:0", …
  Shelly.call("HTTP.Request", {
    method: "POST",
    url: ${script(url)},
    headers: { Authorization: ${script(`Bearer ${secret}`)} },
    body: JSON.stringify({ on: s.output, power: s.apower, temperature: s.temperature.tC })
  });
}
Timer.set(${seconds}000, true, send);
send();`;
  return {
    title: 'Shelly',
    lines: [{ label: 'A script, from the second generation on', text }],
    note: join('Add it under Scripts and let it start by itself. Readings come over HTTP: Shelly’s own MQTT topics are not understood yet.', elsewhere(setting)),
  };
}

function byHand({ serial, secret, host, mqtt, url }: Setting, info: Info | null): Recipe {
  const lines = [
    ...(mqtt ? [{ label: 'Host', text: host }] : []),
    ...(info?.mqtt_port ? [{ label: 'Port of MQTT', text: String(info.mqtt_port) }] : []),
    ...(info?.mqtts_port ? [{ label: 'Port of MQTT over TLS', text: String(info.mqtts_port) }] : []),
    { label: 'User name', text: serial },
    { label: 'Password', text: secret },
    ...(mqtt ? [{ label: 'Topic', text: `sensors/${serial}/telemetry` }] : []),
    { label: 'Address for HTTP', text: url },
    ...(info?.certificates ?? []).flatMap(({ names, sha256, sha1 }) => {
      const of = (names ?? []).length > 0 ? ` of ${names!.join(', ')}` : '';
      return [
        ...(sha256 ? [{ label: `SHA-256 fingerprint${of}`, text: sha256 }] : []),
        ...(sha1 ? [{ label: `SHA-1 fingerprint${of}`, text: sha1 }] : []),
      ];
    }),
  ];
  return { title: 'Something else', lines, note: 'A reading is a JSON object, such as {"temperature":21.5}. A will, if any, goes to the topic sensors/' + serial + '/lwt.' };
}

const elsewhere = ({ local, host }: Setting) =>
  local ? `${host} is this machine itself: a device needs its address in your network instead.` : '';
const join = (...parts: string[]) => parts.filter(Boolean).join(' ');
const noted = (note: string) => (note ? { note } : {});
