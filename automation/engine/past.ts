import type { Filled } from "../../components/handle";
import type { Service } from "../../components/release";
import { UnknownRelease, WrongUse } from "../core/errors";
import { fold, type RunState } from "../core/events";
import { readJournal } from "./journal";
import { listRuns } from "./runs";

/**
 * What a release of the past ran with, service by service, from the journals of this checkout. A service that the
 * release left as it was has what an earlier one brought.
 */
export async function former(
  root: string,
  name: string,
  services: readonly Service[],
  to: string,
): Promise<Map<string, Filled>> {
  const past = await promoted(root, name);
  const chosen = past.filter((state) => isCalled(state, to));
  const ids = new Set(chosen.map((state) => state.plan.release));
  const known = [...new Set(past.map((state) => state.plan.release.slice(0, 12)))];
  if (ids.size === 0) throw UnknownRelease(name, to, known.slice(0, 5));
  if (ids.size > 1)
    throw WrongUse(`"${to}" could be ${[...ids].map((id) => id.slice(0, 12)).join(" or ")} in ${name}`);
  const at = past.indexOf(chosen[0]!);
  const found = new Map<string, Filled>();
  for (const { name: service } of services) {
    const pin = chosen[0]!.plan.pins[service];
    // A release of one service says nothing of the others.
    if (!pin) continue;
    const brought = past.slice(at).flatMap((state) => filledBy(state, service));
    const filled = brought.find((one) => one.pin.artifact === pin.artifact);
    if (!filled) throw UnknownRelease(name, `${to} of ${service}`, known.slice(0, 5));
    found.set(service, filled);
  }
  return found;
}

/** The finished runs that brought a release, newest first. */
async function promoted(root: string, environment: string): Promise<RunState[]> {
  const found: RunState[] = [];
  for (const { directory } of await listRuns(root, environment)) {
    // One damaged journal must not take the way back from all the others.
    const read = await readJournal(directory).catch(() => undefined);
    const state = read && fold(read.events);
    if (state?.outcome === "promoted") found.push(state);
  }
  return found;
}

function isCalled({ plan, run }: RunState, to: string): boolean {
  const pins = Object.values(plan.pins);
  const long = to.length >= 6;
  return (
    run === to ||
    (long && plan.release.startsWith(to)) ||
    pins.some((pin) => pin.version === to || (long && pin.commit?.startsWith(to)))
  );
}

function filledBy({ plan, targets }: RunState, service: string): Filled[] {
  return plan.targets.flatMap(({ key, to, service: of }) => {
    const filled = of === service && targets[key]?.handle?.slots[to];
    return filled ? [filled] : [];
  });
}
