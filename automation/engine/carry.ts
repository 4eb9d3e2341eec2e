import { mkdir, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { BadConfig } from "../../components/errors";
import type { Service } from "../../components/release";
import { OtherRunOpen } from "../core/errors";
import { evolve, fold, type JournalEvent, keeping, type RunState, stepOf } from "../core/events";
import { APPLIES, fills, type Plan, type RunId } from "../core/model";
import type { Context, Target } from "../core/ports";
import { clock } from "./clock";
import { note } from "./diary";
import { drive, type Ending } from "./drive";
import { readInbox, removeMessage } from "./inbox";
import { createJournal, type Journal, openJournal, readJournal } from "./journal";
import { acquireLease, type Lease, whoami } from "./lease";
import { openLedger } from "./ledger";
import { endOrphans } from "./orphans";
import { keyOf } from "./pipeline";
import { ask, type Cargo, prepare } from "./prepare";
import type { Project } from "./project";
import { prompter } from "./questions";
import type { Redactor } from "./redact";
import type { Environment } from "./run";
import { environmentDirectory, listRuns, newRunId, runDirectory } from "./runs";

/** Milliseconds that notifiers may still take once a run has been left. */
const NOTIFY_MS = 30_000;

/** What a command works at: the project, and how it speaks and is spoken to. */
export interface Desk {
  project: Project;
  say(line: string): void;
  /** Hears every event of a run as it becomes durable. */
  heard(event: JournalEvent, state: RunState): void;
  /** How a long act is coming on. */
  progress(step: string, text: string): void;
  /** Shows the plan of a dry run. */
  plan(plan: Plan, previews: ReadonlyMap<string, Record<string, number>>, answers: readonly string[]): void;
  leave: AbortSignal;
  now: AbortSignal;
  /** Milliseconds a run may wait here; longer ones are paused. */
  patience?: number | undefined;
  redact: Redactor;
  /** Asks who sits at the terminal for one of these keys. @default nobody is asked */
  ask?: ((question: string, keys: string, signal: AbortSignal) => Promise<string | undefined>) | undefined;
  /** Hears the last lines of a slot that failed. */
  kept?: ((target: string, lines: readonly string[]) => void) | undefined;
  /** Hears how each run ended, before the next begins: reports it, and gives it back. */
  ended(carried: Carried): Promise<Carried>;
  /** Whether a run is under way: what an error or a signal means depends on it. */
  driving: boolean;
}

/** How carrying a release into one environment ended. */
export type Carried = {
  environment: string;
  run?: RunId;
  directory?: string;
  events?: readonly JournalEvent[];
} & (Ending | { left: "nothing"; reason: string } | { left: "planned"; plan: Plan });

/** Whether waves that were through before it failed keep the release. */
export function keeps({ events }: Carried): boolean {
  const state = events && fold(events);
  return state !== undefined && keeping(state).length > 0;
}

/** Plans, and unless it is a dry run drives: the whole way of one release into one environment. */
export async function carry(desk: Desk, environment: Environment, cargo: Cargo): Promise<Carried> {
  const lease = await acquireLease(environmentDirectory(desk.project.root, environment.name));
  try {
    // Another process may have begun one and left it since it was looked for.
    const open = await openRun(desk, environment.name);
    if (open) throw OtherRunOpen(environment.name, open.run, open.request);
    const [newest] = await listRuns(desk.project.root, environment.name);
    const run = newRunId(clock.now(), newest?.run);
    await lease.name(run);
    const targets = await targetsOf(desk.project, environment, cargo.services);
    const prepared = await prepare(environment, cargo, targets, contextOf(desk, run, lease));
    if (!prepared)
      return await desk.ended({
        environment: environment.name,
        left: "nothing",
        reason: `${environment.name} runs this release already`,
      });
    for (const warning of prepared.warnings) desk.say(`Note for ${warning}`);
    if (!cargo.dryRun) return await begin(desk, environment, { run, lease, targets, plan: prepared.plan });
    const answers = await ask(prepared.plan, environment, contextOf(desk, run, lease));
    desk.plan(prepared.plan, prepared.previews, answers);
    return await desk.ended({ environment: environment.name, left: "planned", plan: prepared.plan });
  } finally {
    await lease.release();
  }
}

async function begin(
  desk: Desk,
  environment: Environment,
  run: Pick<Going, "run" | "lease" | "plan" | "targets">,
): Promise<Carried> {
  const directory = runDirectory(desk.project.root, environment.name, run.run);
  const journal = await createJournal(directory, { redact: (fact) => desk.redact.json(fact) });
  const planned = { type: "run.planned" as const, run: run.run, plan: run.plan, actor: actor() };
  const event = await journal.append(planned, clock.now());
  desk.heard(event, evolve(undefined, event));
  const previewed = new Set(run.plan.steps.filter((s) => fills(s)).map((s) => s.id));
  return go(desk, environment, { ...run, directory, journal, previewed });
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
    saying(
      desk,
      directory,
    )(`Going on with run ${run} on ${environment.name} (\`npm run ${state.plan.request}\`).`);
    // A dead driver's engine may still be changing the world: first it ends, then its lock may go.
    await endOrphans(run);
    const services = project.pipeline.services.filter((s) =>
      state.plan.targets.some((t) => t.service === s.name),
    );
    const targets = await targetsOf(project, environment, services);
    const gone = state.plan.targets.find((t) => !targets.has(t.key));
    if (gone)
      throw BadConfig("stacks/services.ts", `run ${run} works on ${gone.key}, which it no longer has`);
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
  return `${whoami()}@${hostname()}${process.env.CI ? " (CI)" : ""}`;
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
  const say = saying(desk, directory);
  const notify = announcer(
    { ...contextOf(desk, run, lease, new AbortController().signal), log: say },
    desk,
    environment,
  );
  const people = prompter(desk, environment, directory);
  // Not reset where it throws: the error is of a run that has begun.
  desk.driving = true;
  try {
    const ending = await drive({
      plan,
      environment,
      targets,
      journal,
      clock,
      fence: { run, token: lease.token },
      log: say,
      heard: (event, state) => {
        desk.heard(event, state);
        notify.tell(event, state);
        people.look(state);
      },
      progress: desk.progress,
      inbox: {
        read: async () =>
          (await readInbox(directory)).messages.map(({ name, ...message }) => ({ name, message })),
        drop: (name) => removeMessage(directory, name),
      },
      ledger: openLedger(environmentDirectory(desk.project.root, environment.name)),
      keep: (target, lines) => keepLines(desk, directory, target, lines),
      leave: desk.leave,
      now: desk.now,
      ...(desk.patience !== undefined && { patience: desk.patience }),
      previewed,
    });
    desk.driving = false;
    return await desk.ended({
      environment: environment.name,
      run,
      directory,
      events: journal.events,
      ...ending,
    });
  } finally {
    people.end();
    await notify.done();
    await journal
      .close()
      .catch((e) => say(`the journal did not close: ${e instanceof Error ? e.message : e}`));
  }
}

// A failing notifier is logged, it never fails a run; a slow one is waited for at the end only.
function announcer(ctx: Context, desk: Desk, environment: Environment) {
  let last: Promise<unknown> = Promise.resolve();
  return {
    tell(event: JournalEvent, state: RunState) {
      for (const notifier of environment.notify ?? [])
        last = last
          .then(() => notifier.notify(desk.redact.json(event), state, ctx))
          .catch((e) => ctx.log(`${notifier.id} was not told: ${e instanceof Error ? e.message : e}`));
    },
    // One that never answers must not keep the run's end from being told.
    done: () => Promise.race([last, clock.sleep(NOTIFY_MS)]),
  };
}

/** Says it, and keeps what was said beside the journal. */
function saying(desk: Desk, directory: string): (line: string) => void {
  return (line) => {
    note(directory, desk.redact(line), clock.now());
    desk.say(line);
  };
}

async function keepLines(
  desk: Desk,
  directory: string,
  target: string,
  lines: readonly string[],
): Promise<void> {
  desk.kept?.(target, lines.map(desk.redact));
  const folder = join(directory, "logs");
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const text = lines.map((line) => `${desk.redact(line)}\n`).join("");
  await writeFile(join(folder, `${target}.log`), text, { mode: 0o600 });
}

function contextOf(desk: Desk, run: RunId, lease: Lease, signal = desk.leave): Context {
  return { signal, now: clock.now, log: desk.say, fence: { run, token: lease.token } };
}

/** The targets of an environment, by key. */
export async function targetsOf(project: Project, environment: Environment, services: readonly Service[]) {
  const targets = new Map<string, Target>();
  for (const service of services)
    targets.set(
      keyOf(project.pipeline, service, environment.name),
      await project.target(service, environment),
    );
  return targets;
}

/** Whether an engine may have been at work on the target when the run was cut off. */
export function wasApplying(state: RunState, key: string): boolean {
  const target = state.targets[key];
  if (!target) return false;
  if (state.phase === "down") return target.touched && !target.restored;
  return Object.entries(target.steps).some(
    ([id, s]) => s.status === "started" && APPLIES.has(stepOf(state.plan, id).act),
  );
}
