import { readFile, rename, writeFile } from "node:fs/promises";
import { z } from "zod";
import { canonical } from "../../components/handle";
import { PlanStale, PlanUnreadable } from "../core/errors";
import type { Plan } from "../core/model";
import { planId } from "../core/plan";

/** What was asked for, so that the plan can be made again and compared. */
const ask = z.strictObject({
  chain: z.array(z.string()).length(2),
  service: z.string().optional(),
  unproven: z.boolean().optional(),
});
const shape = z.strictObject({
  type: z.literal("sluice-plan"),
  v: z.literal(1),
  /** Hash of `plan`. */
  id: z.string().regex(/^[0-9a-f]{64}$/),
  ask,
  by: z.string(),
  at: z.iso.datetime(),
  plan: z.looseObject({
    version: z.literal(1),
    environment: z.string(),
    steps: z.array(z.looseObject({ id: z.string(), act: z.string() })),
    targets: z.array(z.looseObject({ key: z.string() })),
  }),
});

export type PlanAsk = z.infer<typeof ask>;

/** A plan that somebody looked at, to be driven as it is or not at all. */
export interface PlanFile {
  file: string;
  id: string;
  ask: PlanAsk;
  plan: Plan;
}

/** Keeps a plan in a file, whole or not at all. Readable to its owner alone: settings are in it. */
export async function writePlan(file: string, made: Plan, asked: PlanAsk, by: string): Promise<string> {
  const id = planId(made);
  const body = { type: "sluice-plan", v: 1, id, ask: asked, by, at: new Date().toISOString(), plan: made };
  const draft = `${file}.${process.pid}.tmp`;
  try {
    await writeFile(draft, `${JSON.stringify(body, undefined, 2)}\n`, { mode: 0o600 });
    await rename(draft, file);
  } catch (e) {
    throw PlanUnreadable(file, `it can't be written: ${(e as Error).message}`);
  }
  return id;
}

/** Reads a plan that was kept. Throws `plan-unreadable`, also where a byte of the plan was changed. */
export async function readPlan(file: string): Promise<PlanFile> {
  let value: unknown;
  try {
    value = JSON.parse((await readFile(file)).toString());
  } catch (e) {
    throw PlanUnreadable(file, e instanceof SyntaxError ? "it is not JSON." : `${(e as Error).message}.`);
  }
  const parsed = shape.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw PlanUnreadable(file, `${issue?.path.join(".") || "it"}: ${issue?.message ?? "is no plan"}.`);
  }
  const made = parsed.data.plan as unknown as Plan;
  if (planId(made) !== parsed.data.id) throw PlanUnreadable(file, "it was edited since.");
  return { file, id: parsed.data.id, ask: parsed.data.ask, plan: made };
}

/** Throws `plan-stale` unless the plan that would be made now is the very one of the file, and says why it is not. */
export function holds(kept: PlanFile, made: Plan): void {
  if (planId(made) !== kept.id) throw PlanStale(kept.file, difference(kept.plan, made));
}

/** Throws `plan-stale` where another release than the plan's is live already. */
export function sameRelease(kept: PlanFile, made: Plan): void {
  if (kept.plan.release !== made.release) throw PlanStale(kept.file, difference(kept.plan, made));
}

function difference(kept: Plan, made: Plan): string {
  if (kept.release !== made.release)
    return `it takes release ${kept.release.slice(0, 12)}, and ${made.source ?? "the source"} stands for ${made.release.slice(0, 12)} now.`;
  for (const was of kept.targets) {
    const is = made.targets.find((t) => t.key === was.key);
    if (!is) return `${was.key} runs the release already.`;
    const [before, now] = [was.base?.generation ?? 0, is.base?.generation ?? 0];
    if (before !== now) return `${was.key} was at generation ${before} and is at ${now}.`;
    if (canonical(was.base ?? {}) !== canonical(is.base ?? {}))
      return `what ${was.key} declares has changed.`;
  }
  return "automation/pipeline.ts or stacks/services.ts makes another plan now.";
}
