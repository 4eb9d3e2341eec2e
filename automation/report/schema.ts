import { z } from "zod";

// What report.json holds. A field that is added keeps the version; one that is taken away, or means something else,
// raises it. `npm run docs` writes report.schema.json from here.

const time = z.iso.datetime().describe("UTC, ISO 8601");
const milliseconds = z.number().min(0).describe("milliseconds");
const slot = z.enum(["blue", "green"]);
const percent = z.int().min(0).max(100);

const failure = z.strictObject({
  code: z.string().describe("of the catalogue of errors; see TROUBLESHOOTING.md"),
  message: z.string(),
  hint: z.string().optional(),
});

const share = z.number().min(0).max(1);

const evidence = z
  .strictObject({
    against: z.number().describe("ln E against the release: 3 is 20 to 1"),
    for: z.number().describe("ln E for it"),
    p: share.describe("always-valid p-value of `no worse than allowed`"),
    bad: z.number().min(0).describe("bad events that it was made from"),
    needed: z.number().min(0).describe("bad events that it takes to fail"),
    sample: z.number().min(0).describe("events that it was made from"),
    intervals: z
      .record(z.string(), z.tuple([share, share]))
      .optional()
      .describe("what a share is with 95 % confidence, whenever one looks"),
  })
  .describe("how sure a judge is");

const finding = z.strictObject({
  judge: z.string(),
  verdict: z.enum(["pass", "running", "inconclusive", "fail", "error"]),
  reason: z.string().describe("a sentence with the numbers"),
  figures: z.record(z.string(), z.number()),
  evidence: evidence.optional(),
});

const verdict = z.strictObject({
  verdict: z.enum(["pass", "running", "inconclusive", "fail", "error"]).describe("the worst of the findings"),
  reason: z.string(),
  findings: z.array(finding),
  rule: z.string().optional().describe("what decided"),
  said: z.string().optional().describe("the decision in a paragraph, as `sluice explain` has it"),
});

const pin = z.strictObject({
  artifact: z.string(),
  version: z.string().optional(),
  commit: z.string().optional(),
  repository: z.string().optional(),
  at: z.string().optional().describe("when it was built"),
});

const target = z.strictObject({
  key: z.string().describe("the stack"),
  service: z.string(),
  platform: z.string(),
  mode: z.enum(["slots", "in-place"]),
  wave: z.int().min(0).optional(),
  from: pin.extend({ slot }).optional().describe("what was live before; missing for a first release"),
  to: pin.extend({ slot }),
  result: z
    .enum(["released", "restored", "untouched", "diverted", "changing"])
    .describe(
      "released: the new release is live and proved; restored: as before; untouched: nothing was done; " +
        "diverted: traffic is off the new slot, the rest is still to come; changing: in between",
    ),
  split: z.strictObject({ blue: percent, green: percent }).optional().describe("percent, as last declared"),
});

const step = z.strictObject({
  id: z.string(),
  target: z.string(),
  act: z.string(),
  label: z.string().describe("the act in words"),
  status: z.enum(["not begun", "started", "waiting", "done", "failed"]),
  attempts: z.int().min(0),
  began: time.optional(),
  ended: time.optional(),
  milliseconds: milliseconds.optional(),
  note: z.string().optional(),
  failure: failure.optional(),
  verdict: verdict.optional(),
});

const answer = z.strictObject({
  at: time,
  answer: z.enum(["approve", "reject", "abort"]),
  who: z.string().describe("user and host as they said: nobody verified it"),
  verified: z.literal(false),
  counts: z.boolean().describe("it was given to this very plan"),
  reason: z.string().optional(),
});

const interruption = z.strictObject({
  kind: z
    .enum(["wait", "pause", "again"])
    .describe(
      "wait: a step waited; pause: the run was left; again: an act was cut off and was begun once more",
    ),
  at: time,
  ended: time.optional(),
  milliseconds: milliseconds.optional(),
  step: z.string().optional(),
  reason: z.string(),
});

const way = z.strictObject({
  target: z.string(),
  diverted: time.optional().describe("when traffic was off the new slot, and its acts had ended"),
  moved: z.boolean().describe("traffic was taken back; in place it can't be"),
  restored: time.optional(),
  failures: z.array(failure.extend({ at: time, attempt: z.int() })),
  logs: z.array(z.string()).describe("the failing slot's last lines, newest last"),
});

const counts = z.strictObject({
  requests: z.number().min(0),
  errors: z.number().min(0),
  p99: z.number().min(0).optional().describe("seconds; missing where no latency was seen"),
  beyond: z.literal(true).optional().describe("p99 lies above the histogram's last edge"),
});

const series = z.strictObject({
  target: z.string(),
  weights: z.array(z.strictObject({ at: time, percent })).describe("when the new slot got how much"),
  points: z.array(
    z.strictObject({
      at: time,
      step: z.string(),
      seconds: z.number().min(0).describe("how long it covers; what lies close together is summed up"),
      canary: counts,
      baseline: counts.optional(),
    }),
  ),
});

const course = z.strictObject({
  target: z.string(),
  began: time.describe("when the release got its first traffic"),
  enough: z
    .strictObject({ against: z.number(), for: z.number() })
    .describe("ln E from which on it is enough"),
  points: z.array(
    z.strictObject({
      seconds: z.number().min(0).describe("since then"),
      weight: z.number().min(0).max(100).describe("percent that the release got"),
      against: z.number().describe("ln E of all judges together"),
      for: z.number().describe("ln E of the judge that is least sure of it"),
    }),
  ),
});

/** What a run leaves behind, for programs: report.json. */
export const reportSchema = z
  .strictObject({
    version: z.literal(1),
    run: z.string(),
    environment: z.string(),
    request: z.string().describe("what was asked, without `npm run`"),
    actor: z.string().describe("who asked: user and host, unverified"),
    plan: z.string().describe("sha256 of the plan, hex"),
    outcome: z
      .enum(["promoted", "rolled-back", "refused", "stuck", "resolved", "paused", "open"])
      .describe("open: under way, or cut off"),
    exit: z.int().optional().describe("the exit code that goes with it; missing while it is open"),
    headline: z.string().describe("outcome and why, a sentence or two"),
    reason: z.string().optional(),
    began: time,
    last: time.describe("the last event"),
    milliseconds,
    release: z.strictObject({
      id: z.string().describe("sha256 over the sorted service=artifact lines"),
      source: z.string().optional().describe("the environment that proved it"),
      unproven: z.string().optional().describe("who took it although nothing had proved it; unverified"),
      pins: z.array(pin.extend({ service: z.string() })),
    }),
    targets: z.array(target),
    steps: z.array(step),
    failure: failure
      .extend({ step: z.string(), target: z.string() })
      .optional()
      .describe("the first failure of the run"),
    answers: z.array(answer),
    interruptions: z.array(interruption),
    rollback: z
      .strictObject({ at: time, reason: z.string(), step: z.string().optional(), targets: z.array(way) })
      .optional(),
    samples: z.array(series),
    evidence: z
      .array(course)
      .optional()
      .describe("the evidence over time; missing where no judge knows how sure it is"),
    next: z
      .array(z.strictObject({ do: z.string(), run: z.string().optional().describe("a command") }))
      .describe("what a person does now"),
  })
  .describe("What a run of Sluice did: rendered from its journal. Lies beside it as report.json.");

/** What a run did, as data. */
export type Report = z.infer<typeof reportSchema>;

/** The JSON Schema of report.json. */
export function jsonSchema(): object {
  return { title: "Sluice report", ...z.toJSONSchema(reportSchema) };
}
