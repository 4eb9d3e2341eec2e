import type { Finding, Verdict, VerdictKind } from "../core/model";

/** How long an analysis has watched, and how long it is to watch: seconds. */
export interface Progress {
  elapsed: number;
  /** It never passes earlier. */
  bake: number;
  /** It never waits for data longer. */
  horizon: number;
}

/** What the findings add up to. Fails at once; passes only once the bake is over and every judge passes. */
export function combine(findings: Finding[], progress: Progress): Verdict {
  const failing = findings.filter((f) => f.verdict === "fail");
  if (failing.length > 0) return verdict("fail", failing, findings);
  const broken = findings.filter((f) => f.verdict === "error");
  if (broken.length > 0) return verdict("error", broken, findings);
  const open = findings.filter((f) => f.verdict !== "pass");
  const passing = findings.length > 0 && open.length === 0;
  // `!(>=)` and not `<`: a time that is no number must not pass.
  if (passing && !(progress.elapsed >= progress.bake))
    return {
      verdict: "running",
      reason: `${sentences(findings)}; watched for ${round(progress.elapsed)} s of at least ${progress.bake} s`,
      findings,
    };
  if (passing) return verdict("pass", findings, findings);
  if (progress.elapsed >= progress.horizon)
    return {
      verdict: "inconclusive",
      reason: `not enough to judge by within ${progress.horizon} s: ${sentences(open) || "nothing was judged"}`,
      findings,
    };
  return {
    verdict: "running",
    reason: sentences(open) || "nothing has been judged yet",
    findings,
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

function verdict(kind: VerdictKind, because: Finding[], findings: Finding[]): Verdict {
  return { verdict: kind, reason: sentences(because), findings };
}

function sentences(findings: Finding[]): string {
  return findings.map((f) => f.reason).join("; ");
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
