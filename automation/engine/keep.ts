import type { By, Handle, Wanted } from "../../components/handle";
import type { RunId } from "../core/model";
import type { Context, Target } from "../core/ports";
import type { Lease } from "./lease";

/**
 * Ends what the stacks know of a run without going on with it: what a handle calls live stays, gets all traffic,
 * and the other slot is emptied. Answers with the runs that were open: `run` alone where one is named.
 */
export async function keepLive(
  targets: Iterable<Target>,
  lease: Lease,
  ctx: Omit<Context, "fence">,
  run?: RunId,
): Promise<RunId[]> {
  const ended: RunId[] = [];
  for (const target of targets) {
    const { declared } = await target.observe({ ...ctx, fence: { run: run ?? "", token: lease.token } });
    if (!declared?.run || (run !== undefined && declared.run !== run)) continue;
    const by = { run: declared.run, step: `restore:${target.key}` };
    ctx.log(
      `Run ${declared.run} is open on ${target.key}: keeping ${declared.live ?? "nothing, as before"}.`,
    );
    const change = { want: home(declared, by), expect: declared.generation, by, unguarded: true };
    await target.apply(change, { ...ctx, fence: { run: declared.run, token: lease.token } });
    ended.push(declared.run);
  }
  return ended;
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
