import { z } from "zod";
import type { Fact } from "../core/events";
import { JUDGING } from "./judging";
import { counts, failure, handle, millis, outcome, plan, split, text, verdict } from "./shapes";

// The lines that `--json` prints. Objects are open: fields may come, and a reader passes over those it does not know.

/** What each fact of a run says; one that core gains needs its line here. */
const FACTS = {
  "run.planned": { run: text, plan, actor: text },
  "run.paused": { reason: text, diverted: z.array(text) },
  "run.resolved": { who: text, reason: text },
  "run.finished": { outcome, reason: text },
  "step.started": { step: text, attempt: z.int().min(1) },
  "step.waiting": { step: text, reason: text, until: millis },
  "step.finished": {
    step: text,
    outcome: z.enum(["done", "failed"]),
    handle: handle.optional(),
    verdict: verdict.optional(),
    note: text.optional(),
    failure: failure.optional(),
  },
  "sample.taken": {
    step: text,
    target: text,
    tick: z.looseObject({
      at: millis,
      seconds: z.number(),
      edges: z.array(z.number()),
      canary: counts,
      baseline: counts.optional(),
      weight: z.number().optional(),
      moving: z.literal(true).optional(),
      values: z.record(text, z.number()).optional(),
    }),
  },
  "past.known": {
    target: text,
    past: z
      .looseObject({
        at: millis,
        seconds: z.number(),
        edges: z.array(z.number()),
        baseline: counts,
        phi: z.number().min(1),
        slow: z.number().min(1),
      })
      .optional(),
  },
  "analysis.held": { step: text, target: text, verdict, until: millis },
  "answer.given": {
    answer: z.enum(["approve", "reject", "abort"]),
    who: text,
    reason: text.optional(),
    plan: text.optional(),
  },
  "rollback.begun": { reason: text, step: text.optional(), failure: failure.optional() },
  "traffic.diverted": { target: text, moved: z.boolean().optional() },
  "restore.failed": { target: text, attempt: z.int().min(1), failure, until: millis },
  "target.restored": { target: text, handle },
} satisfies Record<Fact["type"], z.core.$ZodLooseShape>;

const problem = z.looseObject({ code: text, message: text, hint: text });
const answered = z.looseObject({ reason: text, requester: z.boolean() });

/** What a command prints beside the facts of a run. */
const SAYINGS = {
  plan: { plan, previews: z.record(text, z.record(text, z.number())), answers: z.array(text) },
  result: {
    left: z.enum(["finished", "paused", "stuck", "nothing", "planned"]),
    environment: text.optional(),
    run: text.optional(),
    outcome: outcome.optional(),
    reason: text.optional(),
    report: text.optional(),
    operations: z.record(text, z.looseObject({ count: z.int(), milliseconds: z.number() })).optional(),
  },
  error: { code: text, message: text, hint: text },
  status: {
    environment: text,
    run: z
      .looseObject({
        id: text,
        request: text,
        phase: z.enum(["up", "down", "done"]),
        actor: text,
        paused: text.optional(),
        stuck: text.optional(),
        holder: z.looseObject({ user: text, host: text, pid: z.int() }).optional(),
        doing: z.array(text),
        questions: z.array(answered),
      })
      .optional(),
    problem: problem.optional(),
    targets: z.array(
      z.looseObject({
        key: text,
        service: text,
        declared: handle.optional(),
        actual: z.looseObject({ split }).optional(),
        drift: z.array(text),
        pending: z.boolean(),
        problem: problem.optional(),
      }),
    ),
  },
  past: {
    environment: text,
    run: text,
    request: text,
    actor: text,
    release: text,
    source: text.optional(),
    outcome: text,
    began: text,
    milliseconds: z.number().min(0),
    reason: text.optional(),
  },
  finding: {
    what: text,
    state: z.enum(["good", "warning", "bad"]),
    found: text,
    mend: text.optional(),
  },
  answer: {
    environment: text,
    run: text,
    answer: z.enum(["approve", "reject"]),
    who: text,
    plan: text,
    taken: z.boolean(),
    waiting: z.array(text),
    next: text.optional(),
  },
  ...JUDGING,
  // Theirs to say: report.json has a schema of its own, and the embedded platform and init speak for themselves.
  report: {},
  log: {},
  local: {},
  init: {},
};

const event = { v: z.literal(1), seq: z.int().min(0), at: millis, prev: text };

const lines = [
  ...Object.entries(FACTS).map(([type, fields]) =>
    z.looseObject({ type: z.literal(type), ...event, ...fields }).meta({ id: type }),
  ),
  ...Object.entries(SAYINGS).map(([type, fields]) =>
    z.looseObject({ type: z.literal(type), v: z.literal(1), ...fields }).meta({ id: type }),
  ),
];

/** One line of `--json`: an event of a run as its journal has it, or what a command says beside. */
export const outputLine = z.discriminatedUnion("type", lines as [(typeof lines)[number]]);

/** The JSON Schema of a line, as output.schema.json has it. */
export function outputSchema(): object {
  const schema = z.toJSONSchema(outputLine, { target: "draft-2020-12" });
  const title = "A line that sluice prints with --json";
  const description =
    "NDJSON. `v` is raised when a field goes or changes its meaning, not when one comes: pass over what you don't know.";
  return { $schema: schema.$schema, title, description, ...schema };
}
