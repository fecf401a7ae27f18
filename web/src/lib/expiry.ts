const day = 86_400;

/** How long something is to be good for, as a choice; `date` and `never` are none of seconds. */
export const tokenLives = [
  [String(30 * day), '30 days'],
  [String(90 * day), '90 days'],
  [String(365 * day), '1 year'],
  ['date', 'until a date…'],
  ['never', 'for ever'],
] as const;
export type TokenLife = (typeof tokenLives)[number][0];

/** When it ends, as the API takes it; null: never. A date means the whole of that day where the person is. */
export function endOf(life: TokenLife, date: string, nowMs: number): string | null {
  if (life === 'never') return null;
  if (life !== 'date') return new Date(nowMs + Number(life) * 1000).toISOString();
  const end = new Date(`${date}T23:59:59`);
  return Number.isNaN(end.getTime()) ? date : end.toISOString();
}
