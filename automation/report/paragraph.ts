import { clean, span } from "../analysis/advice";
import type { ErrorRateState } from "../analysis/errors";
import { inFavour, meanOf } from "../analysis/gate";
import type { Decision, Settings } from "../analysis/replay";
import { odds } from "../analysis/verdict";
import { figure, percent } from "../analysis/words";
import type { Evidence, Finding, Verdict, VerdictKind } from "../core/model";
import { label } from "../view";

/** What was seen of a target until a decision fell. */
export interface Basis {
  /** Percent that the release got. */
  weight: number;
  /** Watched: seconds at this weight and in all, and the release's requests in them. */
  elapsed: number;
  total: number;
  requests: number;
  allRequests: number;
}

/** How sure the analysis had to be, where the pipeline still says so. */
export type Sure = Pick<Settings, "risk" | "promoteRisk" | "probe" | "maxDuration">;

const SAID: Record<VerdictKind, string> = {
  pass: "passed",
  fail: "failed",
  inconclusive: "could not be judged",
  running: "was still being watched",
  error: "could not be judged",
};

/** A decision in words: what was seen of whom, which rule it was decided by, and how sure that is. */
export function paragraph(decision: Decision, basis: Basis, sure: Sure): string {
  const { verdict, step } = decision;
  const told = telling(verdict);
  return [
    `${step.target}, ${label(step)} at ${figure(basis.weight)} %: the release ${SAID[verdict.verdict]}.`,
    watched(basis),
    ...told.map(seen),
    ...(told.length === 0 ? [`${verdict.reason}.`] : []),
    verdict.rule ? `What decided: ${verdict.rule}.` : "",
    ...certainty(verdict, told, basis, sure),
    decision.until === undefined ? "" : `It is held until ${new Date(decision.until).toISOString()}.`,
  ]
    .filter(Boolean)
    .join(" ");
}

/** Those who decided: of a no who said it, else all but the split, which only speaks where it is off. */
function telling({ verdict, findings }: Verdict): readonly Finding[] {
  if (verdict === "fail") return findings.filter((f) => f.verdict === "fail");
  return findings.filter((f) => f.judge !== "split" || f.verdict !== "pass");
}

function watched({ elapsed, total, requests, allRequests }: Basis): string {
  if (total === 0)
    return allRequests > 0 ? `It had ${count(allRequests, "request")}, while the split still changed.` : "";
  const more =
    total - elapsed > 0.5 ? `, ${span(total)} and ${count(allRequests, "request")} of it in all` : "";
  return `It was watched for ${span(elapsed)} at this weight, with ${count(requests, "request")}${more}.`;
}

/** What an interval is of, by the name that a judge gives it. */
const SHARES: Record<string, string> = {
  canary: "the release's true share",
  baseline: "the baseline's",
  slow: "the true share above the limit",
  slowerThanRatio: "the true share slower than the baseline allows",
};

function seen({ judge, reason, evidence }: Finding): string {
  const intervals = Object.entries(evidence?.intervals ?? {}).map(
    ([name, [low, high]]) => `${SHARES[name] ?? name} between ${percent(low)} and ${percent(high)}`,
  );
  const sure = intervals.length > 0 ? ` (with 95 % confidence ${intervals.join(", ")})` : "";
  return `${judge}: ${reason}${sure}.`;
}

function certainty(verdict: Verdict, told: readonly Finding[], basis: Basis, sure: Sure): string[] {
  const known = told.filter((f): f is Finding & { evidence: Evidence } => f.evidence !== undefined);
  if (known.length === 0) return [];
  const enough = { against: odds(-Math.log(sure.risk)), for: odds(-Math.log(sure.promoteRisk)) };
  switch (verdict.verdict) {
    case "fail":
      return known.map(
        ({ evidence }) =>
          `A release that keeps its limits would look this bad in ${rarely(evidence.p)} (evidence against it ${odds(evidence.against)}; ${enough.against} is enough${several(verdict)}).`,
      );
    case "pass": {
      if (!verdict.rule?.includes("for the release"))
        return [
          `Up to ${figure(sure.probe)} % a release goes on when nothing speaks against it: the evidence against it is ${list(known.map((f) => odds(f.evidence.against)))}, and ${enough.against} would be enough.`,
        ];
      return known.map(
        ({ judge, evidence }) =>
          `A release that breaks its limits would look this good to ${judge} in ${rarely(Math.exp(-evidence.for))} (evidence for it ${odds(evidence.for)}; ${enough.for} is enough).`,
      );
    }
    default:
      return known
        .filter((f) => f.verdict !== "pass")
        .map((finding) => missing(finding, verdict, basis, sure, enough));
  }
}

function several({ findings }: Verdict): string {
  const n = findings.filter((f) => f.evidence).length;
  return n > 1 ? `, for the mean of ${n} judges` : "";
}

/** What an open question lacks, in evidence and, where it can be said, in requests. */
function missing(
  finding: Finding & { evidence: Evidence },
  verdict: Verdict,
  basis: Basis,
  sure: Sure,
  enough: { against: string; for: string },
): string {
  const { judge, evidence } = finding;
  const either =
    enough.for === enough.against ? `${enough.for} either way` : `${enough.for} or ${enough.against}`;
  const short = `${judge} has evidence for it of ${odds(evidence.for)} and against it of ${odds(evidence.against)}: ${either} would be enough`;
  const more = lacking(finding, verdict, sure);
  if (more === undefined) return `${short}.`;
  const rate = basis.elapsed > 0 ? basis.requests / basis.elapsed : 0;
  const takes = rate > 0 ? `, ${span(more / rate)} at the rate of this weight` : "";
  return `${short}; about ${figure(more)} more requests without an error would prove it${takes}.`;
}

/** Requests without an error that were missing, by the state that the decision was made from. */
function lacking({ judge, figures, evidence }: Finding, { states }: Verdict, sure: Sure): number | undefined {
  const state = states?.[judge] as Partial<ErrorRateState> | undefined;
  const { limit } = figures;
  if (judge !== "error-rate" || limit === undefined || !state?.abs || !evidence) return undefined;
  const { abs, rel, phi = 1 } = state;
  const own = inFavour(abs);
  const other = rel && inFavour(rel);
  const both = other === undefined || Math.abs(meanOf(own, other) - evidence.for) < 1e-6;
  // Where either limit may fail it, each must be proved by itself; the baseline's needs more than clean requests.
  if (!both && (other ?? 0) < -Math.log(sure.promoteRisk)) return undefined;
  return clean({
    down: abs.down,
    beside: both && other !== undefined ? other : undefined,
    max: limit,
    promoteRisk: sure.promoteRisk,
    phi,
  });
}

/** A chance as one of so many, rounded down to two digits: it is no less than said. */
function rarely(p: number): string {
  if (!(p < 1)) return "any rollout";
  const times = 1 / p;
  if (times >= 1e6) return "fewer than 1 of 1,000,000 rollouts";
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(times)) - 1);
  return `fewer than 1 of ${figure(Math.max(1, Math.floor(times / unit) * unit))} rollouts`;
}

function list(items: readonly string[]): string {
  return items.join(", ");
}

function count(n: number, noun: string): string {
  return `${figure(n)} ${noun}${n === 1 ? "" : "s"}`;
}
