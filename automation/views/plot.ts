import { odds } from "../analysis/verdict";
import { figure } from "../analysis/words";

/** What there is to draw on: so many columns, and whether more than ASCII can be shown. */
export interface Paper {
  columns: number;
  ascii: boolean;
}

/** Evidence at a time, as ln E; `weight`: percent that the release got. */
export interface Point {
  seconds: number;
  weight: number;
  against: number;
  for: number;
}

/** From where on the evidence is enough, as ln E. */
export interface Enough {
  against: number;
  for: number;
}

const ROWS = 8;
const WIDEST = 60;
/** Columns that the labels of the rows take, with the axis. */
const LABELS = 14;
/** Fewer columns show nothing. */
const NARROWEST = 16;
/** What is less than that is all the same: 1 to 20. */
export const BOTTOM = -3;

const DRAWN = { against: "●", for: "○", enough: "┄", axis: "┤", base: "└", line: "─" };
const TYPED: typeof DRAWN = { against: "#", for: "o", enough: "-", axis: "|", base: "+", line: "-" };

/** Whether the terminal's encoding has more than ASCII, by the locale that is set: LC_ALL before LC_CTYPE before LANG. */
export function isUnicode(env: Readonly<Record<string, string | undefined>>): boolean {
  return /utf-?8/i.test(env.LC_ALL || env.LC_CTYPE || env.LANG || "");
}

/**
 * Evidence over time, in odds: against the release and for it, and the line from which on it is enough. The lower end
 * is cut off, and so is what is far above that line.
 */
export function plot(points: readonly Point[], enough: Enough, paper: Paper): string[] {
  const columns = Math.min(WIDEST, paper.columns - LABELS);
  const end = points.at(-1);
  if (!end || columns < NARROWEST) return [];
  const ink = paper.ascii ? TYPED : DRAWN;
  const top = 2 * Math.max(enough.against, enough.for);
  const row = (lnE: number) => {
    const share = (Math.min(top, Math.max(BOTTOM, lnE)) - BOTTOM) / (top - BOTTOM);
    return ROWS - 1 - Math.round(share * (ROWS - 1));
  };
  const column = (seconds: number) =>
    Math.min(columns - 1, Math.floor((seconds / Math.max(end.seconds, 1e-9)) * (columns - 1)));
  const cells = Array.from({ length: ROWS }, () => new Array<string>(columns).fill(" "));
  for (const limit of [enough.against, enough.for]) cells[row(limit)]!.fill(ink.enough);
  for (const side of ["for", "against"] as const)
    for (const [x, value] of levels(points, side, column).entries())
      if (value !== undefined) cells[row(value)]![x] = ink[side];
  const labels = new Map([
    [row(0), "even"],
    [0, odds(top)],
    [row(enough.for), odds(enough.for)],
    [row(enough.against), odds(enough.against)],
  ]);
  return [
    ...cells.map((line, i) => `${(labels.get(i) ?? "").padStart(LABELS - 2)} ${ink.axis}${line.join("")}`),
    `${" ".repeat(LABELS - 1)}${ink.base}${ink.line.repeat(columns)}`,
    ...scale(points, column, columns),
    ` ${ink.against} against the release  ${ink.for} for it  ${ink.enough} enough`,
    // Every character takes one cell, and an ellipsis may be none that can be shown.
  ].map((line) => line.slice(0, paper.columns).trimEnd());
}

/** One value for each column: the highest against the release, the last one for it; what has none is as it was. */
function levels(
  points: readonly Point[],
  side: "against" | "for",
  column: (seconds: number) => number,
): (number | undefined)[] {
  const found: (number | undefined)[] = [];
  for (const point of points) {
    const x = column(point.seconds);
    const known = found[x];
    found[x] = side === "against" && known !== undefined ? Math.max(known, point[side]) : point[side];
  }
  let last: number | undefined;
  return Array.from(found, (value) => {
    last = value ?? last;
    return last;
  });
}

/** The weights below where they began, and the time. */
function scale(points: readonly Point[], column: (seconds: number) => number, columns: number): string[] {
  let weights = "";
  let before: number | undefined;
  for (const { weight, seconds } of points) {
    if (weight === before) continue;
    before = weight;
    const name = `${figure(weight)} %`;
    // What does not fit below where it began comes next to it; what fits nowhere is left out.
    const x = Math.max(
      Math.min(column(seconds), columns - name.length),
      weights === "" ? 0 : weights.length + 1,
    );
    if (x + name.length <= columns) weights = `${weights.padEnd(x)}${name}`;
  }
  const end = `${figure(Math.round(points.at(-1)?.seconds ?? 0))} s`;
  const margin = " ".repeat(LABELS);
  return [`${margin}${weights}`, `${margin}0 s${end.padStart(Math.max(0, columns - 3))}`];
}
