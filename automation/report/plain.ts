/** Characters of a text that are kept: a service may give a page of HTML, or 10 MB, as its reason. */
const LONGEST = 2000;

// What a terminal would obey, what turns the direction of the text around it, and what can't be seen.
const UNSEEN =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g;

/** Makes a foreign text fit to be shown: controls and marks of direction become visible, line ends stay. */
export function plain(text: string): string {
  return text
    .replaceAll("\r\n", "\n")
    .replace(UNSEEN, (c) => `<U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}>`)
    .replace(/\p{Surrogate}/gu, "\ufffd");
}

/** The same in one line. */
export function flat(text: string): string {
  return plain(text).trim().replace(/\s+/g, " ");
}

/** The text, or its beginning and its end. */
export function short(text: string, longest = LONGEST): string {
  if (text.length <= longest) return text;
  const half = Math.floor(longest / 2);
  return `${text.slice(0, half)} [… ${text.length - 2 * half} characters …] ${text.slice(-half)}`;
}
