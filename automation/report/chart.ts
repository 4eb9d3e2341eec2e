import { odds } from "../analysis/verdict";
import { BOTTOM } from "../views/plot";
import type { Report } from "./schema";

type Series = Report["samples"][number];
type Point = Series["points"][number];
type Course = NonNullable<Report["evidence"]>[number];

const WIDTH = 600;
const HEIGHT = 120;
const LEFT = 64;
const TOP = 14;
const FOOT = 18;

/** One chart of a target: a figure of both slots over time. Numbers and our own words only, so nothing is to be escaped. */
export function chart(of: Series, what: "errors" | "p99"): string {
  const first = Date.parse(of.points[0]?.at ?? "");
  const end = Date.parse(of.points.at(-1)?.at ?? "");
  const span = Math.max(end - first, 1);
  const read = what === "errors" ? share : latency;
  const highest = Math.max(
    ...of.points.flatMap((p) => [read(p.canary) ?? 0, read(p.baseline) ?? 0]),
    what === "errors" ? 0.01 : 0.001,
  );
  const x = (at: string) => n(LEFT + ((Date.parse(at) - first) / span) * (WIDTH - LEFT - 8));
  const y = (value: number) => n(TOP + (1 - value / highest) * (HEIGHT - TOP - FOOT));
  const line = (slot: "canary" | "baseline") =>
    runs(of.points, (p) => read(p[slot])).map((run) =>
      run.length === 1
        ? `<circle class="${slot}" cx="${x(run[0]!.at)}" cy="${y(run[0]!.value)}" r="2"/>`
        : `<polyline class="${slot}" points="${run.map((p) => `${x(p.at)},${y(p.value)}`).join(" ")}"/>`,
    );
  const marks = of.weights
    .filter(({ at }) => Date.parse(at) <= end)
    .map(({ at, percent }) => {
      const here = Math.max(LEFT, x(at));
      return `<line class="mark" x1="${here}" x2="${here}" y1="${TOP}" y2="${HEIGHT - FOOT}"/><text x="${here + 3}" y="10">${percent} %</text>`;
    });
  const top = what === "errors" ? `${figure(highest * 100)} %` : `${figure(highest * 1000)} ms`;
  const title = what === "errors" ? "Share of requests that failed" : "P99 latency";
  return [
    `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img"><title>${title}, new slot and former slot, over ${Math.round(span / 1000)} s</title>`,
    `<line class="axis" x1="${LEFT}" x2="${WIDTH}" y1="${HEIGHT - FOOT}" y2="${HEIGHT - FOOT}"/>`,
    `<text class="end" x="${LEFT - 6}" y="${TOP + 6}">${top}</text><text class="end" x="${LEFT - 6}" y="${HEIGHT - FOOT}">0</text>`,
    `<text x="${LEFT}" y="${HEIGHT - 4}">0 s</text><text class="end" x="${WIDTH - 4}" y="${HEIGHT - 4}">${Math.round(span / 1000)} s</text>`,
    ...marks,
    ...line("baseline"),
    ...line("canary"),
    "</svg>",
  ].join("");
}

/** The evidence on a release over time, in odds, and from where on it is enough. */
export function course({ points, enough }: Course): string {
  const span = Math.max(points.at(-1)?.seconds ?? 0, 1);
  const top = 2 * Math.max(enough.against, enough.for);
  const x = (seconds: number) => n(LEFT + (seconds / span) * (WIDTH - LEFT - 8));
  const y = (lnE: number) => {
    const share = (Math.min(top, Math.max(BOTTOM, lnE)) - BOTTOM) / (top - BOTTOM);
    return n(TOP + (1 - share) * (HEIGHT - TOP - FOOT));
  };
  const line = (side: "against" | "for") =>
    points.length === 1
      ? points.map((p) => `<circle class="${side}" cx="${x(p.seconds)}" cy="${y(p[side])}" r="2"/>`)
      : [
          `<polyline class="${side}" points="${points.map((p) => `${x(p.seconds)},${y(p[side])}`).join(" ")}"/>`,
        ];
  const rises = points.filter((p, i) => p.weight !== points[i - 1]?.weight);
  const level = (lnE: number, name: string, words: string) =>
    `<line class="${name}" x1="${LEFT}" x2="${WIDTH}" y1="${y(lnE)}" y2="${y(lnE)}"/><text class="end" x="${LEFT - 6}" y="${y(lnE) + 3}">${words}</text>`;
  return [
    `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img"><title>Evidence against the release and for it, over ${Math.round(span)} s; enough is ${odds(enough.against)} against it, and ${odds(enough.for)} for it</title>`,
    `<line class="axis" x1="${LEFT}" x2="${WIDTH}" y1="${HEIGHT - FOOT}" y2="${HEIGHT - FOOT}"/>`,
    ...rises.map(
      (p) =>
        `<line class="mark" x1="${x(p.seconds)}" x2="${x(p.seconds)}" y1="${TOP}" y2="${HEIGHT - FOOT}"/><text x="${x(p.seconds) + 3}" y="10">${figure(p.weight)} %</text>`,
    ),
    level(0, "axis", "even"),
    level(enough.against, "enough", odds(enough.against)),
    ...(enough.for === enough.against ? [] : [level(enough.for, "enough", odds(enough.for))]),
    `<text x="${LEFT}" y="${HEIGHT - 4}">0 s</text><text class="end" x="${WIDTH - 4}" y="${HEIGHT - 4}">${Math.round(span)} s</text>`,
    ...line("for"),
    ...line("against"),
    "</svg>",
  ].join("");
}

/** What has no data is a gap: never zero. */
function runs(
  points: readonly Point[],
  read: (p: Point) => number | undefined,
): { at: string; value: number }[][] {
  const found: { at: string; value: number }[][] = [];
  let open: { at: string; value: number }[] | undefined;
  for (const p of points) {
    const value = read(p);
    if (value === undefined) open = undefined;
    else if (open) open.push({ at: p.at, value });
    else {
      open = [{ at: p.at, value }];
      found.push(open);
    }
  }
  return found;
}

function share(counts: Point["canary"] | undefined): number | undefined {
  return counts && counts.requests > 0 ? counts.errors / counts.requests : undefined;
}

function latency(counts: Point["canary"] | undefined): number | undefined {
  return counts?.p99;
}

/** A bar of the timeline: where in the run a step lies. */
export function bar(
  step: { began?: string | undefined; milliseconds?: number | undefined; status: string },
  run: { began: string; milliseconds: number; last: string },
): string {
  if (!step.began) return "";
  const whole = Math.max(run.milliseconds, 1);
  const from = Date.parse(step.began) - Date.parse(run.began);
  // What is under way lasts until the last thing that is known.
  const took = step.milliseconds ?? Date.parse(run.last) - Date.parse(step.began);
  const width = Math.max((took / whole) * 200, 1);
  const left = Math.min((from / whole) * 200, 200 - width);
  return `<svg class="bar" viewBox="0 0 200 10" preserveAspectRatio="none" aria-hidden="true"><rect class="track" width="200" height="10"/><rect class="${step.status}" x="${n(left)}" width="${n(width)}" height="10"/></svg>`;
}

function n(value: number): number {
  return Math.round(value * 10) / 10;
}

function figure(value: number): string {
  return value >= 100 ? `${Math.round(value)}` : `${Number(value.toPrecision(2))}`;
}
