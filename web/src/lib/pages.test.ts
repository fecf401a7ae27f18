import { expect, test } from 'vitest';
import { Pages } from './pages.svelte';
import { Problem } from './problem';

const pages: Record<string, { items: number[]; next: string | null }> = {
  '': { items: [1, 2], next: 'b' },
  b: { items: [3], next: null },
};

test('a list goes on where the page before ended', async () => {
  const list = new Pages<number>(async (cursor) => pages[cursor ?? '']!);
  expect(list.loaded).toBe(false);
  await list.load();
  expect([list.items, list.more]).toEqual([[1, 2], true]);
  await list.loadMore();
  expect([list.items, list.more]).toEqual([[1, 2, 3], false]);
  await list.load();
  expect(list.items).toEqual([1, 2]);
});

test('of two questions the last one counts, whichever is answered first', async () => {
  const answers: ((items: number[]) => void)[] = [];
  const list = new Pages<number>(() => new Promise((done) => answers.push((items) => done({ items, next: null }))));
  const both = [list.load(), list.load()];
  answers[1]!([2]);
  answers[0]!([1]);
  await Promise.all(both);
  expect(list.items).toEqual([2]);
  expect(list.busy).toBe(false);
});

test('a failure leaves what is shown and says why', async () => {
  let fails = false;
  const list = new Pages<number>(async () => (fails ? Promise.reject(new Problem(503, '', 'down')) : pages['']!));
  await list.load();
  fails = true;
  await list.loadMore();
  expect([list.items, list.more, list.problem?.detail]).toEqual([[1, 2], true, 'down']);
});
