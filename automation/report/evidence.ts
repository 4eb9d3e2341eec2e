import {
  type Decision,
  decisions,
  type Look,
  type Recording,
  recordings,
  replay,
  strength,
} from "../analysis/replay";
import type { JournalEvent } from "../core/events";
import type { Plan, TargetKey, Verdict } from "../core/model";
import type { Analysis } from "../core/ports";
import type { Enough, Point } from "../views/plot";
import type { Basis } from "./paragraph";

/** The evidence on a release over time, as its judges saw it grow. */
export interface Evidence {
  target: TargetKey;
  /** When the release got its first traffic. */
  began: number;
  enough: Enough;
  points: Point[];
  /** What was decided is what these judges decide: the pipeline has not changed since. */
  same: boolean;
}

/** How an environment judges, without where it reads. */
export type Judging = Omit<Analysis, "source">;

/** Points that are kept at most, more or less: a chart is some hundred pixels wide. */
const POINTS = 120;

/** The evidence of each target, by the judges of the pipeline; of those that know no certainty there is none. */
export function evidenceOf(plan: Plan, events: readonly JournalEvent[], judging: Judging): Evidence[] {
  const decided = decisions(plan, events).filter(({ until }) => until === undefined);
  return recordings(plan, events).flatMap((recording): Evidence[] => {
    const looks = [...replay(recording, judging.judges, judging)];
    const points = looks.flatMap((look) => pointOf(look) ?? []);
    const [first] = looks;
    if (!first || points.length === 0) return [];
    const mine = decided.filter(({ step }) => step.target === recording.target);
    const same = mine.every(({ step, verdict }) => {
      const last = looks.filter((look) => look.step === step.id).at(-1);
      return last !== undefined && isSame(last.verdict, verdict);
    });
    return [
      {
        target: recording.target,
        began: first.at - first.seconds * 1000,
        enough: { against: -Math.log(judging.risk), for: -Math.log(judging.promoteRisk) },
        // It begins even.
        points: thin([{ seconds: 0, weight: first.weight, against: 0, for: 0 }, ...points]),
        same,
      },
    ];
  });
}

/** What was seen until a decision fell; what was written down after it is of what came later. */
export function basisOf({ step, at, until }: Decision, all: readonly Recording[]): Basis {
  const mine = all.find(({ target }) => target === step.target);
  const before = mine?.records.filter(({ tick }) => until === undefined || tick.at <= at) ?? [];
  const seen = before.slice(0, before.findLastIndex((record) => record.step === step.id) + 1);
  const basis = { elapsed: 0, total: 0, requests: 0, allRequests: 0 };
  for (const { step: of, tick } of seen) {
    const watched = tick.moving ? 0 : tick.seconds;
    basis.allRequests += tick.canary.requests;
    basis.total += watched;
    if (of !== step.id) continue;
    basis.requests += tick.canary.requests;
    basis.elapsed += watched;
  }
  return { ...basis, weight: mine?.stays.get(step.id)?.percent ?? 100 };
}

function isSame(a: Verdict, b: Verdict): boolean {
  const odd = a.findings.some(({ evidence }, i) => {
    const other = b.findings[i]?.evidence;
    return Math.abs((evidence?.against ?? 0) - (other?.against ?? 0)) > 1e-6;
  });
  return a.verdict === b.verdict && a.findings.length === b.findings.length && !odd;
}

function pointOf(look: Look): Point | undefined {
  const known = strength(look.verdict.findings);
  if (!known || !Number.isFinite(known.against) || !Number.isFinite(known.for)) return undefined;
  const { seconds, weight } = look;
  return {
    seconds: round(seconds),
    weight,
    against: round(known.against),
    for: round(known.for),
  };
}

/** Of neighbours the one with most against the release: it is what would have decided. The last one stays. */
function thin(points: readonly Point[]): Point[] {
  const size = Math.ceil(points.length / POINTS);
  if (size <= 1) return [...points];
  const kept: Point[] = [];
  for (let i = 0; i < points.length - 1; i += size) {
    const part = points.slice(i, Math.min(i + size, points.length - 1));
    kept.push(part.reduce((most, point) => (point.against > most.against ? point : most)));
  }
  return [...kept, points.at(-1)!];
}

function round(value: number): number {
  return Math.round(value * 1e4) / 1e4;
}
