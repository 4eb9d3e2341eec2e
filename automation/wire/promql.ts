import { BadConfig } from "../../components/errors";

/** PromQL with placeholders, taken apart once. */
export interface Template {
  /** The names it has placeholders of. */
  uses: ReadonlySet<string>;
  /** The expression with values in place, each escaped for the string or pattern that it stands in. */
  fill(values: Readonly<Record<string, string>>): string;
}

/** Opens a string, with the operator that makes it a pattern. */
const OPEN = /(=~|!~)?\s*(["'`])/y;
const HOLE = /\{\{\s*([^{}]*?)\s*\}\}/y;

/**
 * Reads PromQL with placeholders such as `{{service}}`, which stand inside quotes: there a value can be escaped,
 * so that no name, whoever chose it, becomes part of the query. Throws `bad-config` naming `where`.
 */
export function template(text: string, where: string, known: readonly string[]): Template {
  const uses = new Set<string>();
  const parts: (string | { name: string; quote: string; pattern: boolean })[] = [];
  let quote: string | undefined;
  let pattern = false;
  for (let at = 0; at < text.length; ) {
    const hole = match(HOLE, text, at);
    if (hole) {
      const name = hole[1] ?? "";
      if (!known.includes(name))
        throw BadConfig(where, `there is no placeholder {{${name}}}. Known: ${known.join(", ")}.`);
      if (quote === undefined || quote === "`")
        throw BadConfig(where, `{{${name}}} must stand inside "quotes", where it can be escaped.`);
      uses.add(name);
      parts.push({ name, quote, pattern });
      at += hole[0].length;
      continue;
    }
    let piece = text[at]!;
    const open = quote === undefined ? match(OPEN, text, at) : undefined;
    if (open) {
      piece = open[0];
      quote = open[2];
      pattern = open[1] !== undefined;
    } else if (quote === undefined && piece === "#") piece = /[^\n]*/y.exec(text.slice(at))![0];
    else if (piece === quote) quote = undefined;
    else if (piece === "\\" && quote !== undefined && quote !== "`") piece = text.slice(at, at + 2);
    parts.push(piece);
    at += piece.length;
  }
  if (quote !== undefined) throw BadConfig(where, "a quoted text in it does not end.");
  if (text.trim() === "") throw BadConfig(where, "it is empty.");
  return {
    uses,
    fill: (values) =>
      parts
        .map((part) => (typeof part === "string" ? part : literal(values[part.name] ?? "", part)))
        .join(""),
  };
}

function match(pattern: RegExp, text: string, at: number): RegExpExecArray | undefined {
  pattern.lastIndex = at;
  return pattern.exec(text) ?? undefined;
}

/** Strings are those of Go: https://prometheus.io/docs/prometheus/latest/querying/basics/#string-literals */
function literal(value: string, { quote, pattern }: { quote: string; pattern: boolean }): string {
  const text = pattern ? value.replace(/[\\.+*?()|[\]{}^$]/g, "\\$&") : value;
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll(quote, `\\${quote}`);
}
