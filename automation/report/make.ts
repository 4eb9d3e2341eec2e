import { EXIT } from "../core/errors";
import { fold, type JournalEvent, keeping, type RunState, type StepState, stuckBy } from "../core/events";
import type { Failure, Outcome, Pin, PlanTarget, Step, TargetKey } from "../core/model";
import { planId } from "../core/plan";
import { label } from "../view";
import type { Judging } from "./evidence";
import { interruptions } from "./interruptions";
import { short } from "./plain";
import { runbook } from "./runbook";
import { series } from "./samples";
import type { Report } from "./schema";
import { courseOf, type Saying, sayingOf, verdictOf } from "./verdict";

/** The last lines of failing slots, by target: they lie beside the journal, not in it. */
export type Kept = Readonly<Record<TargetKey, readonly string[]>>;

/** Lines of a failing slot that a report shows, and characters of each. */
const LINES = 20;
const WIDTH = 500;

/** What each end of a run is to a CI job. */
export const EXIT_OF: Record<Outcome | "paused", number> = {
  promoted: EXIT.promoted,
  "rolled-back": EXIT.rolledBack,
  refused: EXIT.refused,
  stuck: EXIT.stuck,
  resolved: EXIT.promoted,
  paused: EXIT.paused,
};

/** What the driver writes before the reason for which it stopped: the run is open, and waits for a hand. */

/**
 * Renders a journal as data: the same events, lines and judges give the same report. `judging`: the pipeline's, by which the
 * evidence is told over time. `undefined` before the first event.
 */
export function makeReport(
  events: readonly JournalEvent[],
  kept: Kept = {},
  judging?: Judging,
): Report | undefined {
  const state = fold(events);
  if (!state) return undefined;
  const { plan } = state;
  const outcome = outcomeOf(state);
  const why = reasonOf(state);
  const saying = sayingOf(plan, events, judging);
  const told = {
    version: 1 as const,
    run: state.run,
    environment: plan.environment,
    request: plan.request,
    actor: state.actor,
    plan: planId(plan),
    outcome,
    ...(outcome !== "open" && { exit: EXIT_OF[outcome] }),
    headline: headline(state, outcome, why),
    ...(why !== undefined && { reason: short(why) }),
    began: iso(state.startedAt),
    last: iso(state.at),
    milliseconds: state.at - state.startedAt,
    release: {
      id: plan.release,
      ...(plan.source !== undefined && { source: plan.source }),
      ...(plan.unproven !== undefined && { unproven: plan.unproven }),
      pins: Object.entries(plan.pins).map(([service, pin]) => ({ service, ...pinOf(pin) })),
    },
    targets: plan.targets.map((place) => targetOf(place, state)),
    steps: plan.steps.filter((s) => s.act !== "join").map((s) => stepOf(s, state, saying)),
    ...failedOf(state),
    answers: answersOf(events, planId(plan)),
    interruptions: interruptions(plan, events),
    ...rollbackOf(state, events, kept),
    samples: series(plan, events),
    ...courseOf(plan, events, judging),
  };
  return { ...told, next: runbook(told) };
}

function outcomeOf(state: RunState): Report["outcome"] {
  if (state.phase === "done") return state.outcome ?? "stuck";
  if (state.paused === undefined) return "open";
  return stuckBy(state) === undefined ? "paused" : "stuck";
}

function reasonOf(state: RunState): string | undefined {
  if (state.phase === "done") return state.rollback?.reason ?? state.reason;
  return stuckBy(state) ?? state.paused ?? state.rollback?.reason;
}

function headline(state: RunState, outcome: Report["outcome"], reason = ""): string {
  const { environment, release, request } = state.plan;
  const why = reason ? ` ${short(reason, 600)}${/[.!?]$/.test(reason) ? "" : "."}` : "";
  const what = `release ${release.slice(0, 12)}`;
  const kept = keeping(state).map((t) => t.service);
  switch (outcome) {
    case "promoted":
      return `${environment}: promoted. It runs ${what}; every step is done.`;
    case "rolled-back":
      // A way back that failed was undone as well: what was to be left is still live.
      if (request.startsWith("rollback"))
        return `${environment}: could NOT go back, it runs what it ran before.${why}`;
      if (kept.length > 0)
        return `${environment}: a wave was rolled back, and ${kept.join(", ")} of those before it keep ${what}.${why}`;
      return `${environment}: rolled back, everything is as before.${why}`;
    case "refused":
      return `${environment}: refused, nothing was changed.${why}`;
    case "stuck":
      return `${environment}: STUCK, a hand is needed.${why}`;
    case "resolved":
      return `${environment}: put right by hand.${why}`;
    case "paused":
      return `${environment}: paused, ${what} is not through.${why}`;
    case "open":
      return state.phase === "down"
        ? `${environment}: rolling back.${why}`
        : `${environment}: ${what} is on its way, and not through.`;
    default:
      throw outcome satisfies never;
  }
}

function pinOf(pin: Pin): Pin {
  const { artifact, version, commit, repository, at } = pin;
  return JSON.parse(JSON.stringify({ artifact, version, commit, repository, at }));
}

function targetOf(place: PlanTarget, state: RunState): Report["targets"][number] {
  const { key, service, platform, mode, wave, from, to, base, pin } = place;
  const was = from && base?.slots[from];
  const split = state.targets[key]?.handle?.split;
  return {
    key,
    service,
    platform,
    mode,
    ...(wave !== undefined && { wave }),
    ...(from && was && { from: { slot: from, ...pinOf(was.pin) } }),
    to: { slot: to, ...pinOf(pin) },
    result: resultOf(key, state),
    ...(split && { split: { blue: split.blue, green: split.green } }),
  };
}

function resultOf(key: TargetKey, state: RunState): Report["targets"][number]["result"] {
  const target = state.targets[key];
  if (target?.settled) return "released";
  if (target?.restored) return "restored";
  if (!target?.touched) return "untouched";
  return target.diverted ? "diverted" : "changing";
}

function stepOf(step: Step, state: RunState, saying: Saying): Report["steps"][number] {
  const s: StepState | undefined = state.targets[step.target]?.steps[step.id];
  return {
    id: step.id,
    target: step.target,
    act: step.act,
    label: label(step),
    status: s?.status ?? "not begun",
    attempts: s?.attempts ?? 0,
    ...(s && { began: iso(s.startedAt) }),
    ...(s?.endedAt !== undefined && { ended: iso(s.endedAt), milliseconds: s.endedAt - s.startedAt }),
    ...(s?.note !== undefined && { note: short(s.note) }),
    ...(s?.failure && { failure: failureOf(s.failure) }),
    ...(s?.verdict && { verdict: { ...verdictOf(s.verdict), ...saying(step.id) } }),
  };
}

function failureOf({ code, message, hint }: Failure) {
  return { code, message: short(message), ...(hint && { hint: short(hint) }) };
}

function failedOf(state: RunState): Pick<Report, "failure"> {
  // What failed first is forgotten by a run that was left; its rollback still says it.
  const step = state.failed?.step ?? state.rollback?.step;
  const failure = state.failed?.failure ?? state.rollback?.failure;
  if (!step || !failure) return {};
  const target = state.plan.steps.find((s) => s.id === step)?.target ?? "";
  return { failure: { step, target, ...failureOf(failure) } };
}

function answersOf(events: readonly JournalEvent[], plan: string): Report["answers"] {
  return events.flatMap((event) =>
    event.type === "answer.given"
      ? [
          {
            at: iso(event.at),
            answer: event.answer,
            who: event.who,
            verified: false as const,
            counts: event.answer === "abort" || event.plan === plan,
            ...(event.reason !== undefined && { reason: short(event.reason) }),
          },
        ]
      : [],
  );
}

function rollbackOf(state: RunState, events: readonly JournalEvent[], kept: Kept): Pick<Report, "rollback"> {
  const { rollback } = state;
  if (!rollback) return {};
  const targets = state.plan.targets
    .filter(({ key }) => state.targets[key]?.touched || kept[key])
    .map(({ key }) => wayDown(key, events, kept[key] ?? []));
  const { reason, step, at } = rollback;
  return { rollback: { at: iso(at), reason: short(reason), ...(step && { step }), targets } };
}

type Way = NonNullable<Report["rollback"]>["targets"][number];

function wayDown(key: TargetKey, events: readonly JournalEvent[], lines: readonly string[]): Way {
  const way: Way = { target: key, moved: false, failures: [], logs: [] };
  for (const event of events) {
    if (!("target" in event) || event.target !== key) continue;
    if (event.type === "traffic.diverted") {
      way.diverted = iso(event.at);
      way.moved = event.moved ?? true;
    } else if (event.type === "restore.failed")
      way.failures.push({ at: iso(event.at), attempt: event.attempt, ...failureOf(event.failure) });
    else if (event.type === "target.restored") way.restored = iso(event.at);
  }
  way.logs = lines.slice(-LINES).map((line) => short(line, WIDTH));
  return way;
}

function iso(at: number): string {
  return new Date(at).toISOString();
}
