import { type By, type Filled, type Handle, SLOTS, type Slot, type Wanted } from "../../components/handle";
import type { RunId } from "../core/model";
import type { Context, Target } from "../core/ports";
import type { Lease } from "./lease";

/**
 * Ends what the stacks know of a run without going on with it. What was proved stays, where it is still there: in a
 * slot, or as what was live before; else, or where somebody answers for it, what the handle calls live. It gets all
 * traffic. Answers with the runs that were open: `run` alone where one is named.
 */
export async function keepLive(
  targets: Iterable<Target>,
  lease: Lease,
  ctx: Omit<Context, "fence">,
  keep: "proved" | "live",
  run?: RunId,
): Promise<RunId[]> {
  const ended: RunId[] = [];
  for (const target of targets) {
    const { declared } = await target.observe({ ...ctx, fence: { run: run ?? "", token: lease.token } });
    if (!declared?.run || (run !== undefined && declared.run !== run)) continue;
    const by = { run: declared.run, step: `keep:${target.key}` };
    const kept = keep === "proved" ? provedIn(declared) : liveIn(declared);
    ctx.log(
      `Run ${declared.run} is open on ${target.key}: keeping ${kept?.filled.pin.artifact ?? "nothing"}.`,
    );
    const change = { want: home(declared, kept, by), expect: declared.generation, by, unguarded: true };
    await target.apply(change, { ...ctx, fence: { run: declared.run, token: lease.token } });
    ended.push(declared.run);
  }
  return ended;
}

interface Kept {
  slot: Slot;
  filled: Filled;
}

function liveIn({ live, slots }: Handle): Kept | undefined {
  const filled = live && slots[live];
  return live && filled ? { slot: live, filled } : undefined;
}

function provedIn(declared: Handle): Kept | undefined {
  const { proved, slots, previous, live } = declared;
  const is = (f: Filled | undefined) => f?.pin.artifact === proved?.artifact && f?.hash === proved?.settings;
  if (!proved) return liveIn(declared);
  for (const slot of SLOTS) {
    const filled = slots[slot];
    if (filled && is(filled)) return { slot, filled };
  }
  // In place it is in no slot any more, but what was replaced is remembered.
  return previous && live && is(previous) ? { slot: live, filled: previous } : liveIn(declared);
}

/** The handle with what is kept alone, and no run. */
function home(declared: Handle, kept: Kept | undefined, by: By): Wanted {
  const { local: _platformsOwn, ...rest } = declared;
  return {
    ...rest,
    live: kept?.slot,
    slots: kept ? { [kept.slot]: kept.filled } : {},
    split: { blue: kept?.slot === "blue" ? 100 : 0, green: kept?.slot === "green" ? 100 : 0 },
    run: undefined,
    generation: declared.generation + 1,
    by,
  };
}
