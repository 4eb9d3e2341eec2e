import { setTimeout as wait } from "node:timers/promises";
import type { By, Handle, Wanted } from "../../components/handle";
import { NoRunOpen } from "../core/errors";
import { fold } from "../core/events";
import { actor, type Carried, type Desk, openRun, resume } from "../engine/carry";
import { drop } from "../engine/inbox";
import { readJournal } from "../engine/journal";
import { acquireLease, leaseHolder } from "../engine/lease";
import { environmentOf } from "../engine/pipeline";
import { looking } from "../engine/project";
import type { Environment } from "../engine/run";
import { environmentDirectory } from "../engine/runs";

/**
 * Ends the open run of an environment by rolling it back. Where a process drives it, that one is told and
 * watched; where none does, this one goes on with it.
 */
export async function abort(name: string, desk: Desk, reason?: string): Promise<Carried> {
  const environment = environmentOf(desk.project.pipeline, name);
  const open = await openRun(desk, name);
  if (!open) return forsake(environment, desk);
  await drop(open.directory, { kind: "abort", who: actor(), at: Date.now(), reason });
  for (;;) {
    const holder = await leaseHolder(environmentDirectory(desk.project.root, name));
    if (!holder) return resume(desk, environment, open.run);
    desk.say(
      `Run ${open.run} is driven by ${holder.user} on ${holder.host} (pid ${holder.pid}): asked it to roll back.`,
    );
    const ended = await watch(
      open.directory,
      () => leaseHolder(environmentDirectory(desk.project.root, name)),
      desk.leave,
    );
    if (ended) return { environment: name, run: open.run, events: ended.events, ...ended.ending };
    if (desk.leave.aborted)
      return { environment: name, run: open.run, left: "paused", reason: "it was told, but not awaited" };
    // The driver left without ending the run, so this process takes over.
  }
}

/** Waits until the run has ended, or nobody drives it any more. */
async function watch(directory: string, holder: () => Promise<unknown>, leave: AbortSignal) {
  while (!leave.aborted) {
    const held = await holder();
    const { events } = await readJournal(directory);
    const state = fold(events);
    if (state?.phase === "done" && state.outcome)
      return {
        events,
        ending: { left: "finished" as const, outcome: state.outcome, reason: state.reason ?? "" },
      };
    if (!held) return undefined;
    await wait(200);
  }
  return undefined;
}

/**
 * Ends a run that only the stacks still know of: its journal is lost, or was damaged and moved away. What the
 * handle calls live stays, gets all traffic, and the other slot is emptied.
 */
async function forsake(environment: Environment, desk: Desk): Promise<Carried> {
  const { project } = desk;
  const { name } = environment;
  const lease = await acquireLease(environmentDirectory(project.root, name));
  try {
    let found: string | undefined;
    for (const service of project.pipeline.services) {
      const target = await project.target(service, environment);
      const ctx = looking(desk.say, desk.leave);
      const { declared } = await target.observe(ctx);
      if (!declared?.run) continue;
      found = declared.run;
      desk.say(
        `Run ${found} is open on ${target.key}, and nothing here knows more of it: keeping what is live.`,
      );
      const by = { run: found, step: `restore:${target.key}` };
      const change = { want: home(declared, by), expect: declared.generation, by, unguarded: true };
      await target.apply(change, { ...ctx, fence: { run: found, token: lease.token } });
    }
    if (!found) throw NoRunOpen(name);
    const reason = `run ${found} was ended without its journal; what the handle called live was kept`;
    return await desk.ended({ environment: name, left: "finished", outcome: "rolled-back", reason });
  } finally {
    await lease.release();
  }
}

/** The handle with its live slot alone, and no run. */
function home(declared: Handle, by: By): Wanted {
  const { local: _platformsOwn, live, ...rest } = declared;
  const kept = live && declared.slots[live];
  return {
    ...rest,
    live,
    slots: live && kept ? { [live]: kept } : {},
    split: { blue: live === "blue" ? 100 : 0, green: live === "green" ? 100 : 0 },
    run: undefined,
    generation: declared.generation + 1,
    by,
  };
}
