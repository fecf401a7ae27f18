/** Puts the keyboard where a step that has just appeared begins; as an attachment, for fields. */
export function focused(element: HTMLElement): void {
  element.focus();
}
