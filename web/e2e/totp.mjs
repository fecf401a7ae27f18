// What an authenticator app does (RFC 6238).
import { createHmac } from 'node:crypto';

const stepMs = 30_000;

/** The code of now, or of so many steps later, for a base32 secret. */
export function totp(secret, later = 0) {
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / stepMs) + later));
  const sum = createHmac('sha1', base32(secret)).update(step).digest();
  const at = sum[sum.length - 1] & 0xf;
  return String((sum.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}

function base32(text) {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  const bits = [...text.replace(/\s/g, '')].map((c) => letters.indexOf(c).toString(2).padStart(5, '0')).join('');
  return Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
}
