import { WorldMoved } from "../../components/errors";
import type { Filled, Handle } from "../../components/handle";
import type { Service } from "../../components/release";
import { JournalElsewhere } from "../core/errors";
import { fills, type Plan, type PlanTarget, type Release, type Strategy } from "../core/model";
import { type Aim, PARALLEL, plan } from "../core/plan";
import type { Context, Subject, Target } from "../core/ports";
import { wanted } from "../core/wanted";
import { foresee } from "./foresee";
import { holds, type PlanFile, sameRelease } from "./planfile";
import { pool } from "./pool";
import type { Environment } from "./run";

/** What to carry where. */
export interface Cargo {
  request: string;
  release: Release;
  services: readonly Service[];
  source?: string | undefined;
  unproven?: string | undefined;
  /** Frozen settings that go with a pin, by service: a rollback. */
  settings?: ReadonlyMap<string, Pick<Filled, "settings" | "hash">>;
  /** @default the environment's own */
  strategy?: Strategy;
  /** Leaves out gates, tasks and the analysis: the way back must not wait for what the way up waits for. */
  direct?: boolean;
  dryRun: boolean;
  /** The plan that was looked at: this must be the very same. @default any */
  expect?: PlanFile | undefined;
}

/** A plan, and what Pulumi says that its first acts would do. */
export interface Prepared {
  plan: Plan;
  /** Resources by operation, by target. */
  previews: ReadonlyMap<string, Record<string, number>>;
  /** What people should know before it begins, a sentence each. */
  warnings: readonly string[];
}

/** Looks at the world and plans; undefined where there is nothing to do. Changes nothing. */
export async function prepare(
  environment: Environment,
  cargo: Cargo,
  targets: ReadonlyMap<string, Target>,
  ctx: Context,
): Promise<Prepared | undefined> {
  const aims = await pool([...targets.values()], environment.maxParallel ?? PARALLEL, async (target) =>
    aim(target, await look(target, ctx, environment.name), cargo),
  );
  const first = makePlan(environment, cargo, aims);
  const { moving, previews } = await preview(first, aims, targets, ctx);
  if (moving.length === 0) {
    if (cargo.expect) sameRelease(cargo.expect, first);
    return undefined;
  }
  const made = moving.length === aims.length ? first : makePlan(environment, cargo, moving);
  if (cargo.expect) holds(cargo.expect, made);
  await hear(made, environment, ctx);
  const warnings = cargo.direct
    ? []
    : await foresee(made, environment, cargo.services, (place) => about(made, place), ctx);
  return { plan: made, previews, warnings };
}

/**
 * Asks the source of the metrics whether it answers at all: a query that is wrong is better told now than when a
 * canary has traffic. A first release may not be known to it yet.
 */
async function hear(made: Plan, environment: Environment, ctx: Context): Promise<void> {
  const source = environment.analysis?.source;
  if (!source || !made.steps.some((s) => s.act === "analyse")) return;
  for (const place of made.targets) if (place.base) await source.ping(about(made, place), ctx);
}

function about(made: Plan, place: PlanTarget): Subject {
  const { key: target, service, pin, base: handle } = place;
  return { environment: made.environment, target, service, release: made.release, pin, handle };
}

/** A dry run asks the gates, for they change nothing, and runs no task. */
export async function ask(made: Plan, environment: Environment, ctx: Context): Promise<string[]> {
  const answers: string[] = [];
  for (const place of made.targets)
    for (const gate of environment.gates ?? []) {
      const answer = await gate.ask(about(made, place), ctx);
      answers.push(
        `gate ${gate.id} for ${place.key}: ${answer.answer}${answer.answer === "open" ? "" : ` (${answer.reason})`}`,
      );
    }
  return answers;
}

/** What is declared, once it is sure that the world is the same and nobody else is at work on it. */
async function look(target: Target, ctx: Context, environment: string): Promise<Handle | undefined> {
  const { declared, drift } = await target.observe(ctx);
  // A run whose journal is here would have been gone on with.
  if (declared?.run) throw JournalElsewhere(target.key, declared.run, environment);
  if (drift.length > 0) throw WorldMoved(target.key, drift.join("; "), ending(target.key, declared));
  return declared;
}

// No new plan ends a drift: Pulumi does, where the stack has something to declare.
function ending(stack: string, declared: Handle | undefined): string {
  return declared
    ? `\`npm run pulumi -- up --refresh -s ${stack}\` puts back what the stack declares; then give the command again.`
    : `Where another stack declared it, \`npm run pulumi -- stack rename ${stack} -s <its name>\` takes it over: see stacks/README.md.`;
}

function aim(target: Target, declared: Handle | undefined, cargo: Cargo): Aim {
  const pin = cargo.release.pins[target.service];
  if (!pin) throw new Error(`the release has no pin for ${target.service}`);
  const platform = cargo.services.find((s) => s.name === target.service)?.platform ?? "local";
  return {
    key: target.key,
    service: target.service,
    platform,
    declared,
    pin,
    settings: cargo.settings?.get(target.service),
  };
}

function makePlan(environment: Environment, cargo: Cargo, aims: readonly Aim[]): Plan {
  return plan({
    request: cargo.request,
    environment: environment.name,
    source: cargo.source,
    unproven: cargo.unproven,
    release: cargo.release,
    strategy: cargo.strategy ?? environment.strategy,
    direct: cargo.direct,
    waves: cargo.direct ? undefined : environment.waves,
    maxParallel: environment.maxParallel,
    onFailure: cargo.direct ? undefined : environment.onFailure,
    has: {
      gates: cargo.direct ? [] : (environment.gates ?? []).map((g) => g.id),
      tasks: cargo.direct ? [] : (environment.tasks ?? []).map((t) => t.id),
      analysis: !cargo.direct && environment.analysis ? "default" : undefined,
      checks: environment.checks?.length ? "default" : undefined,
    },
    aims,
  });
}

/**
 * Previews each target's deploy: policies speak before anything is created, settings are resolved, and a
 * target that runs the very same artifact with the very same settings is left out.
 */
async function preview(made: Plan, aims: readonly Aim[], targets: ReadonlyMap<string, Target>, ctx: Context) {
  const previews = new Map<string, Record<string, number>>();
  await pool(aims, made.maxParallel, async (a) => {
    const place = made.targets.find((t) => t.key === a.key)!;
    const step = made.steps.find((s) => s.target === a.key && fills(s))!;
    const by = { run: ctx.fence.run, step: step.id };
    const want = wanted(a.declared, place, step, { by, at: ctx.now(), release: made.release })!;
    const seen = await targets
      .get(a.key)!
      .preview({ want, expect: a.declared?.generation ?? 0, by, unguarded: made.direct ?? false }, ctx);
    const live = a.declared?.live && a.declared.slots[a.declared.live];
    const next = seen.handle.slots[place.to];
    if (live && live.pin.artifact === next?.pin.artifact && live.hash === next.hash) return;
    previews.set(a.key, seen.changes);
  });
  // In the order of the services, whichever preview came first.
  return { moving: aims.filter((a) => previews.has(a.key)), previews };
}
