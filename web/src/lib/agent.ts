/** The first that fits counts: browsers claim to be those that came before them. */
const browsers: [RegExp, string][] = [
  [/\bEdgA?\//, 'Edge'],
  [/\b(OPR|Opera)\//, 'Opera'],
  [/\bSamsungBrowser\//, 'Samsung Internet'],
  [/\b(Firefox|FxiOS)\//, 'Firefox'],
  [/\b(Chrome|CriOS|HeadlessChrome)\//, 'Chrome'],
  [/\bSafari\//, 'Safari'],
];
const systems: [RegExp, string][] = [
  [/\b(iPhone|iPad)\b/, 'iOS'],
  [/\bAndroid\b/, 'Android'],
  [/\bWindows\b/, 'Windows'],
  [/\bMac OS X\b/, 'macOS'],
  [/\bCrOS\b/, 'ChromeOS'],
  [/\bLinux\b/, 'Linux'],
];

/** What a User-Agent header says in words people know: "Firefox on Linux", "curl". It is the client's own word, no proof. */
export function agentName(header: string | null | undefined): string {
  if (!header) return 'Unknown program';
  const name = (of: [RegExp, string][]) => of.find(([pattern]) => pattern.test(header))?.[1];
  const browser = name(browsers);
  const system = name(systems);
  if (browser) return system ? `${browser} on ${system}` : browser;
  return header.split(/[/\s(]/)[0] || 'Unknown program';
}
