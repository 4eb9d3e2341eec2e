import { z } from "zod";

// What the lines of `--json` are made of. Objects are open: fields may come.

export const text = z.string();
export const millis = z.number().min(0).meta({ description: "Milliseconds since the epoch." });
export const slot = z.enum(["blue", "green"]);
export const percent = z.int().min(0).max(100);
export const split = z.looseObject({ blue: percent, green: percent });
export const pin = z
  .looseObject({
    artifact: text,
    version: text.optional(),
    commit: text.optional(),
    repository: text.optional(),
    at: text.optional(),
  })
  .meta({ id: "Pin", description: "What runs: an immutable artifact, and where it came from." });
export const filled = z.looseObject({ pin, hash: text });
export const handle = z
  .looseObject({
    version: z.literal(1),
    platform: text,
    service: text,
    live: slot.optional(),
    slots: z.looseObject({ blue: filled.optional(), green: filled.optional() }),
    previous: filled.optional(),
    split,
    generation: z.int().min(0),
    run: text.optional(),
    proved: z.looseObject({ release: text, artifact: text, run: text, at: text }).optional(),
  })
  .meta({ id: "Handle", description: "What a stack declares." });
export const step = z.looseObject({ id: text, act: text, target: text, needs: z.array(text) });
export const plan = z
  .looseObject({
    version: z.literal(1),
    request: text,
    environment: text,
    source: text.optional(),
    release: text,
    pins: z.record(text, pin),
    unproven: text.optional(),
    maxParallel: z.int().min(1),
    onFailure: z.enum(["all", "wave"]),
    targets: z.array(
      z.looseObject({
        key: text,
        service: text,
        mode: text,
        from: slot.optional(),
        to: slot,
        platform: text,
        pin,
        wave: z.int().min(0).optional(),
      }),
    ),
    steps: z.array(step),
  })
  .meta({ id: "Plan", description: "What a run will do: `needs` says what each step waits for." });
export const evidence = z
  .looseObject({
    against: z.number(),
    for: z.number(),
    p: z.number().min(0).max(1),
    bad: z.number(),
    needed: z.number(),
    sample: z.number(),
    intervals: z.record(text, z.tuple([z.number(), z.number()])).optional(),
  })
  .meta({ id: "Evidence", description: "How sure a judge is; `against` and `for` are ln E." });
export const verdict = z
  .looseObject({
    verdict: z.enum(["pass", "running", "inconclusive", "fail", "error"]),
    reason: text,
    findings: z.array(
      z.looseObject({
        judge: text,
        verdict: text,
        reason: text,
        figures: z.record(text, z.number()),
        evidence: evidence.optional(),
      }),
    ),
    rule: text.optional(),
    states: z.record(text, z.unknown()).optional(),
  })
  .meta({ id: "Verdict", description: "What an analysis says, with the figures it says it from." });
export const failure = z
  .looseObject({
    code: text,
    message: text,
    hint: text.optional(),
    verdict: verdict.optional(),
  })
  .meta({ id: "Failure" });
export const counts = z.looseObject({
  requests: z.number().min(0),
  errors: z.number().min(0),
  buckets: z.array(z.number()),
});
export const outcome = z.enum(["promoted", "rolled-back", "refused", "stuck", "resolved"]);
