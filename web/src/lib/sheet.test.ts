import { expect, test } from 'vitest';
import { Once } from './once';
import { readProblem } from './problem';
import { joined, mistakesOf, secretsOf } from './sheet';

test('every mistake of a sheet has its row and field, also several of one row', async () => {
  const body = {
    detail: 'the sheet has 4 mistakes',
    errors: [
      { location: 'row 2.serial_no', message: 'is taken' },
      { location: 'row 2.tags[1]', message: 'is too long' },
      { location: 'row 7', message: 'has more cells than fields' },
      { message: 'there are 12 more mistakes' },
    ],
  };
  const problem = await readProblem(new Response(JSON.stringify(body), { status: 422 }));
  expect(mistakesOf(problem.faults)).toEqual([
    { row: 2, field: 'serial_no', message: 'is taken' },
    { row: 2, field: 'tags[1]', message: 'is too long' },
    { row: 7, field: '', message: 'has more cells than fields' },
    { row: 0, field: '', message: 'there are 12 more mistakes' },
  ]);
});

test('the field of an address is shown beside the input of its name', async () => {
  const body = { errors: [{ location: 'path.username', message: 'is nobody' }] };
  expect((await readProblem(new Response(JSON.stringify(body), { status: 404 }))).fields).toEqual({ username: 'is nobody' });
});

test('the secrets of an import are a sheet of those that were made', () => {
  const items = [
    { row: 2, serial_no: 'A', status: 'created' as const, secret_key: 'sdk_1' },
    { row: 3, serial_no: 'B', status: 'unchanged' as const },
    { row: 4, serial_no: 'C', status: 'created' as const, secret_key: 'sdk_2' },
  ];
  expect(secretsOf(items)).toBe('serial_no,secret_key\r\nA,sdk_1\r\nC,sdk_2\r\n');
});

test('joined sheets have the names of their fields once', () => {
  expect(joined(['a,b\r\n1,2\r\n', 'a,b\r\n3,4\r\n', 'a,b\r\n'])).toBe('a,b\r\n1,2\r\n3,4\r\n');
  expect(joined(['a,b\r\n'])).toBe('a,b\r\n');
});

test('a wish keeps its key until it changes or is granted', () => {
  const once = new Once();
  const key = once.keyOf({ name: 'Desk' });
  expect(key).toMatch(/^[0-9a-f]{32}$/);
  expect(once.keyOf({ name: 'Desk' })).toBe(key);
  const other = once.keyOf({ name: 'Roof' });
  expect(other).not.toBe(key);
  once.done();
  expect(once.keyOf({ name: 'Roof' })).not.toBe(other);
});
