import { expect, test } from 'vitest';
import { codeIn, pastedCode } from './code';

const code = `inv_${'aB3-_'.repeat(8)}xyz`;

test('a fragment is a code or it is none', () => {
  expect(codeIn(code)).toBe(code);
  for (const other of ['', 'main', '<img src=x>', `${code}?x=1`, 'a'.repeat(200)]) expect(codeIn(other)).toBe('');
});

test('a pasted link is as good as its code', () => {
  for (const pasted of [code, `  ${code}\n`, `https://sensors.example.org/register#${code}`]) expect(pastedCode(pasted)).toBe(code);
});
