/*
 * A serial number or a secret as one word of another language. Secrets may be the owner's own: any printable ASCII but the blank, quotes,
 * dollars and backslashes included.
 */

/** For a POSIX shell. Plain words stay plain; `~` and `=` are not plain, a shell may expand them. */
export function shell(word: string): string {
  return /^[A-Za-z0-9._+/:@-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** For YAML: a double-quoted scalar knows the escapes of JSON. */
export const yaml = (word: string): string => JSON.stringify(word);

/** For JavaScript. */
export const script = (word: string): string => JSON.stringify(word);

/** For C: as in JSON, and no two question marks side by side, which older compilers take for a trigraph. */
export const c = (word: string): string => JSON.stringify(word).replaceAll('?', '\\?');
