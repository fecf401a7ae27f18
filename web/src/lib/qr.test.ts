import { encode } from 'uqr';
import { expect, test } from 'vitest';
import { qr } from './qr';

test('the drawing has each dark module of the code and no other', () => {
  const text = 'otpauth://totp/Sensorcast:ada?issuer=Sensorcast&secret=R4PVCKNTVPJSUNKPWYBX4EKEXETSYEOK';
  const { size, path } = qr(text);
  const drawn = Array.from({ length: size }, () => Array<boolean>(size).fill(false));
  for (const [, x, y, width] of path.matchAll(/M(\d+) (\d+)h(\d+)v1H\1z/g)) {
    for (let i = 0; i < Number(width); i++) drawn[Number(y)]![Number(x) + i] = true;
  }
  expect(drawn).toEqual(encode(text, { ecc: 'M', border: 4 }).data);
  expect(drawn.slice(0, 4).flat()).not.toContain(true);
});
