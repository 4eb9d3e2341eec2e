import { type JournalEvent, stepOf } from "../core/events";
import type { Finding, Past, Plan, Step, StepId, TargetKey, Tick, Verdict } from "../core/model";
import type { Analysis, Judge } from "../core/ports";
import { type Dossier, dossier, record } from "./evidence";
import { sumOf } from "./process";
import { combine, inconclusive, termsOf, whole } from "./verdict";

/** How sure an analysis must be, and how long it watches; whoever its judges are. */
export type Settings = Pick<
  Analysis,
  "stepBake" | "minBake" | "maxDuration" | "probe" | "risk" | "promoteRisk"
>;

/** What `analysis()` fills in. */
export const DEFAULTS: Settings = {
  stepBake: 60,
  minBake: 60,
  maxDuration: 900,
  probe: 10,
  risk: 0.05,
  promoteRisk: 0.05,
};

/** A step that watches a weight, as its plan has it. */
export interface Stay {
  step: Step & { act: "analyse" | "hold" };
  /** Percent that the release gets there, and next. */
  percent: number;
  next: number;
}

/** What was recorded of one target: all that judges were given. */
export interface Recording {
  target: TargetKey;
  past?: Past | undefined;
  stays: ReadonlyMap<StepId, Stay>;
  records: readonly { step: StepId; tick: Tick }[];
}

/** The recordings of a run, of targets that were watched. */
export function recordings(plan: Plan, events: readonly JournalEvent[]): Recording[] {
  const records = new Map<TargetKey, { step: StepId; tick: Tick }[]>();
  const pasts = new Map<TargetKey, Past | undefined>();
  for (const event of events) {
    // Only the first counts: a run asks once what was normal, and goes on with that.
    if (event.type === "past.known" && !pasts.has(event.target)) pasts.set(event.target, event.past);
    if (event.type !== "sample.taken") continue;
    const { step, tick, target } = event;
    const list = records.get(target) ?? [];
    list.push({ step, tick });
    records.set(target, list);
  }
  return plan.targets.flatMap(({ key }) => {
    const mine = records.get(key);
    return mine ? [{ target: key, past: pasts.get(key), stays: staysOf(plan, key), records: mine }] : [];
  });
}

function staysOf(plan: Plan, key: TargetKey): Map<StepId, Stay> {
  const steps = plan.steps.filter((s) => s.target === key);
  const stays = new Map<StepId, Stay>();
  let percent = 100;
  for (const [i, step] of steps.entries()) {
    if (step.act === "shift") percent = step.to;
    if (step.act !== "analyse" && step.act !== "hold") continue;
    const shift = steps.slice(i).find((s) => s.act === "shift");
    stays.set(step.id, { step, percent, next: shift?.act === "shift" ? shift.to : 100 });
  }
  return stays;
}

/** What judges say after a record. */
export interface Look {
  step: StepId;
  /** Percent that the release got. */
  weight: number;
  at: number;
  /** Since the release got its first traffic. */
  seconds: number;
  /** Watched: at this weight, and in all. */
  elapsed: number;
  total: number;
  /** The release's requests until then, and those of them that failed. */
  requests: number;
  failed: number;
  verdict: Verdict;
}

/** Lets judges look at what was recorded, record by record, as the driver lets them. Pure: the same says the same. */
export function* replay(
  recording: Recording,
  judges: readonly Judge[],
  settings: Settings = DEFAULTS,
): Generator<Look> {
  const { past, records, stays } = recording;
  const evidence = dossier(judges, past);
  const began = beginning(records);
  let [requests, failed] = [0, 0];
  for (const { step, tick } of records) {
    const stay = stays.get(step);
    // What the driver decided by was still open, and was closed by that.
    const open = record(undefined, tick).closed ? undefined : tick;
    evidence.enter(step);
    if (!open) evidence.take(tick, step);
    const said = stay && judge(stay, stays, evidence, settings, open);
    const { seconds, total } = evidence.seen(step, open);
    if (open) evidence.take(tick, step);
    requests += tick.canary.requests;
    failed += tick.canary.errors;
    if (!said) continue;
    const weight = tick.weight ?? stay.percent;
    const since = Math.max(0, tick.at - began) / 1000;
    yield {
      step,
      weight,
      at: tick.at,
      seconds: since,
      elapsed: seconds,
      total,
      requests,
      failed,
      verdict: said,
    };
  }
}

/** When the first record began in which the release had requests. */
function beginning(records: Recording["records"]): number {
  const first = records.find(({ tick }) => tick.canary.requests > 0) ?? records[0];
  return first ? first.tick.at - first.tick.seconds * 1000 : 0;
}

function judge(
  stay: Stay,
  stays: Recording["stays"],
  evidence: Dossier,
  settings: Settings,
  open: Tick | undefined,
): Verdict {
  const { step, next } = stay;
  const { stepBake, maxDuration, probe } = settings;
  const bake = step.act === "analyse" ? stepBake : (step.seconds ?? Number.POSITIVE_INFINITY);
  const proof = step.act === "analyse" && next > probe;
  const terms = termsOf(evidence, step.id, open, settings, { bake, proof });
  const said = combine(evidence.findings(open), terms);
  if (said.verdict === "pass" || said.verdict === "fail") return whole(said, evidence, terms, open);
  const judging = evidence.seconds((id) => stays.get(id)?.step.act === "analyse") + (open?.seconds ?? 0);
  const late = said.verdict === "running" && step.act === "analyse" && judging >= maxDuration;
  return late ? inconclusive(said, maxDuration) : said;
}

/** ln E against a release and for it, as all judges together have it; `undefined` where none knows. */
export function strength(findings: readonly Finding[]): { against: number; for: number } | undefined {
  const known = findings.flatMap(({ evidence }) => evidence ?? []);
  if (known.length === 0) return undefined;
  return {
    against: sumOf(known.map((e) => e.against)) - Math.log(known.length),
    for: Math.min(...known.map((e) => e.for)),
  };
}

/** What judges would have made of a rollout. */
export interface Decided extends Look {
  /** The weight that it would not have left: what was read after it is read at a weight it would not have come to. */
  stayed?: number | undefined;
  /** It was still watching when the recording ended, or went on to another weight. */
  ends: boolean;
  /** It would have gone on to that weight, of which nothing was recorded. */
  further?: number | undefined;
}

/** What became of a rollout: the first no; or a yes where every weight had one; or what was still open. */
export function decided({ stays }: Recording, looks: Iterable<Look>): Decided | undefined {
  const passed = new Map<StepId, Look>();
  const last = new Map<StepId, Look>();
  const held = new Map<StepId, Look>();
  for (const look of looks) {
    last.set(look.step, look);
    if (look.verdict.verdict === "inconclusive" && !held.has(look.step)) held.set(look.step, look);
    if (look.verdict.verdict === "pass" && !passed.has(look.step)) passed.set(look.step, look);
    if (look.verdict.verdict === "fail") {
      const stayed = [...last.values()].find((l) => l.step !== look.step && !passed.has(l.step));
      return { ...look, ends: false, ...(stayed && { stayed: stayed.weight }) };
    }
  }
  const seen = [...last.values()];
  const open = seen.find((look) => !passed.has(look.step));
  const end = open ? (held.get(open.step) ?? open) : passed.get(seen.at(-1)?.step ?? "");
  if (!end) return undefined;
  const elsewhere = open !== undefined && open !== seen.at(-1);
  const unseen = open ? undefined : [...stays.values()].find(({ step }) => !last.has(step.id));
  return {
    ...end,
    ends: end === open,
    ...(elsewhere && { stayed: open.weight }),
    ...(unseen && { further: unseen.percent }),
  };
}

/** What a run decided of a target, in the order it did. */
export interface Decision {
  step: Step;
  at: number;
  verdict: Verdict;
  /** Neither good nor bad: held until then. */
  until?: number | undefined;
}

/** The decisions of a run by analysis. */
export function decisions(plan: Plan, events: readonly JournalEvent[]): Decision[] {
  return events.flatMap((event): Decision[] => {
    if (event.type === "analysis.held") {
      const { at, verdict, until } = event;
      return [{ step: stepOf(plan, event.step), at, verdict, until }];
    }
    const verdict = event.type === "step.finished" && (event.verdict ?? event.failure?.verdict);
    return verdict ? [{ step: stepOf(plan, event.step), at: event.at, verdict }] : [];
  });
}
