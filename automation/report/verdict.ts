import { DEFAULTS, decisions, recordings } from "../analysis/replay";
import type { JournalEvent } from "../core/events";
import type { Evidence, Finding, Plan, StepId, Verdict } from "../core/model";
import { basisOf, evidenceOf, type Judging } from "./evidence";
import { paragraph } from "./paragraph";
import { short } from "./plain";
import type { Report } from "./schema";

type Told = NonNullable<Report["steps"][number]["verdict"]>;
type ToldFinding = Told["findings"][number];

/** Finds the paragraph of a step's decision. */
export type Saying = (step: StepId) => Pick<Told, "said">;

/** A verdict as a report has it: without the states that it was made from. */
export function verdictOf({ verdict, reason, findings, rule }: Verdict): Told {
  return {
    verdict,
    reason: short(reason),
    findings: findings.map(findingOf),
    ...(rule !== undefined && { rule: short(rule) }),
  };
}

function findingOf({ judge, verdict, reason, figures, evidence }: Finding): ToldFinding {
  return {
    judge,
    verdict,
    reason: short(reason),
    // What is no number (NaN, infinite) is null in JSON, and no figure.
    figures: Object.fromEntries(Object.entries(figures).filter(([, value]) => Number.isFinite(value))),
    ...sure(evidence),
  };
}

function sure(evidence: Evidence | undefined): Pick<ToldFinding, "evidence"> {
  if (!evidence) return {};
  const { intervals, ...numbers } = evidence;
  if (!Object.values(numbers).every(Number.isFinite)) return {};
  const pairs = Object.entries(intervals ?? {}).map(([name, [low, high]]) => [name, [low, high]]);
  return { evidence: { ...numbers, ...(intervals && { intervals: Object.fromEntries(pairs) }) } };
}

/** The paragraphs of the decisions that know how sure they are; the others' reasons say all. */
export function sayingOf(plan: Plan, events: readonly JournalEvent[], judging: Judging | undefined): Saying {
  const proved = decisions(plan, events).filter(({ verdict }) => verdict.findings.some((f) => f.evidence));
  const all = proved.length > 0 ? recordings(plan, events) : [];
  const said = new Map(
    proved.map((decision) => [
      decision.step.id,
      short(paragraph(decision, basisOf(decision, all), judging ?? DEFAULTS)),
    ]),
  );
  return (step) => {
    const text = said.get(step);
    return text === undefined ? {} : { said: text };
  };
}

/** The evidence over time, where the judges are those that decided. */
export function courseOf(
  plan: Plan,
  events: readonly JournalEvent[],
  judging: Judging | undefined,
): Pick<Report, "evidence"> {
  const known = judging ? evidenceOf(plan, events, judging).filter(({ same }) => same) : [];
  if (known.length === 0) return {};
  return {
    evidence: known.map(({ target, began, enough, points }) => ({
      target,
      began: new Date(began).toISOString(),
      enough,
      points,
    })),
  };
}
