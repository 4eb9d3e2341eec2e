import { z } from "zod";
import { millis, outcome, text, verdict } from "./shapes";

const lnE = z.looseObject({ against: z.number(), for: z.number() }).meta({ description: "ln E." });
const estimate = z.looseObject({
  rolledBack: z.number().min(0).max(1),
  promoted: z.number().min(0).max(1),
  undecided: z.number().min(0).max(1),
  promotedAfter: z.number().optional(),
  rolledBackAfter: z.number().optional(),
  failed: z.looseObject({ median: z.number(), p90: z.number() }),
});

/** What `explain`, `replay` and `simulate` print: decisions, evidence over time, other judges, estimates. */
export const JUDGING = {
  decision: {
    run: text,
    environment: text,
    target: text,
    step: text,
    at: millis,
    until: millis.optional(),
    verdict,
    weight: z.number(),
    elapsed: z.number(),
    total: z.number(),
    requests: z.number(),
    allRequests: z.number(),
    text,
  },
  evidence: {
    target: text,
    began: millis,
    enough: lnE,
    points: z.array(lnE.extend({ seconds: z.number(), weight: z.number() })),
    same: z.boolean(),
  },
  replay: {
    run: text,
    environment: text,
    target: text,
    outcome: outcome.optional(),
    judge: text,
    verdict: verdict.shape.verdict,
    reason: text,
    rule: text.optional(),
    seconds: z.number(),
    weight: z.number(),
    requests: z.number(),
    failed: z.number(),
    ends: z.boolean(),
    stayed: z.number().optional(),
    further: z.number().optional(),
  },
  simulation: {
    rps: z.number(),
    weights: z.array(z.number()),
    rate: z.number(),
    bad: z.number(),
    max: z.number(),
    worseThan: z.number(),
    maxDuration: z.number(),
    pushed: z.boolean(),
    runs: z.int(),
    seed: z.int(),
    judges: z.array(z.looseObject({ judge: text, healthy: estimate, bad: estimate })),
    says: text,
  },
};
