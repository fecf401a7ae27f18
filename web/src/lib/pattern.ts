/** The parameters of an address that a pattern fits. An address that is no text (`%ff`) fits none. */
export function match(pattern: string, address: string): Record<string, string> | undefined {
  const want = pattern.split('/');
  const have = address.split('/');
  if (want.length !== have.length) return undefined;
  const params: Record<string, string> = {};
  for (const [i, part] of want.entries()) {
    const given = have[i]!;
    if (!part.startsWith(':')) {
      if (part !== given) return undefined;
      continue;
    }
    try {
      params[part.slice(1)] = decodeURIComponent(given);
    } catch {
      return undefined;
    }
    if (!given) return undefined;
  }
  return params;
}
