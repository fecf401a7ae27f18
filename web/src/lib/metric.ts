/** Reading metrics out of a payload: nested objects become dotted names, as the server names them. */
export interface Metric {
  name: string;
  value: unknown;
}

/** More metrics than a person can look at; also what stops a hostile payload from filling the page. */
const maxMetrics = 64;
const maxDepth = 6;

export function metricsOf(data: unknown): Metric[] {
  const found: Metric[] = [];
  walk('', data, 0, found);
  return found;
}

function walk(prefix: string, value: unknown, depth: number, found: Metric[]): void {
  if (value === null || typeof value !== 'object' || Array.isArray(value) || depth >= maxDepth) {
    if (prefix !== '') found.push({ name: prefix, value });
    return;
  }
  for (const key of Object.keys(value)) {
    if (found.length >= maxMetrics) return;
    walk(prefix === '' ? key : `${prefix}.${key}`, (value as Record<string, unknown>)[key], depth + 1, found);
  }
}

/** The value as a chart draws it: booleans are 0 and 1, everything that is no number is not drawn. */
export function numeric(value: unknown): number | undefined {
  if (typeof value === 'number') return value;
  if (typeof value === 'boolean') return value ? 1 : 0;
  if (typeof value === 'bigint') return Number(value);
  return undefined;
}

/** What most people look at first, when a sensor sends several. */
const preferred = ['temperature', 'temp', 'humidity', 'pressure', 'co2', 'pm2_5', 'power', 'level', 'value'];
/** Facts about the device rather than its surroundings come last. */
const housekeeping = ['battery', 'voltage', 'rssi', 'snr', 'lqi', 'uptime', 'heap', 'counter', 'seq'];

/** Metrics in the order a card shows them. Stable, so a card does not jump between readings. */
export function byInterest(metrics: Metric[]): Metric[] {
  const rank = ({ name, value }: Metric): number => {
    const last = name.toLowerCase().split('.').pop() ?? '';
    const wanted = preferred.indexOf(last);
    if (wanted >= 0) return wanted;
    if (housekeeping.some((word) => last.startsWith(word))) return 300;
    return numeric(value) === undefined ? 200 : 100;
  };
  return metrics
    .map((metric, index) => ({ metric, index, rank: rank(metric) }))
    .sort((a, b) => a.rank - b.rank || a.index - b.index)
    .map(({ metric }) => metric);
}
