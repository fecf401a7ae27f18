import type { ServerInfo } from './api';

/** Command lines a person can paste to see the first reading arrive. */
export interface Recipe {
  title: string;
  line: string;
}

const sample = '{"temperature":21.5}';

export function recipes(serial: string, secret: string, info: Pick<ServerInfo, 'mqtt_port' | 'mqtts_port'> | null, place: { hostname: string; origin: string }): Recipe[] {
  const found: Recipe[] = [];
  // A URL writes IPv6 hosts in brackets, mosquitto_pub does not.
  const host = place.hostname.replace(/^\[|\]$/g, '');
  const port = info?.mqtt_port ?? info?.mqtts_port;
  if (port) {
    const tls = info?.mqtt_port ? '' : ' --tls-use-os-certs';
    found.push({
      title: info?.mqtt_port ? 'MQTT' : 'MQTT over TLS',
      line: `mosquitto_pub -h ${host} -p ${port}${tls} -u ${serial} -P ${quote(secret)} -t sensors/${serial}/telemetry -m '${sample}'`,
    });
  }
  found.push({
    title: 'HTTP',
    line: `curl -H ${quote(`Authorization: Bearer ${secret}`)} -d '${sample}' ${place.origin}/api/v1/sensors/${serial}/telemetry`,
  });
  return found;
}

/** Plain words stay plain; anything else is quoted for a POSIX shell, since a secret may be the owner's own. */
function quote(word: string): string {
  return /^[A-Za-z0-9._~+/=-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
