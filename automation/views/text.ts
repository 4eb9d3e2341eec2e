import { eastAsianWidth } from "get-east-asian-width";
import wrapAnsi from "wrap-ansi";

/** Nothing but characters that take one cell each. */
const PLAIN = /^[\x20-\x7e]*$/;
/** What a terminal is told beside text: escape sequences, and then every other control character. */
const CONTROL =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  /\x1b\[([\d;:]*)m|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b\[[0-?]*[ -/]*[@-~]?|\x1b.?|[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: all that is left of them in tame text
const COLOUR = /(\x1b\[[\d;:]*m)/g;
/** Takes no cell of its own: marks, joiners and direction controls. */
const EMPTY = /^[\p{Mn}\p{Me}\p{Cf}]$/u;
const RESET = "\x1b[0m";
const letters = new Intl.Segmenter();

/**
 * Text that can't move the cursor or do anything else to a terminal: colours stay, all other control characters go.
 * What a service or a server said is shown by nothing else.
 */
export function tame(text: string): string {
  if (PLAIN.test(text)) return text;
  return text.replace(CONTROL, (found, colour) =>
    colour !== undefined ? found : /^\s$/.test(found) ? " " : "",
  );
}

/** Cells that the text takes in a terminal; where terminals differ, the most. */
export function width(text: string): number {
  if (PLAIN.test(text)) return text.length;
  return cells(tame(text).replace(COLOUR, ""));
}

function cells(bare: string): number {
  if (PLAIN.test(bare)) return bare.length;
  let sum = 0;
  let before = 1;
  for (const character of bare) {
    // It makes an emoji of the character before, and with it wide.
    if (character === "\ufe0f") sum += 2 - before;
    before = EMPTY.test(character) ? 0 : eastAsianWidth(character.codePointAt(0) ?? 0);
    sum += before;
    if (character === "\ufe0f") before = 2;
  }
  return sum;
}

/** The text in at most so many columns: cut with an ellipsis where it is longer. One line, tame. */
export function cut(text: string, columns: number): string {
  if (columns <= 0) return "";
  const calm = tame(text);
  if (width(calm) <= columns) return calm;
  let left = columns - 1;
  let made = "";
  let coloured = false;
  for (const part of calm.split(COLOUR)) {
    if (part.startsWith("\x1b")) {
      coloured = true;
      made += part;
      continue;
    }
    for (const { segment } of letters.segment(part)) {
      left -= cells(segment);
      if (left < 0) return `${made}…${coloured ? RESET : ""}`;
      made += segment;
    }
  }
  return made;
}

/** The text in lines of at most so many columns, broken between words, what follows indented; at most `lines`. */
export function flow(
  text: string,
  columns: number,
  options: { indent?: number; lines?: number } = {},
): string[] {
  const { indent = 0, lines = 3 } = options;
  const room = columns - indent;
  if (room < 4) return [cut(text, columns)];
  const rows = wrapAnsi(tame(text), room, { hard: true }).split("\n");
  const shown = rows.length > lines ? [...rows.slice(0, lines - 1), rows.slice(lines - 1).join(" ")] : rows;
  return shown.map((row) => cut(`${" ".repeat(indent)}${row}`, columns));
}

/**
 * Lines for a terminal of that width: broken between words, and what follows is indented further. Nothing is lost;
 * a word that is longer than a line is left to the terminal, so that it can still be copied whole.
 */
export function folded(text: string, columns: number): string {
  return text
    .split("\n")
    .map((line) => {
      const calm = tame(line.replace(/\r$/, ""));
      if (width(calm) <= columns) return calm;
      const indent = /^ */.exec(calm)?.[0].length ?? 0;
      const deeper = Math.min(indent + 4, Math.floor(columns / 3));
      const [first = "", ...rest] = wrapAnsi(calm, columns, { trim: false }).split("\n");
      if (rest.length === 0) return first;
      const others = wrapAnsi(rest.join(" ").replace(/ +/g, " ").trimStart(), Math.max(8, columns - deeper));
      return [first.trimEnd(), ...others.split("\n").map((row) => " ".repeat(deeper) + row)].join("\n");
    })
    .join("\n");
}
