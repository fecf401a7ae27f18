/** The code in the fragment a letter's link leads to; empty when it is no code, such as where "Skip to content" led. */
export function codeIn(fragment: string): string {
  return /^[A-Za-z0-9_-]{24,100}$/.test(fragment) ? fragment : '';
}

/** As a person pastes it: from a link, or with the spaces and line breaks around it. */
export function pastedCode(text: string): string {
  return text.trim().split('#').pop()!.trim();
}
