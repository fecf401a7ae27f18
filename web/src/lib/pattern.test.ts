import { expect, test } from 'vitest';
import { match } from './pattern';

test('a pattern gives its parameters, decoded', () => {
  expect(match('/sensors/:serial', '/sensors/A%3A1')).toEqual({ serial: 'A:1' });
  expect(match('/sensors/:serial', '/sensors/')).toBeUndefined();
  expect(match('/sensors/:serial', '/sensors/a/b')).toBeUndefined();
  expect(match('/sensors/:serial', '/sensors/%ff')).toBeUndefined();
  expect(match('/', '/')).toEqual({});
});
