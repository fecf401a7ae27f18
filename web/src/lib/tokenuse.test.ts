import { expect, test } from 'vitest';
import { tokenUses } from './tokenuse';

const place = { hostname: 'box.local', origin: 'http://box.local:8080' };

test('the lines that show a token at work', () => {
  expect(tokenUses('ada', 'sct_x-Y_1', { mqtt_port: 1883, mqtts_port: 8883 }, place).map((use) => use.line)).toEqual([
    `curl -H 'Authorization: Bearer sct_x-Y_1' http://box.local:8080/api/v1/sensors`,
    `mosquitto_sub -h box.local -p 1883 -u ada -P sct_x-Y_1 -t 'sensors/+/telemetry' -v`,
  ]);
});

test('TLS where that is the only door, HTTP alone where there is none', () => {
  expect(tokenUses('ada', 't', { mqtt_port: null, mqtts_port: 8883 }, { ...place, hostname: '[::1]' })[1]!.line).toContain('-h ::1 -p 8883 --tls-use-os-certs');
  expect(tokenUses('ada', 't', { mqtt_port: null, mqtts_port: null }, place)).toHaveLength(1);
});
