import { setTimeout as wait } from "node:timers/promises";
import { NoRunOpen } from "../core/errors";
import { fold } from "../core/events";
import { actor, type Carried, type Desk, openRun, resume, targetsOf } from "../engine/carry";
import { drop } from "../engine/inbox";
import { readJournal } from "../engine/journal";
import { keepLive } from "../engine/keep";
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
    if (ended) {
      const { run, directory } = open;
      return desk.ended({ environment: name, run, directory, events: ended.events, ...ended.ending });
    }
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

/** Ends a run that only the stacks still know of: its journal is lost, or was damaged and moved away. */
async function forsake(environment: Environment, desk: Desk): Promise<Carried> {
  const { project } = desk;
  const { name } = environment;
  const lease = await acquireLease(environmentDirectory(project.root, name));
  try {
    const { signal, now, log } = looking(desk.say, desk.leave);
    const targets = await targetsOf(project, environment, project.pipeline.services);
    desk.driving = true;
    const [found] = await keepLive(targets.values(), lease, { signal, now, log }, "proved");
    desk.driving = false;
    if (!found) throw NoRunOpen(name);
    const reason = `run ${found} was ended without its journal; what was proved was kept`;
    return await desk.ended({ environment: name, left: "finished", outcome: "rolled-back", reason });
  } finally {
    await lease.release();
  }
}
