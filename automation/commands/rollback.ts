import type { Filled } from "../../components/handle";
import { NothingPrevious } from "../core/errors";
import type { Pin } from "../core/model";
import { release } from "../core/plan";
import { blueGreen } from "../core/strategies";
import { type Carried, carry, type Desk, keeps, openRun, resume } from "../engine/carry";
import { former } from "../engine/past";
import { environmentOf, servicesOf } from "../engine/pipeline";
import { looking } from "../engine/project";
import { type Declared, declaredIn } from "../engine/source";
import { abort } from "./abort";

/**
 * What was live before the release that is live now, for the services that it brought: one that it left as it was
 * has nothing to go back from.
 */
function previous(name: string, desk: Desk, declared: Declared): Map<string, Filled> {
  const proofs = [...declared.values()].flatMap((handle) => handle?.proved ?? []);
  const run = proofs.sort((a, b) => b.at.localeCompare(a.at))[0]?.run;
  const found = new Map<string, Filled>();
  for (const [service, handle] of declared) {
    if (handle?.proved?.run !== run) continue;
    if (handle?.previous) found.set(service, handle.previous);
    else desk.say(`${service} had nothing before this release in ${name}, so it stays.`);
  }
  if (found.size === 0) throw NothingPrevious(name);
  return found;
}

/**
 * Takes an environment back to the release that was live before, or to the one that is named, with the settings it had. An open run is
 * rolled back instead: that is the quickest way to what was there before.
 */
export async function rollback(
  name: string,
  desk: Desk,
  options: { service?: string | undefined; to?: string | undefined } = {},
): Promise<{
  ended: Carried /** An open run was ended, and the environment is as before it. */;
  undone: boolean;
}> {
  const { pipeline } = desk.project;
  const environment = environmentOf(pipeline, name);
  const { service, to } = options;
  const request = `rollback -- ${name}${service ? ` --service ${service}` : ""}${to ? ` --to ${to}` : ""}`;
  const services = servicesOf(pipeline, service);
  // First of all: what can't be gone back to must not cost an open run.
  const named = to === undefined ? undefined : await former(desk.project.root, name, services, to);
  const open = await openRun(desk, name);
  if (open) {
    const ended = open.request.startsWith("rollback")
      ? // The way back is never itself taken back: it is finished first.
        await resume(desk, environment, open.run)
      : await abort(name, desk, "rollback was asked for");
    if (open.request === request) return { ended, undone: false };
    if (ended.left !== "finished" || ended.outcome === "stuck") return { ended, undone: false };
    // Past the point of no return it could only be finished, as a wave may be: then that is what is to be left.
    const isLive = ended.outcome === "promoted" || keeps(ended);
    if (!isLive && !named) return { ended, undone: true };
  }
  const strategy = environment.strategy.mode === "in-place" ? environment.strategy : blueGreen();
  const pins: Record<string, Pin> = {};
  const settings = new Map<string, Pick<Filled, "settings" | "hash">>();
  const declared = await declaredIn(desk.project, environment, services, looking(desk.say, desk.leave));
  // A run whose journal is not on this machine.
  if (!open && [...declared.values()].some((handle) => handle?.run)) {
    const ended = await abort(name, desk, "rollback was asked for");
    if (!named) return { ended, undone: true };
  }
  const before = named ?? previous(name, desk, declared);
  for (const [service, { pin, ...frozen }] of before) {
    pins[service] = pin;
    settings.set(service, frozen);
  }
  const cargo = {
    request,
    release: release(pins),
    services: services.filter((s) => before.has(s.name)),
    settings,
    strategy,
  };
  const ended = await carry(desk, environment, { ...cargo, direct: true, dryRun: false });
  return { ended, undone: false };
}
