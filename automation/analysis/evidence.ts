import type { Finding, Past, StepId, Tick } from "../core/model";
import type { Judge } from "../core/ports";
import { add } from "./counts";

/** What the judges know of one target: a fold of its records, so that a crash loses no evidence and replaying tells the same. */
export interface Dossier {
  /** A step begins: what the judges know of another weight is turned. A step that is gone on with does not begin. */
  enter(step: StepId): void;
  /** A record of a step: closed, never to be taken back. */
  take(tick: Tick, step: StepId): void;
  /** What they say, with a record that is still open and so seen with care. */
  findings(open?: Tick): Finding[];
  /** The same for keeping, with all that was seen: with confidence intervals; and the states, by judge, that they were made from. */
  told(open?: Tick): { findings: Finding[]; states: Record<string, unknown> };
  /** What was seen of the step, and of all of them: seconds, and the canary's requests. */
  seen(step: StepId, open?: Tick): { seconds: number; requests: number; total: number };
  /** Seconds of those steps together, without what is still open. */
  seconds(of: (step: StepId) => boolean): number;
}

/** Begins with what was known before. Carried over the weights: each judge says itself what a new one means. */
export function dossier(judges: readonly Judge[], past?: Past): Dossier {
  let states = judges.map((judge) => judge.start(past));
  let current: StepId | undefined;
  let here = { seconds: 0, requests: 0 };
  const lasted = new Map<StepId, number>();
  const updated = (tick: Tick) => judges.map((judge, i) => judge.update(states[i], tick));
  // Where errors come in clumps, a look in the middle of one sees half a clump too much: it must do without as many.
  const clump = (past?.phi ?? 1) > 1 ? Math.ceil(past!.phi) : 0;
  const careful = (open: Tick): Tick => {
    const { canary } = open;
    const edges = (past?.slow ?? 1) > 1 ? [] : open.edges;
    return { ...open, edges, canary: { ...canary, errors: Math.max(0, canary.errors - clump) } };
  };
  const sum = (of: (step: StepId) => boolean) => {
    let all = 0;
    for (const [step, seconds] of lasted) if (of(step)) all += seconds;
    return all;
  };
  const enter = (step: StepId) => {
    if (step === current) return;
    if (current !== undefined)
      states = judges.map((judge, i) => (judge.turn ? judge.turn(states[i]) : states[i]));
    current = step;
    here = { seconds: 0, requests: 0 };
  };
  return {
    enter,
    take(tick, step) {
      enter(step);
      states = updated(tick);
      if (tick.moving) return;
      here = { seconds: here.seconds + tick.seconds, requests: here.requests + tick.canary.requests };
      lasted.set(step, (lasted.get(step) ?? 0) + tick.seconds);
    },
    findings: (open) => (open ? updated(careful(open)) : states).map((state, i) => judges[i]!.finding(state)),
    told(open) {
      const now = open ? updated(open) : states;
      const findings = now.map((state, i) => withIntervals(judges[i]!, state));
      return { findings, states: Object.fromEntries(now.map((state, i) => [judges[i]!.id, rounded(state)])) };
    },
    seen(step, open) {
      const { seconds, requests } = step === current ? here : { seconds: 0, requests: 0 };
      const [s, r] = open ? [open.seconds, open.canary.requests] : [0, 0];
      return { seconds: seconds + s, requests: requests + r, total: sum(() => true) + s };
    },
    seconds: sum,
  };
}

/** To 8 digits: what is kept to be looked at, a kilobyte a judge. */
function rounded(state: unknown): unknown {
  const short = (_: string, value: unknown) =>
    typeof value === "number" ? Number(value.toPrecision(8)) : value;
  return JSON.parse(JSON.stringify(state, short));
}

function withIntervals(judge: Judge, state: unknown): Finding {
  const finding = judge.finding(state);
  const intervals = finding.evidence && judge.intervals?.(state);
  return intervals ? { ...finding, evidence: { ...finding.evidence!, intervals } } : finding;
}

/** Seconds that one record sums up: a source may be read more often than is worth keeping. */
export const RECORD_SECONDS = 5;
/** Clocks are never exact: what is meant to be one record must not become a half of two. */
const NEARLY = 0.98;

/** Sums ticks up until they are worth a record. One in which the split changed is a record of its own. */
export function record(open: Tick | undefined, made: Tick): { tick: Tick; closed: boolean } {
  if (made.moving) return { tick: made, closed: true };
  const tick = open ? add(open, made) : made;
  return { tick, closed: tick.seconds >= RECORD_SECONDS * NEARLY };
}
