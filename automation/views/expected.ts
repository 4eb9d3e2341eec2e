import { fold, type RunState, stepOf } from "../core/events";
import type { Plan, Step } from "../core/model";
import { readJournal } from "../engine/journal";
import { listRuns } from "../engine/runs";
import { label } from "../view";

/** Milliseconds that an act of a target took in former runs, by `act()`. */
export type Expected = ReadonlyMap<string, number>;

/** Former runs that are looked at: enough for a median, few enough to be read at once. */
const RUNS = 5;

const names = new WeakMap<Step, string>();

/** The same act of the same target, in this run and in former ones. */
export function act(step: Step): string {
  const known = names.get(step);
  if (known !== undefined) return known;
  const name = `${step.target} ${label(step)}`;
  names.set(step, name);
  return name;
}

/** The median of each act in the last runs that came through, newest first; what can't be read counts for nothing. */
export async function expected(root: string, environment: string, but?: string): Promise<Expected> {
  const took = new Map<string, number[]>();
  let looked = 0;
  for (const { run, directory } of await listRuns(root, environment).catch(() => [])) {
    if (looked >= RUNS) break;
    if (run === but) continue;
    const state = await readJournal(directory).then(
      ({ events }) => fold(events),
      () => undefined,
    );
    if (state?.outcome !== "promoted") continue;
    looked++;
    for (const [key, milliseconds] of durations(state))
      took.set(key, [...(took.get(key) ?? []), milliseconds]);
  }
  return new Map([...took].map(([key, all]) => [key, median(all)]));
}

function* durations(state: RunState): Iterable<[string, number]> {
  for (const target of Object.values(state.targets))
    for (const [id, s] of Object.entries(target.steps))
      if (s.status === "done" && s.endedAt !== undefined)
        yield [act(stepOf(state.plan, id)), s.endedAt - s.startedAt];
}

function median(all: readonly number[]): number {
  const sorted = [...all].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2;
}

/**
 * Milliseconds that a run still takes: the longest way through what is left of its plan. Undefined where an act
 * that is left has no past.
 */
export function remaining(plan: Plan, state: RunState, known: Expected, now: number): number | undefined {
  const ends = new Map<string, number>();
  let last = 0;
  for (const step of plan.steps) {
    const s = state.targets[step.target]?.steps[step.id];
    if (s?.status === "done" || s?.status === "failed") continue;
    const takes = step.act === "join" ? 0 : known.get(act(step));
    if (takes === undefined) return undefined;
    const begins = step.needs.reduce((at, need) => Math.max(at, ends.get(need) ?? 0), 0);
    const end = begins + (s ? Math.max(0, takes - (now - s.startedAt)) : takes);
    ends.set(step.id, end);
    last = Math.max(last, end);
  }
  return last;
}
