import { span } from "../analysis/advice";
import { errorRate } from "../analysis/errors";
import { latency } from "../analysis/latency";
import { type Limits, NAMES, type Name, named } from "../analysis/named";
import {
  DEFAULTS,
  type Decided,
  decided,
  decisions,
  type Recording,
  recordings,
  replay as replayed,
  type Settings,
} from "../analysis/replay";
import { type Duration, seconds, within } from "../analysis/units";
import { figure } from "../analysis/words";
import { WrongUse } from "../core/errors";
import { fold, type JournalEvent } from "../core/events";
import type { Outcome, Plan, TargetKey, VerdictKind } from "../core/model";
import type { Analysis, Judge } from "../core/ports";
import type { Desk } from "../engine/carry";
import { readJournal } from "../engine/journal";
import { flat } from "../report/plain";
import { columns } from "../views/columns";
import { portion } from "./portion";
import { UnknownRun, which } from "./which";

/** The options as they are typed. */
export interface Asked {
  judge?: Name | undefined;
  max?: string | undefined;
  worseThan?: number | undefined;
  p99?: string | undefined;
}

/** What a judge would have decided of a target, by what was recorded. */
export interface Replayed {
  run: string;
  environment: string;
  target: TargetKey;
  /** How the run itself ended. @default it has not */
  outcome?: Outcome | undefined;
  judge: Name;
  verdict: VerdictKind;
  reason: string;
  rule?: string | undefined;
  /** Since the release got its first traffic. */
  seconds: number;
  /** Percent that the release got then. */
  weight: number;
  /** The release's requests until then, and those that failed. */
  requests: number;
  failed: number;
  /** The recording ends, or goes on to another weight, before it had decided. */
  ends: boolean;
  /** The weight that it would not have left, though the recording did. */
  stayed?: number | undefined;
  /** The weight that it would have gone on to, of which nothing was recorded. */
  further?: number | undefined;
}

/** What the recorded readings would have been to other judges. Throws `unknown-run`, `journal-corrupt`, `bad-config`. */
export async function replay(
  word: string,
  asked: Asked,
  desk: Pick<Desk, "project" | "redact">,
): Promise<Replayed[]> {
  const { environment, run, directory } = await which(desk.project, word);
  const { events } = await readJournal(directory);
  const [first] = events;
  if (first?.type !== "run.planned") throw UnknownRun(word, `${run} was cut off before it began.`);
  const all = recordings(first.plan, events);
  if (all.length === 0) throw WrongUse(`run ${run} judged no traffic, so there is nothing to replay.`);
  const analysis = desk.project.pipeline.environments.find((e) => e.name === environment)?.analysis;
  const outcome = fold(events)?.outcome;
  const names = asked.judge === undefined ? NAMES : [asked.judge];
  const found = all.flatMap((recording) =>
    names.flatMap((judge): Replayed[] => {
      const made = told(judge, recording, limitsOf(asked, first.plan, events), analysis, asked);
      return made ? [{ run, environment, target: recording.target, outcome, judge, ...made }] : [];
    }),
  );
  return desk.redact.json(found);
}

function told(
  name: Name,
  recording: Recording,
  limits: Limits,
  analysis: Analysis | undefined,
  asked: Asked,
) {
  const own = Object.values({ ...asked, judge: undefined }).every((value) => value === undefined);
  const judges = name === "sluice" && own ? ours(recording, limits, analysis) : named(name, limits);
  const settings: Settings = analysis ?? DEFAULTS;
  // The peers know no horizon.
  const { maxDuration } = name === "sluice" ? settings : { maxDuration: Number.POSITIVE_INFINITY };
  const end = decided(recording, replayed(recording, judges, { ...settings, maxDuration }));
  return end && figures(end);
}

/** The pipeline's own, as the run was judged; or what a pipeline begins with. */
function ours(recording: Recording, limits: Limits, analysis: Analysis | undefined): readonly Judge[] {
  if (analysis) return analysis.judges;
  const timed = recording.records.some(({ tick }) => tick.edges.length > 0);
  return [errorRate({ max: limits.max, worseThan: 1.5 }) as Judge, ...(timed ? [latency() as Judge] : [])];
}

function figures({
  verdict: said,
  seconds: since,
  weight,
  requests,
  failed,
  ends,
  stayed,
  further,
}: Decided) {
  const { verdict, reason, rule } = said;
  return { verdict, reason, rule, seconds: since, weight, requests, failed, ends, stayed, further };
}

/** What was asked for; else the limit that the run itself was held to. */
function limitsOf({ max, worseThan, p99 }: Asked, plan: Plan, events: readonly JournalEvent[]): Limits {
  const kept = decisions(plan, events).flatMap(({ verdict }) =>
    verdict.findings.flatMap(({ judge, figures: f }) => (judge === "error-rate" ? (f.limit ?? []) : [])),
  );
  // Checked here, so that the option is named.
  const limit = max === undefined ? (kept[0] ?? 0.01) : portion("--max", max);
  if (p99 !== undefined) seconds("--p99", p99);
  return {
    max: limit,
    ...(worseThan !== undefined && { worseThan: within("--worse-than", worseThan, 1, 1000) }),
    ...(p99 !== undefined && { p99: p99 as Duration }),
  };
}

const WORDS: Record<VerdictKind, string> = {
  pass: "promoted",
  fail: "rolled back",
  inconclusive: "held",
  running: "undecided",
  error: "held",
};

/** What each judge would have decided, and when. */
export function replayLines(all: readonly Replayed[]): string[] {
  const targets = [...new Set(all.map((r) => r.target))];
  return targets.flatMap((target, i) => {
    const mine = all.filter((r) => r.target === target);
    const rows = mine.map((r) => [
      r.judge,
      outcome(r),
      span(r.seconds),
      `${figure(r.weight)} %`,
      figure(r.requests),
      figure(r.failed),
    ]);
    const table = columns([["judge", "would have", "after", "at", "requests", "failed"], ...rows], 2);
    const [{ run, outcome: ended } = { run: "", outcome: undefined }] = mine;
    return [
      ...(i > 0 ? [""] : []),
      `${target}, run ${run}, ${ended ?? "still open"}: what each would have decided by what was recorded`,
      ...table.lines.map((line) => `  ${line}`),
      ...mine.map((r) => `  ${r.judge}: ${flat(r.reason)}${hitch(r)}.`),
    ];
  });
}

function outcome({ verdict, further }: Replayed): string {
  return verdict === "pass" && further !== undefined ? `gone on to ${figure(further)} %` : WORDS[verdict];
}

/** What keeps its word from being all that is to be said. */
function hitch({ ends, stayed, further }: Replayed): string {
  if (further !== undefined) return "; the recording ends here";
  if (stayed !== undefined)
    return `; it would not have left ${figure(stayed)} % yet, where the recording goes on`;
  return ends ? "; the recording ends here" : "";
}
