import { mkdir, writeFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { join } from "node:path";
import { RunElsewhere, WorldMoved } from "../../components/errors";
import type { Filled, Handle } from "../../components/handle";
import type { Service } from "../../components/release";
import { fold, type JournalEvent, type RunState, stepOf } from "../core/events";
import type { Outcome, Plan, Release, RunId, Strategy } from "../core/model";
import { type Aim, plan } from "../core/plan";
import type { Context, Target } from "../core/ports";
import { wanted } from "../core/wanted";
import { clock } from "./clock";
import { drive, type Ending } from "./drive";
import { readInbox, removeMessage } from "./inbox";
import { createJournal, type Journal, openJournal, readJournal } from "./journal";
import { acquireLease, type Lease } from "./lease";
import { endOrphans } from "./orphans";
import { keyOf } from "./pipeline";
import type { Project } from "./project";
import type { Redactor } from "./redact";
import type { Environment } from "./run";
import { environmentDirectory, listRuns, newRunId, runDirectory } from "./runs";

/** What a command works at: the project, and how it speaks and is spoken to. */
export interface Desk {
  project: Project;
  say(line: string): void;
  /** Hears every event of a run as it becomes durable. */
  heard(event: JournalEvent, state: RunState): void;
  /** How a long act is coming on. */
  progress(step: string, text: string): void;
  /** Shows the plan of a dry run. */
  plan(plan: Plan, previews: ReadonlyMap<string, Record<string, number>>): void;
  leave: AbortSignal;
  now: AbortSignal;
  /** Milliseconds a run may wait here; longer ones are paused. */
  patience?: number | undefined;
  redact: Redactor;
}

/** How carrying a release into one environment ended. */
export type Carried = {
  environment: string;
  run?: RunId;
  directory?: string;
  events?: readonly JournalEvent[];
} & (Ending | { left: "nothing"; reason: string } | { left: "planned"; plan: Plan });

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
}

/** Plans, and unless it is a dry run drives: the whole way of one release into one environment. */
export async function carry(desk: Desk, environment: Environment, cargo: Cargo): Promise<Carried> {
  const { project } = desk;
  const lease = await acquireLease(environmentDirectory(project.root, environment.name));
  try {
    const run = newRunId(clock.now());
    await lease.name(run);
    const ctx = contextOf(desk, run, lease);
    const targets = await targetsOf(project, environment, cargo.services);
    const aims: Aim[] = [];
    for (const target of targets.values()) aims.push(aim(target, await look(target, ctx), cargo));
    const first = makePlan(environment, cargo, aims);
    const { moving, previews } = await preview(first, aims, targets, run, ctx);
    if (moving.length === 0)
      return {
        environment: environment.name,
        left: "nothing",
        reason: `${environment.name} runs this release already`,
      };
    const made = moving.length === aims.length ? first : makePlan(environment, cargo, moving);
    if (cargo.dryRun) desk.plan(made, previews);
    if (cargo.dryRun) return { environment: environment.name, left: "planned", plan: made };

    const directory = runDirectory(project.root, environment.name, run);
    const journal = await createJournal(directory, { redact: (fact) => desk.redact.json(fact) });
    const event = await journal.append({ type: "run.planned", run, plan: made, actor: actor() }, clock.now());
    desk.heard(event, fold([event])!);
    const previewed = new Set(made.steps.filter((s) => s.act === "deploy").map((s) => s.id));
    return await go(desk, environment, { run, directory, journal, plan: made, targets, lease, previewed });
  } finally {
    await lease.release();
  }
}

/** Goes on with a run that was left or cut off, in the order that "dead is not quiet" asks for. */
export async function resume(desk: Desk, environment: Environment, run: RunId): Promise<Carried> {
  const { project } = desk;
  const lease = await acquireLease(environmentDirectory(project.root, environment.name), { run });
  try {
    const directory = runDirectory(project.root, environment.name, run);
    const journal = await openJournal(directory, { redact: (fact) => desk.redact.json(fact) });
    const state = fold(journal.events);
    if (!state) throw new Error(`the journal in ${directory} is empty`);
    desk.say(`Going on with run ${run} on ${environment.name} (\`npm run ${state.plan.request}\`).`);
    // A dead driver's engine may still be changing the world: first it ends, then its lock may go.
    await endOrphans(run);
    const services = project.pipeline.services.filter((s) =>
      state.plan.targets.some((t) => t.service === s.name),
    );
    const targets = await targetsOf(project, environment, services);
    const ctx = contextOf(desk, run, lease);
    for (const [key, target] of targets) if (wasApplying(state, key)) await target.recover(ctx);
    return await go(desk, environment, {
      run,
      directory,
      journal,
      plan: state.plan,
      targets,
      lease,
      previewed: new Set(),
    });
  } finally {
    await lease.release();
  }
}

/** The run of an environment that has not ended, if there is one. */
export async function openRun(
  desk: Pick<Desk, "project">,
  environment: string,
): Promise<{ run: RunId; request: string; state: RunState; directory: string } | undefined> {
  for (const { run, directory } of await listRuns(desk.project.root, environment)) {
    const state = fold((await readJournal(directory)).events);
    // A journal whose first line was torn never began: nothing was done in its name.
    if (!state) continue;
    // Runs of an environment never overlap, so only the newest can be open.
    return state.phase === "done" ? undefined : { run, request: state.plan.request, state, directory };
  }
  return undefined;
}

/** Who is at the keyboard: shown, never verified. */
export function actor(): string {
  return `${userInfo().username}${process.env.CI ? " (CI)" : ""}`;
}

interface Going {
  run: RunId;
  directory: string;
  journal: Journal;
  plan: Plan;
  targets: ReadonlyMap<string, Target>;
  lease: Lease;
  previewed: Set<string>;
}

async function go(desk: Desk, environment: Environment, going: Going): Promise<Carried> {
  const { run, directory, journal, plan, targets, lease, previewed } = going;
  const notify = announcer(desk, environment, run, lease);
  try {
    const ending = await drive({
      plan,
      environment,
      targets,
      journal,
      clock,
      fence: { run, token: lease.token },
      log: desk.say,
      heard: (event, state) => {
        desk.heard(event, state);
        notify.tell(event, state);
      },
      progress: desk.progress,
      inbox: {
        read: async () =>
          (await readInbox(directory)).messages.map(({ name, ...message }) => ({ name, message })),
        drop: (name) => removeMessage(directory, name),
      },
      keep: (target, lines) => keepLines(desk, directory, target, lines),
      leave: desk.leave,
      now: desk.now,
      ...(desk.patience !== undefined && { patience: desk.patience }),
      previewed,
    });
    return { environment: environment.name, run, directory, events: journal.events, ...ending };
  } finally {
    await notify.done();
    await journal
      .close()
      .catch((e) => desk.say(`the journal did not close: ${e instanceof Error ? e.message : e}`));
  }
}

// A failing notifier is logged, it never fails a run; a slow one is waited for at the end only.
function announcer(desk: Desk, environment: Environment, run: RunId, lease: Lease) {
  const ctx = contextOf(desk, run, lease, new AbortController().signal);
  let last: Promise<unknown> = Promise.resolve();
  return {
    tell(event: JournalEvent, state: RunState) {
      for (const notifier of environment.notify ?? [])
        last = last
          .then(() => notifier.notify(desk.redact.json(event), state, ctx))
          .catch((e) => desk.say(`${notifier.id} was not told: ${e instanceof Error ? e.message : e}`));
    },
    done: () => last,
  };
}

async function keepLines(
  desk: Desk,
  directory: string,
  target: string,
  lines: readonly string[],
): Promise<void> {
  const folder = join(directory, "logs");
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const text = lines.map((line) => `${desk.redact(line)}\n`).join("");
  await writeFile(join(folder, `${target}.log`), text, { mode: 0o600 });
}

function contextOf(desk: Desk, run: RunId, lease: Lease, signal = desk.leave): Context {
  return { signal, now: clock.now, log: desk.say, fence: { run, token: lease.token } };
}

async function targetsOf(project: Project, environment: Environment, services: readonly Service[]) {
  const targets = new Map<string, Target>();
  for (const service of services)
    targets.set(
      keyOf(project.pipeline, service, environment.name),
      await project.target(service, environment),
    );
  return targets;
}

/** What is declared, once it is sure that the world is the same and nobody else is at work on it. */
async function look(target: Target, ctx: Context): Promise<Handle | undefined> {
  const { declared, drift } = await target.observe(ctx);
  if (declared?.run) throw RunElsewhere(target.key, declared.run, ctx.fence.run);
  if (drift.length > 0) throw WorldMoved(target.key, drift.join("; "));
  return declared;
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
async function preview(
  made: Plan,
  aims: readonly Aim[],
  targets: ReadonlyMap<string, Target>,
  run: RunId,
  ctx: Context,
) {
  const moving: Aim[] = [];
  const previews = new Map<string, Record<string, number>>();
  for (const a of aims) {
    const place = made.targets.find((t) => t.key === a.key)!;
    const step = made.steps.find((s) => s.target === a.key && s.act === "deploy")!;
    const by = { run, step: step.id };
    const want = wanted(a.declared, place, step, { by, at: ctx.now(), release: made.release })!;
    const seen = await targets.get(a.key)!.preview({ want, expect: a.declared?.generation ?? 0, by }, ctx);
    const live = a.declared?.live && a.declared.slots[a.declared.live];
    const next = seen.handle.slots[place.to];
    if (live && live.pin.artifact === next?.pin.artifact && live.hash === next.hash) continue;
    moving.push(a);
    previews.set(a.key, seen.changes);
  }
  return { moving, previews };
}

/** Whether an engine may have been at work on the target when the run was cut off. */
function wasApplying(state: RunState, key: string): boolean {
  const target = state.targets[key];
  if (!target) return false;
  if (state.phase === "down") return target.touched && !target.restored;
  return Object.entries(target.steps).some(
    ([id, s]) =>
      s.status === "started" && ["deploy", "shift", "adopt", "settle"].includes(stepOf(state.plan, id).act),
  );
}

export type { Outcome };
