import type { Evidence, Finding, StepId, Tick, Verdict, VerdictKind } from "../core/model";
import type { Dossier } from "./evidence";
import { sumOf } from "./process";
import { figure, time } from "./words";

/** How far an analysis is, and how sure it must be. */
export interface Terms {
  /** Seconds of this weight that were seen, and that must be. */
  elapsed: number;
  bake: number;
  /** The same of the whole rollout. */
  total: number;
  minBake: number;
  /** Canary requests of this weight. */
  requests: number;
  /** Whether passing takes evidence for the release, or only that it does not fail. */
  proof: boolean;
  /** Chances of a false rollback and of a false promotion. */
  risk: number;
  promoteRisk: number;
}

/** What a step's evidence must come up to, with a record that is still open. */
export function termsOf(
  evidence: Dossier,
  step: StepId,
  open: Tick | undefined,
  settings: Pick<Terms, "minBake" | "risk" | "promoteRisk">,
  asked: Pick<Terms, "bake" | "proof">,
): Terms {
  const { seconds: elapsed, requests, total } = evidence.seen(step, open);
  const { minBake, risk, promoteRisk } = settings;
  return { elapsed, requests, total, minBake, risk, promoteRisk, ...asked };
}

/** What the findings add up to: it fails as soon as the evidence is enough, and passes no earlier. Pure. */
export function combine(found: readonly Finding[], terms: Terms): Verdict {
  const weight = Math.log(found.filter((f) => f.evidence).length || 1);
  const findings = found.map((f) => ({ ...f, verdict: alone(f, weight, terms) }));
  const failing = blamed(findings, weight, terms);
  if (failing) return failing;
  const broken = findings.filter((f) => f.verdict === "error");
  if (broken.length > 0) return verdict("error", broken, findings);
  const open = findings.filter((f) => f.verdict !== "pass");
  const idle = terms.requests >= 1 ? "" : `${IDLE}; is there any traffic? `;
  if (open.length > 0 || findings.length === 0)
    return {
      verdict: "running",
      reason: idle + (sentences(open) || "nothing has been judged yet"),
      findings,
    };
  // `!(>=)` and not `<`: a time that is no number must not pass.
  const short = [
    !(terms.requests >= 1) && IDLE,
    !(terms.elapsed >= terms.bake) &&
      `watched for ${time(round(terms.elapsed))} of at least ${time(terms.bake)}`,
    terms.proof &&
      !(terms.total >= terms.minBake) &&
      `watched for ${time(round(terms.total))} in all, of at least ${time(terms.minBake)}`,
  ].filter((text) => text !== false);
  if (short.length > 0)
    return { verdict: "running", reason: `${sentences(findings)}; ${short.join("; ")}`, findings };
  return {
    ...verdict("pass", findings, findings),
    rule: terms.proof ? "evidence for the release" : "no evidence against it",
  };
}

const IDLE = "the new slot had no requests at this weight";

/** What a judge says by itself. */
function alone(finding: Finding, weight: number, { proof, promoteRisk, risk }: Terms): VerdictKind {
  const { evidence, verdict: own } = finding;
  // A judge of thumb that has not seen enough is no reason to stay where nothing is at stake yet.
  if (!evidence) return own === "running" && !proof ? "pass" : own;
  if (own === "error") return own;
  if (!(Number.isFinite(evidence.against) && Number.isFinite(evidence.for))) return "error";
  if (counts(evidence) && evidence.against - weight >= -Math.log(risk)) return "fail";
  return !proof || evidence.for >= -Math.log(promoteRisk) ? "pass" : "running";
}

/**
 * Several judges roll back on any: E is the mean of theirs, so that together they are wrong no more often than one
 * is. Blamed are those whose part is enough by itself, or the one that did most.
 */
function blamed(findings: readonly Finding[], weight: number, { risk }: Terms): Verdict | undefined {
  const failing = findings.filter((f) => f.verdict === "fail");
  const sure = findings.filter((f) => f.evidence && f.verdict !== "error" && counts(f.evidence));
  const together = sumOf(sure.map((f) => f.evidence!.against)) - weight;
  if (failing.length === 0 && !(together >= -Math.log(risk))) return undefined;
  const most = sure.toSorted((a, b) => b.evidence!.against - a.evidence!.against)[0];
  const blame = failing.length > 0 ? failing : [most!];
  const all = findings.map((f) =>
    f === most && failing.length === 0 ? { ...f, verdict: "fail" as const } : f,
  );
  const proved = blame.some((f) => f.evidence);
  const rule = `${proved ? "evidence against the release" : "the rule was broken"}, by ${blame.map((f) => f.judge).join(", ")}`;
  return { ...verdict("fail", blame, all), rule };
}

/** One unlucky request is no verdict, however unlikely. */
function counts({ bad, needed }: Evidence): boolean {
  return bad >= needed;
}

/**
 * A verdict as it is kept: made from all that was seen, with all that somebody needs to check it. What was seen with
 * care, in an open record, can only have been seen to be better than it is.
 */
export function whole(said: Verdict, evidence: Dossier, terms: Terms, open: Tick | undefined): Verdict {
  const { findings, states } = evidence.told(open);
  const all = combine(findings, terms);
  return { ...(said.verdict === "fail" && all.verdict !== "fail" ? said : all), states };
}

/** What is said when time is over. */
export function inconclusive(of: Verdict, after: number): Verdict {
  return {
    ...of,
    verdict: "inconclusive",
    reason: `neither good nor bad enough to be sure within ${time(after)}: ${of.reason}`,
    rule: "time is over",
  };
}

const WORDS: Record<VerdictKind, string> = {
  pass: "passes",
  running: "is still being watched",
  inconclusive: "can't be judged",
  fail: "fails",
  error: "could not be judged",
};

/** The verdict as a sentence with its numbers. */
export function describe(verdict: Verdict): string {
  return `The release ${WORDS[verdict.verdict]}: ${verdict.reason}.`;
}

function verdict(kind: VerdictKind, because: readonly Finding[], findings: Finding[]): Verdict {
  return { verdict: kind, reason: sentences(because), findings };
}

function sentences(findings: readonly Finding[]): string {
  return findings.map(told).filter(Boolean).join("; ");
}

/** The reason, and what is missing where the evidence is not enough. */
function told({ reason, verdict: own, evidence }: Finding): string {
  if (own !== "running" || !evidence) return reason;
  return `${reason} (evidence for it ${odds(evidence.for)}, against it ${odds(evidence.against)})`;
}

/** An E as odds: "20 to 1". */
export function odds(lnE: number): string {
  if (lnE > Math.log(1e6)) return "over 1,000,000 to 1";
  if (lnE < 0) return "less than even";
  return `${figure(Number(Math.exp(lnE).toPrecision(2)))} to 1`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
