import { NoRunOpen, WrongUse } from "../core/errors";
import { fold } from "../core/events";
import { actor, type Carried, type Desk, openRun, targetsOf, wasApplying } from "../engine/carry";
import { openJournal } from "../engine/journal";
import { keepLive } from "../engine/keep";
import { acquireLease } from "../engine/lease";
import { endOrphans } from "../engine/orphans";
import { environmentOf } from "../engine/pipeline";
import { looking } from "../engine/project";
import { environmentDirectory } from "../engine/runs";

/**
 * Writes down that somebody put a run right by hand, and closes it: what the handles call live stays and gets
 * all traffic. Throws `no-run-open`, `run-held`.
 */
export async function resolve(name: string, desk: Desk, reason: string | undefined): Promise<Carried> {
  if (!reason?.trim())
    throw WrongUse("resolve needs --reason: what was done by hand, for whoever reads it later");
  const { project } = desk;
  const environment = environmentOf(project.pipeline, name);
  const open = await openRun(desk, name);
  if (!open) throw NoRunOpen(name);
  const { run, directory } = open;
  const lease = await acquireLease(environmentDirectory(project.root, name), { run });
  try {
    const journal = await openJournal(directory, { redact: (fact) => desk.redact.json(fact) });
    try {
      const state = fold(journal.events) ?? open.state;
      await endOrphans(run);
      const services = project.pipeline.services.filter((s) =>
        state.plan.targets.some((t) => t.service === s.name),
      );
      const targets = await targetsOf(project, environment, services);
      const { signal, now, log } = looking(desk.say, desk.leave);
      for (const [key, target] of targets)
        if (wasApplying(state, key))
          await target.recover({ signal, now, log, fence: { run, token: lease.token } });
      desk.driving = true;
      await keepLive(targets.values(), lease, { signal, now, log }, "live", run);
      const who = actor();
      await journal.append({ type: "run.resolved", who, reason }, now());
      desk.driving = false;
      return await desk.ended({
        environment: name,
        run,
        directory,
        events: journal.events,
        left: "finished",
        outcome: "resolved",
        reason: `${who} (unverified): ${reason}`,
      });
    } finally {
      await journal.close();
    }
  } finally {
    await lease.release();
  }
}
