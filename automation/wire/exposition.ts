import { error } from "../../components/errors";

export const SourceMalformed = error("source-malformed", {
  message: (where: string, why: string) =>
    `${where} answered, but not with metrics that can be counted: ${why}.`,
  hint: (where: string) => `No verdict was made of it. Look at it yourself: \`curl ${where}\`.`,
});

/** One series and its value now. */
export interface Sample {
  name: string;
  labels: Readonly<Record<string, string>>;
  value: number;
}

const NAME = /[a-zA-Z_:][a-zA-Z0-9_:]*/y;
const LABEL = /\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\\n]|\\.)*)"\s*/y;
// Value, an optional timestamp, an optional exemplar (OpenMetrics).
const REST = /[ \t]+(\S+)(?:[ \t]+(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?))?[ \t]*(?:# ?\{.*)?$/y;
const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;

/**
 * Reads the Prometheus text exposition format, and what of OpenMetrics it shares with it.
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 * Only series whose name `wants` are kept. Throws `source-malformed` naming `where`.
 */
export function parse(text: string, where: string, wants: (name: string) => boolean): Sample[] {
  if (text.trim() === "") return [];
  // The last line must end, or it may be the first half of a longer number.
  if (!text.endsWith("\n")) throw SourceMalformed(where, "its last line is cut off");
  const samples: Sample[] = [];
  const seen = new Set<string>();
  for (const [i, line] of text.split("\n").entries()) {
    const trimmed = line.trim();
    if (trimmed === "" || trimmed.startsWith("#")) continue;
    const sample = series(trimmed, (why) => SourceMalformed(where, `line ${i + 1} ${why}`));
    if (!wants(sample.name)) continue;
    const key = JSON.stringify([
      sample.name,
      Object.entries(sample.labels).sort(([a], [b]) => (a < b ? -1 : 1)),
    ]);
    if (seen.has(key)) throw SourceMalformed(where, `line ${i + 1} repeats a series of ${sample.name}`);
    seen.add(key);
    samples.push(sample);
  }
  return samples;
}

function series(line: string, bad: (why: string) => Error): Sample {
  NAME.lastIndex = 0;
  const name = NAME.exec(line)?.[0];
  if (!name) throw bad("is no series");
  let at = NAME.lastIndex;
  const labels: Record<string, string> = Object.create(null);
  const open = /\s*\{/y;
  open.lastIndex = at;
  if (open.test(line)) {
    at = open.lastIndex;
    for (;;) {
      LABEL.lastIndex = at;
      const label = LABEL.exec(line);
      if (!label) break;
      if (label[1]! in labels) throw bad(`has label ${label[1]} twice`);
      labels[label[1]!] = plain(label[2]!);
      at = LABEL.lastIndex;
      if (line[at] !== ",") break;
      at += 1;
    }
    const close = /\s*\}/y;
    close.lastIndex = at;
    if (!close.test(line)) throw bad("has labels that don't end");
    at = close.lastIndex;
    // `name{} 1` and `name{}1` are both seen in the wild; the rest wants its blank.
    if (!/\s/.test(line[at] ?? " ")) return finish(name, labels, ` ${line.slice(at)}`, bad);
  }
  return finish(name, labels, line.slice(at), bad);
}

function finish(name: string, labels: Record<string, string>, rest: string, bad: (why: string) => Error) {
  REST.lastIndex = 0;
  const found = REST.exec(rest);
  if (!found) throw bad("has no value");
  const value = number(found[1]!);
  if (value === undefined)
    throw bad(`has the value ${JSON.stringify(found[1]!.slice(0, 40))}, which is no number`);
  return { name, labels, value };
}

/** A value or an edge: Go's `ParseFloat` without hexadecimal. `undefined`: no number at all. */
export function number(text: string): number | undefined {
  if (NUMBER.test(text)) return Number(text);
  const word = text.toLowerCase();
  if (/^\+?inf(inity)?$/.test(word)) return Number.POSITIVE_INFINITY;
  if (/^-inf(inity)?$/.test(word)) return Number.NEGATIVE_INFINITY;
  return word === "nan" ? Number.NaN : undefined;
}

function plain(text: string): string {
  return text.replace(/\\(.)/g, (all, c: string) => (c === "n" ? "\n" : c === "\\" || c === '"' ? c : all));
}
