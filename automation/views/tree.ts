import pc from "picocolors";
import { SLOTS, type Split } from "../../components/handle";
import type { RunState, StepState, TargetState } from "../core/events";
import type { Instant, Plan, PlanTarget, Step, StepId, TargetKey } from "../core/model";
import { splitOf } from "../core/wanted";
import { label } from "../view";
import { act, type Expected } from "./expected";
import { cut, flow } from "./text";

/** What the steps are drawn from. */
export interface Growing {
  now: Instant;
  state: RunState;
  /** How acts are coming on: what the judges say so far. */
  progress: ReadonlyMap<StepId, string>;
  expected: Expected;
}

/** What may be shown, and how much it matters: 0 most. */
interface Row {
  rank: number;
  /** 1 where it shows a step. */
  steps: number;
  lines(columns: number): string[];
}

const FAILED = 0;
const ACTIVE = 1;
const NEXT = 2;
const QUIET = 3;
/** Steps of a target where nothing happens just now: only if there is room for all. */
const FAR = 1000;
/** Cells of a split bar at most: finer is not seen. */
const BAR = 20;

/** The targets and their steps in at most so many lines: what failed and what is under way comes first. */
export function tree(growing: Growing, columns: number, lines: number): string[] {
  if (lines <= 0) return [];
  const { plan } = growing.state;
  const steps = stepsOf(plan);
  // Not even all targets would fit: then the steps of those where nothing happens are only counted.
  const many = plan.targets.length >= lines;
  const rows = plan.targets.flatMap((t) => rowsOf(growing, t, steps.get(t.key) ?? [], many));
  const drawn = new Map<Row, string[]>();
  const order = rows.map((_, i) => i).sort((a, b) => rows[a]!.rank - rows[b]!.rank || a - b);
  let left = lines;
  let hidden = [...steps.values()].reduce((sum, chain) => sum + chain.length, 0);
  const whole = !many;
  for (const [n, i] of order.entries()) {
    const row = rows[i]!;
    // The last line is kept for what is left out, unless nothing is.
    const room = n === order.length - 1 && whole ? left : left - 1;
    if (room <= 0) {
      break;
    }
    const made = row.lines(columns).slice(0, room);
    drawn.set(row, made);
    hidden -= row.steps;
    left -= made.length;
  }
  const shown = rows.flatMap((row) => drawn.get(row) ?? []);
  return hidden > 0 ? [...shown, cut(pc.dim(`  … ${hidden} more`), columns)] : shown;
}

const chains = new WeakMap<Plan, ReadonlyMap<TargetKey, readonly Step[]>>();

/** The steps of each target that do something, in order. */
function stepsOf(plan: Plan): ReadonlyMap<TargetKey, readonly Step[]> {
  const known = chains.get(plan);
  if (known) return known;
  const made = new Map<TargetKey, Step[]>(plan.targets.map((t) => [t.key, []]));
  for (const step of plan.steps) if (step.act !== "join") made.get(step.target)?.push(step);
  chains.set(plan, made);
  return made;
}

function rowsOf(growing: Growing, target: PlanTarget, steps: readonly Step[], many: boolean): Row[] {
  const there = growing.state.targets[target.key];
  const begun = Object.values(there?.steps ?? {});
  const quiet = begun.every((s) => s.status === "done");
  const header = (rank: number): Row => ({
    rank,
    steps: 0,
    lines: (columns) => {
      const done = steps.filter((step) => there?.steps[step.id]?.status === "done").length;
      return [head(target, there, { done, of: steps.length }, columns)];
    },
  });
  if (quiet && many) return [header(QUIET)];
  const states = steps.map((step) => there?.steps[step.id]);
  const active = states.findIndex((s) => s && s.status !== "done");
  const rows = steps.map((step, i): Row => {
    const s = states[i];
    const distance = Math.abs(i - active);
    const rank =
      s?.status === "failed"
        ? FAILED
        : s && s.status !== "done"
          ? ACTIVE
          : quiet
            ? FAR + i
            : i === active + 1
              ? NEXT
              : QUIET + distance;
    return { rank, steps: 1, lines: (columns) => stepLines(growing, step, s, columns) };
  });
  return [header(quiet ? QUIET : Math.min(...rows.map((r) => r.rank))), ...rows];
}

function head(
  target: PlanTarget,
  there: TargetState | undefined,
  { done, of }: { done: number; of: number },
  columns: number,
): string {
  const name = pc.bold(target.key);
  const undone = there?.restored ? "restored" : there?.diverted ? "traffic is off the new slot" : undefined;
  const count = pc.dim(`${done}/${of}`);
  const parts = [name, count, where(target, there, columns), undone && pc.yellow(undone)];
  return cut(parts.filter(Boolean).join("  "), columns);
}

function where(target: PlanTarget, there: TargetState | undefined, columns: number): string {
  if (target.mode === "in-place") return `${target.to} in place`;
  const split = splitNow(target, there);
  const cells = Math.min(BAR, Math.floor(columns / 4));
  const sides = SLOTS.map((slot) => `${slot} ${split[slot]} %${slot === target.to ? " (new)" : ""}`);
  return [...(columns >= 40 ? [bar(split, cells)] : []), sides.join(" ")].join(" ");
}

/** What the run knows of the split: what it last declared, and whether the router took it back since. */
export function splitNow(target: PlanTarget, there: TargetState | undefined): Split {
  if (there?.diverted && !there.restored) return splitOf(target, 0);
  return there?.handle?.split ?? target.base?.split ?? { blue: 0, green: 0 };
}

// Two glyphs, so that it is read without colours.
function bar(split: Split, cells: number): string {
  const sum = split.blue + split.green;
  if (sum === 0) return pc.dim("·".repeat(cells));
  // A slot with any traffic is seen, and so is one that has not all of it.
  const exact = (split.blue / sum) * cells;
  const blue =
    split.blue === 0 ? 0 : split.green === 0 ? cells : Math.min(cells - 1, Math.max(1, Math.round(exact)));
  return pc.blue("█".repeat(blue)) + pc.green("░".repeat(cells - blue));
}

function stepLines(growing: Growing, step: Step, s: StepState | undefined, columns: number): string[] {
  const known = growing.expected.get(act(step));
  const narrow = columns < 60;
  const name = narrow ? label(step) : label(step).padEnd(18);
  const about = known === undefined ? "" : `about ${span(known)}`;
  if (!s) return [cut(`  ${pc.dim(`· ${name} ${about}`.trimEnd())}`, columns)];
  const took = span((s.endedAt ?? growing.now) - s.startedAt);
  switch (s.status) {
    case "done":
      return [
        cut(
          `  ${pc.green("✓")} ${name} ${narrow ? took : took.padStart(8)}${note(s.verdict?.reason ?? s.note)}`,
          columns,
        ),
      ];
    case "failed":
      return [
        cut(`  ${pc.red("✗")} ${pc.red(name)} ${took}`, columns),
        ...flow(`${s.failure?.code ?? "failed"}: ${s.failure?.message ?? ""}`, columns, {
          indent: 4,
          lines: 4,
        }),
        ...(s.failure?.hint ? flow(s.failure.hint, columns, { indent: 4 }) : []),
      ];
    case "waiting":
      return [cut(`  ${pc.yellow("…")} ${name} ${took}${note(s.note)}`, columns)];
    case "started": {
      const coming = growing.progress.get(step.id);
      return [
        cut(`  ${pc.cyan("●")} ${pc.bold(name)} ${took}${about && ` of ${about}`}`, columns),
        ...(coming ? flow(coming, columns, { indent: 4, lines: 4 }) : []),
      ];
    }
    default:
      throw s.status satisfies never;
  }
}

function note(text: string | undefined): string {
  return text ? `  ${pc.dim(text.replace(/\s*\n[\s\S]*$/, " …"))}` : "";
}

/** A time that is still growing: `12 s`, `2 min 5 s`, `1 h 3 min`. */
export function span(milliseconds: number): string {
  const s = Math.max(0, Math.floor(milliseconds / 1000));
  if (s < 60) return `${s} s`;
  return s < 3600
    ? `${Math.floor(s / 60)} min ${s % 60} s`
    : `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}
