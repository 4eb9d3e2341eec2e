import { width } from "./text";

/** Spaces between two columns. */
const GAP = 2;

/** Rows as lines, each column as wide as its widest cell: the first ones to the left, the others to the right. */
export function columns(
  rows: readonly (readonly string[])[],
  left = 1,
): { lines: string[] /** Where each column begins. */; at: number[] } {
  const [first = []] = rows;
  const widths = first.map((_, i) => Math.max(...rows.map((row) => width(row[i] ?? ""))));
  const at = widths.map((_, i) => widths.slice(0, i).reduce((sum, w) => sum + w + GAP, 0));
  const cell = (text: string, i: number) => {
    const space = " ".repeat(Math.max(0, (widths[i] ?? 0) - width(text)));
    return i < left ? text + space : space + text;
  };
  return { lines: rows.map((row) => row.map(cell).join(" ".repeat(GAP)).trimEnd()), at };
}
