import { expect, test } from 'vitest';
import { Attempt } from './attempt.svelte';
import { Problem, unlessGone } from './problem';

test('a second click while the first is under way does nothing', async () => {
  const attempt = new Attempt();
  let runs = 0;
  let finish = () => {};
  const work = () => new Promise<void>((done) => (runs++, (finish = done)));
  const first = attempt.run(work);
  expect(attempt.busy).toBe(true);
  expect(await attempt.run(work)).toBe(false);
  finish();
  expect(await first).toBe(true);
  expect([runs, attempt.busy]).toEqual([1, false]);
});

test('a refusal is kept by field until the next try', async () => {
  const attempt = new Attempt();
  const refused = () => Promise.reject(new Problem(422, '', 'The input is not valid.', { name: 'is taken' }));
  expect(await attempt.run(refused)).toBe(false);
  expect([attempt.of('name'), attempt.of('email'), attempt.busy]).toEqual(['is taken', undefined, false]);
  await attempt.run(async () => {});
  expect(attempt.problem).toBeNull();
});

test('what is gone already needs not be taken away', () => {
  expect(() => unlessGone(new Problem(404, '', ''))).not.toThrow();
  expect(() => unlessGone(new Problem(503, '', ''))).toThrow();
});
