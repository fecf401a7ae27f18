import { encode } from 'uqr';

/** Modules of white around a code, which readers need to find it (ISO/IEC 18004 §5.3.8). */
const quiet = 4;

export interface Drawing {
  size: number;
  /** Its dark modules, as the `d` of an SVG path on a grid of `size`: one run of a row is one stroke of it. */
  path: string;
}

/** A text as QR code. */
export function qr(text: string): Drawing {
  const { data, size } = encode(text, { ecc: 'M', border: quiet });
  let path = '';
  for (const [y, row] of data.entries()) {
    for (let x = 0; x < size; x++) {
      if (!row[x]) continue;
      const from = x;
      while (row[x + 1]) x++;
      path += `M${from} ${y}h${x + 1 - from}v1H${from}z`;
    }
  }
  return { size, path };
}
