import type { Rule, RuleDraft, RulePatch, Severity } from './api';
import { PartError } from './service';
import { span } from './time';

export type Op = RuleDraft['op'] & string;

/** The form's fields, the way inputs hold them. */
export interface RuleForm {
  name: string;
  of: 'sensor' | 'tag';
  serial: string;
  tag: string;
  how: 'metric' | 'expression';
  metric: string;
  op: Op;
  value: string;
  clear: string;
  expression: string;
  seconds: string;
  severity: Severity;
}

export const ops: readonly (readonly [Op, string])[] = [
  ['>', 'is above'],
  ['>=', 'is at least'],
  ['<', 'is below'],
  ['<=', 'is at most'],
  ['==', 'is'],
  ['!=', 'is not'],
];

export const severities: readonly (readonly [Severity, string])[] = [
  ['info', 'Info: good to know'],
  ['warning', 'Warning: somebody should look'],
  ['critical', 'Critical: also in quiet hours'],
];

/** How long it must hold; what a rule has otherwise is offered too. */
export function lasting(current: string): [string, string][] {
  const usual = ['0', '60', '300', '900', '3600', '21600', '86400'];
  const all = usual.includes(current) ? usual : [...usual, current].sort((a, b) => Number(a) - Number(b));
  return all.map((seconds) => [seconds, seconds === '0' ? 'with one reading' : `for ${span(Number(seconds))}`]);
}

export function formOf(rule?: Rule, serial = ''): RuleForm {
  return {
    name: rule?.name ?? '',
    of: rule?.tag ? 'tag' : 'sensor',
    serial: rule?.serial_no ?? serial,
    tag: rule?.tag ?? '',
    how: rule?.expression ? 'expression' : 'metric',
    metric: rule?.metric ?? '',
    op: (rule?.op as Op | null) ?? '>',
    value: text(rule?.value),
    clear: text(rule?.clear_value),
    expression: rule?.expression ?? '',
    seconds: String(rule?.for_seconds ?? 0),
    severity: rule?.severity ?? 'warning',
  };
}

/** What the server is asked to make, or to try. Throws PartError. */
export function draftOf(form: RuleForm): RuleDraft {
  const whose = form.of === 'sensor' ? { serial_no: need(form, 'serial') } : { tag: need(form, 'tag').trim() };
  const shared = { name: form.name.trim(), ...whose, for_seconds: Number(form.seconds), severity: form.severity };
  if (form.how === 'expression') return { ...shared, expression: need(form, 'expression').trim() };
  const clear = form.clear.trim() === '' ? {} : { clear_value: number(form, 'clear') };
  return { ...shared, metric: need(form, 'metric').trim(), op: form.op, value: number(form, 'value'), ...clear };
}

/** The same as a change: what the form does not have any more is reset. Throws PartError. */
export function patchOf(form: RuleForm): RulePatch {
  const none = { serial_no: null, tag: null, metric: null, op: null, value: null, clear_value: null, expression: null };
  return { ...none, ...draftOf(form) };
}

/** What a rule watches for: "temperature is above 30 for 5 min". */
export function condition(rule: Pick<Rule, 'metric' | 'op' | 'value' | 'expression' | 'for_seconds' | 'clear_value'>): string {
  const what = rule.expression ?? `${rule.metric} ${ops.find(([op]) => op === rule.op)?.[1] ?? rule.op} ${rule.value}`;
  const long = rule.for_seconds > 0 ? ` for ${span(rule.for_seconds)}` : '';
  const until = rule.clear_value === null ? '' : `, until it has reached ${rule.clear_value}`;
  return what + long + until;
}

/** What came of a trial: "It would have fired 3 times in the last 7 days". */
export function verdict({ fired, sensors, readings }: { fired: number; sensors: number; readings: number }): string {
  if (sensors === 0) return 'It would judge no sensor now.';
  if (readings === 0) return 'There are no readings of the last 7 days to try it on.';
  const times = fired === 0 ? 'not have fired' : fired === 1 ? 'have fired once' : `have fired ${fired} times`;
  return `It would ${times} in the last 7 days.`;
}

const text = (value: number | null | undefined): string => (value === null || value === undefined ? '' : String(value));

function need(form: RuleForm, field: 'serial' | 'tag' | 'metric' | 'expression'): string {
  if (form[field].trim() === '') throw new PartError(field, 'This is needed.');
  return form[field];
}

/** A decimal comma is one, too. */
function number(form: RuleForm, field: 'value' | 'clear'): number {
  const value = Number(form[field].trim().replace(',', '.') || NaN);
  if (!Number.isFinite(value)) throw new PartError(field, 'This should be a number.');
  return value;
}
