// @ts-expect-error The types of Node would give the page's code the timers of Node.
import { execFileSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { recipes } from './recipe';

const info = { mqtt_port: 1883, mqtts_port: null, certificates: [] };
const certificate = { names: ['box.local'], sha256: 'AB:01', sha1: '02:CD', tasmota: null, self_signed: true, not_after: '2030-01-01T00:00:00.000Z' };
const place = { hostname: 'box.local', origin: 'http://box.local:8080' };

const all = (...of: Parameters<typeof recipes>) =>
  recipes(...of)
    .map(({ title, note, lines }) => [`# ${title}`, note ?? '', ...lines.flatMap(({ label, text }) => [`## ${label}`, text])].filter(Boolean).join('\n'))
    .join('\n\n') + '\n';
const lineOf = (text: string, ...of: Parameters<typeof recipes>) => recipes(...of).flatMap(({ lines }) => lines).find((line) => line.text.includes(text))?.text;

/** Everything a secret may hold, by the server's rule: printable ASCII without the blank. */
const odd = String.fromCharCode(...Array.from({ length: 0x7e - 0x20 }, (_, i) => 0x21 + i));

describe('recipes', () => {
  test('are what the manuals of the firmwares say', async () => {
    await expect(all('SN.1:a', 'sdk_abcDEF-_12', info, place)).toMatchFileSnapshot('testdata/recipes.txt');
  });

  test('use TLS and tell the fingerprints when that is the only door', async () => {
    const tls = { mqtt_port: null, mqtts_port: 8883, certificates: [certificate] };
    await expect(all('SN1', 'sdk_abcDEF-_12', tls, { hostname: '127.0.0.1', origin: 'https://127.0.0.1' })).toMatchFileSnapshot('testdata/recipes-tls.txt');
  });

  test('trust the roots of the system where the certificate is of an authority, and unwrap IPv6', () => {
    const tls = { mqtt_port: null, mqtts_port: 8883, certificates: [{ ...certificate, self_signed: false }] };
    expect(lineOf('mosquitto_pub', 'SN1', 's', tls, { hostname: '[::1]', origin: 'https://[::1]' })).toContain('-h ::1 -p 8883 --tls-use-os-certs');
  });

  test('leave MQTT out when it is off', () => {
    const without = all('SN1', 's', { ...info, mqtt_port: null }, place);
    expect(without).toContain('curl -H');
    expect(without).not.toContain('mosquitto_pub');
    expect(without).not.toContain('# ESPHome');
  });

  test('a shell gives the secret to mosquitto_pub and curl as it is', () => {
    for (const secret of [odd, '~root/0123456789', '=ls0123456789abc', "'$(id)`id`\\\"!x"]) {
      const said = (line: string, program: string) =>
        execFileSync('sh', ['-c', `${program}() { for a; do printf '%s\\n' "$a"; done; }; ${line}`], { encoding: 'utf8' }).split('\n');
      expect(said(lineOf('mosquitto_pub', 'SN1', secret, info, place)!, 'mosquitto_pub')).toContain(secret);
      expect(said(lineOf('curl', 'SN1', secret, info, place)!, 'curl')).toContain(`Authorization: Bearer ${secret}`);
    }
  });

  test('scripts and sketches hold the secret as it is', () => {
    const shelly = lineOf('Shelly.call', 'SN1', odd, info, place)!;
    expect(JSON.parse(/Authorization: (".*") }/.exec(shelly)![1]!)).toBe(`Bearer ${odd}`);
    const yaml = lineOf('topic_prefix', 'SN1', odd, info, place)!;
    expect(JSON.parse(/password: (".*")/.exec(yaml)![1]!)).toBe(odd);
    const sketch = lineOf('PubSubClient', 'SN1', odd + '??/', info, place)!;
    const literal = /secret_key = (".*");/.exec(sketch)![1]!;
    expect(literal).not.toContain('??');
    expect(JSON.parse(literal.replaceAll('\\?', '?'))).toBe(odd + '??/');
  });

  test('what Tasmota cannot send it is not promised to', () => {
    const rule = (secret: string) => lineOf('Rule1 ON', 'SN1', secret, info, place);
    expect(rule('sdk_abcDEF-_12')).toContain('[Authorization: Bearer sdk_abcDEF-_12]');
    for (const mark of '[]|%') expect(rule(`0123456789abcdef${mark}`)).toBeUndefined();
  });
});
