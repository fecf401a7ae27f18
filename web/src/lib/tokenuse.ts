import type { ServerInfo } from './api';

/** Lines that show a new API token at work. Neither user names nor tokens hold what a shell takes for its own. */
export function tokenUses(username: string, token: string, info: Pick<ServerInfo, 'mqtt_port' | 'mqtts_port'> | null, place: { hostname: string; origin: string }): { title: string; line: string }[] {
  const uses = [{ title: 'List sensors', line: `curl -H 'Authorization: Bearer ${token}' ${place.origin}/api/v1/sensors` }];
  const port = info?.mqtt_port ?? info?.mqtts_port;
  if (port) {
    // A URL writes IPv6 hosts in brackets, mosquitto_sub does not.
    const host = place.hostname.replace(/^\[|\]$/g, '');
    const tls = info?.mqtt_port ? '' : ' --tls-use-os-certs';
    uses.push({ title: 'Watch over MQTT', line: `mosquitto_sub -h ${host} -p ${port}${tls} -u ${username} -P ${token} -t 'sensors/+/telemetry' -v` });
  }
  return uses;
}
