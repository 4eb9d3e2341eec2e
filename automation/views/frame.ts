import pc from "picocolors";
import { type RunState, stepOf } from "../core/events";
import type { Instant, StepId, TargetKey } from "../core/model";
import type { Question } from "../engine/questions";
import type { Expected } from "./expected";
import { cut, flow, folded } from "./text";
import { span, tree } from "./tree";

/** All that the live view knows: a frame is made of nothing else. */
export interface Model {
  now: Instant;
  /** When the command began. */
  since: Instant;
  /** The run under way; none while the command is still looking. */
  state?: RunState | undefined;
  /** How acts are coming on, by step. */
  progress: ReadonlyMap<StepId, string>;
  expected: Expected;
  /** When the run will have ended, as former ones did. */
  ends?: Instant | undefined;
  /** What the driver said, newest last. */
  said: readonly string[];
  /** The last lines of slots that failed. */
  kept: ReadonlyMap<TargetKey, readonly string[]>;
  /** What people are asked. */
  questions: readonly Question[];
  /** What is shown in place of a run: the status. */
  board?: readonly string[] | undefined;
  /** The question at the bottom. */
  asking?: string | undefined;
}

/** Lines of the driver's that are shown. */
const TAIL = 3;
/** Lines of a failing slot that are shown, of all there are. */
const LOGS = 6;

/** Draws the model into at most so many columns and rows: no line is wider, and there are never more. Pure. */
export function frame(model: Model, columns: number, rows: number): string[] {
  if (columns < 1 || rows < 1) return [];
  const asking = model.asking === undefined ? [] : flow(pc.bold(model.asking), columns, { lines: 2 });
  const { state } = model;
  if (model.board) return [...poster(model.board, columns, rows - asking.length), ...asking].slice(-rows);
  if (!state)
    return looking(model, columns, rows - asking.length)
      .concat(asking)
      .slice(-rows);
  const head = heading(model, state, columns);
  const waits = waiting(model, state, columns);
  const tail = lastLines(model, columns);
  // From what matters most to what matters least; the steps get what is left, and a few lines in any case.
  let left = rows;
  const take = (lines: readonly string[], most: number) => {
    const taken = lines.slice(0, Math.max(0, Math.min(most, left)));
    left -= taken.length;
    return taken;
  };
  const bottom = take(asking, 2);
  const top = take(head, left > 6 ? head.length : 1);
  const asked = take(waits, Math.max(0, Math.min(6, left - 2)));
  const ends = take(tail, Math.max(0, Math.min(tail.length, Math.floor(left / 3))));
  return [...top, ...tree({ ...model, state }, columns, left), ...asked, ...ends, ...bottom];
}

function poster(board: readonly string[], columns: number, rows: number): string[] {
  const all = board.flatMap((text) => folded(text, columns).split("\n")).map((text) => cut(text, columns));
  if (all.length <= rows) return all;
  return rows < 1 ? [] : [...all.slice(0, rows - 1), cut(pc.dim(`… ${all.length - rows + 1} more`), columns)];
}

/** Before there is a run. */
function looking(model: Model, columns: number, rows: number): string[] {
  const since = cut(pc.dim(`… ${span(model.now - model.since)}`), columns);
  const said = model.said.slice(-TAIL).map((text) => cut(pc.dim(text), columns));
  return [...said, since].slice(-Math.max(0, rows)).slice(0, Math.max(0, rows));
}

function heading(model: Model, state: RunState, columns: number): string[] {
  const { plan } = state;
  const { environment, source } = plan;
  const [only, ...others] = Object.values(plan.pins);
  const version = others.length === 0 ? (only?.version ?? only?.commit?.slice(0, 12)) : undefined;
  const from = source ? ` from ${source}` : "";
  const what = `${pc.bold(environment)}  release ${plan.release.slice(0, 12)}${version ? ` (${version})` : ""}${from}`;
  const steps = plan.steps.length;
  const left = state.phase === "up" && model.ends !== undefined ? model.ends - model.now : undefined;
  const time = `${span(model.now - state.startedAt)}${left === undefined || left < 0 ? "" : `, about ${span(left)} left`}`;
  const lines = [
    cut(what, columns),
    cut(pc.dim(`${time}, ${steps - state.left} of ${steps} steps, run ${state.run}`), columns),
  ];
  if (state.rollback)
    lines.push(...flow(pc.red(`rolling back: ${state.rollback.reason}`), columns, { lines: 3 }));
  if (state.abort) lines.push(cut(pc.yellow(`to be aborted, says ${state.abort.who}`), columns));
  if (state.paused) lines.push(...flow(pc.yellow(`paused: ${state.paused}`), columns, { lines: 2 }));
  return lines;
}

/** What the run waits for, and who can answer how. */
function waiting(model: Model, state: RunState, columns: number): string[] {
  const people = new Set(model.questions.map((q) => q.step));
  const asked = model.questions.flatMap((q) => flow(pc.yellow(`? ${q.reason}`), columns, { lines: 2 }));
  const { environment } = state.plan;
  if (model.questions.length > 0) {
    const who = model.questions.every((q) => q.requester) ? "" : ` (not by ${state.actor})`;
    const how = `npm run approve -- ${environment}${who}, or npm run reject -- ${environment}`;
    asked.push(...flow(how, columns, { indent: 2, lines: 4 }));
  }
  const others = [...state.ready].flatMap((id) => {
    const s = state.targets[stepOf(state.plan, id).target]?.steps[id];
    if (s?.status !== "waiting" || people.has(id)) return [];
    const again = s.until === undefined ? "" : `, asked again in ${span(s.until - model.now)}`;
    return [cut(pc.yellow(`… ${s.note ?? id}${again}`), columns)];
  });
  return [...asked, ...others];
}

function lastLines(model: Model, columns: number): string[] {
  const logs = [...model.kept].flatMap(([target, lines]) => [
    cut(pc.dim(`last lines of the new slot of ${target}:`), columns),
    ...lines.slice(-LOGS).map((text) => cut(`  ${text}`, columns)),
  ]);
  return [...logs, ...model.said.slice(-TAIL).map((text) => cut(pc.dim(text), columns))];
}
