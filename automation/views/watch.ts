import { setTimeout as wait } from "node:timers/promises";
import {
  type EnvironmentStatus,
  type Looker,
  status,
  statusChanges,
  statusLines,
  type TargetStatus,
} from "../commands/status";
import type { Printer } from "./printer";

/** Milliseconds between two looks at the journals. */
const LOOK = 1000;
/** Milliseconds after which stacks and platforms are asked again although no run did anything. */
const STALE = 15_000;

/** Shows the status until somebody has seen enough: `q`, or Ctrl-C. */
export async function watch(
  names: readonly string[],
  desk: Looker,
  out: Pick<Printer, "board" | "ask" | "show">,
  every = LOOK,
): Promise<void> {
  const enough = new AbortController();
  const stop = () => enough.abort();
  desk.leave.addEventListener("abort", stop);
  void out.ask("q ends it", "q", enough.signal).then((key) => key && stop());
  const calm: Looker = { ...desk, leave: enough.signal };
  try {
    let seen = await status(names, calm);
    let asked = Date.now();
    while (!enough.signal.aborted && !desk.leave.aborted) {
      out.board("status", seen, statusLines, statusChanges);
      await wait(every, undefined, { signal: enough.signal }).catch(() => undefined);
      if (enough.signal.aborted) break;
      const stale = Date.now() - asked > STALE;
      const next = await status(names, calm, stale ? new Map() : targetsOf(seen));
      const moved = next.filter((e, i) => trace(e) !== trace(seen[i])).map((e) => e.environment);
      seen = moved.length === 0 ? next : await status(names, calm, targetsOf(next, new Set(moved)));
      if (stale) asked = Date.now();
    }
    out.show("status", seen, statusLines);
  } finally {
    desk.leave.removeEventListener("abort", stop);
    stop();
  }
}

function targetsOf(
  all: readonly EnvironmentStatus[],
  but: ReadonlySet<string> = new Set(),
): Map<string, TargetStatus[]> {
  return new Map(all.flatMap((e) => (but.has(e.environment) ? [] : [[e.environment, e.targets]])));
}

/** What a run did that a stack or a platform would show: other acts, or another way. */
function trace(e: EnvironmentStatus | undefined): string {
  const { run } = e ?? {};
  return JSON.stringify([
    run?.id,
    run?.phase,
    run?.paused,
    run?.doing.map((d) => d.replace(/, for .*$/, "")),
  ]);
}
