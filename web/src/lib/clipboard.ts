/** Copies text; false when the browser refuses. The clipboard API exists only on https and localhost. */
export async function copyText(text: string): Promise<boolean> {
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Permission denied or page not focused; the old way may still work.
    }
  }
  const area = document.createElement('textarea');
  area.value = text;
  area.className = 'offscreen';
  // Inside an open dialog everything else is inert, so the helper must live there too.
  (document.querySelector('dialog[open]') ?? document.body).append(area);
  area.select();
  const done = document.execCommand('copy');
  area.remove();
  return done;
}
