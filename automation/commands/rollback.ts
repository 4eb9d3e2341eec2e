import type { Filled } from "../../components/handle";
import type { Service } from "../../components/release";
import { NothingPrevious } from "../core/errors";
import { fold } from "../core/events";
import type { Pin } from "../core/model";
import { release } from "../core/plan";
import { blueGreen } from "../core/strategies";
import { type Carried, carry, type Desk, openRun, resume } from "../engine/carry";
import { former } from "../engine/past";
import { environmentOf, servicesOf } from "../engine/pipeline";
import { pool } from "../engine/pool";
import { PARALLEL } from "../engine/prepare";
import { looking } from "../engine/project";
import { abort } from "./abort";

/** Whether a run is open on a stack whose journal is not on this machine. */
async function isTaken(name: string, desk: Desk, services: readonly Service[]): Promise<boolean> {
  const environment = environmentOf(desk.project.pipeline, name);
  for (const service of services) {
    const target = await desk.project.target(service, environment);
    const { declared } = await target.observe(looking(desk.say, desk.leave));
    if (declared?.run) return true;
  }
  return false;
}

/**
 * What was live before the release that is live now, for the services that it brought: one that it left as it was
 * has nothing to go back from.
 */
async function previous(
  name: string,
  desk: Desk,
  services: readonly Service[],
): Promise<Map<string, Filled>> {
  const environment = environmentOf(desk.project.pipeline, name);
  const declared = await pool(services, PARALLEL, async (service) => {
    const target = await desk.project.target(service, environment);
    return { service, handle: (await target.observe(looking(desk.say, desk.leave))).declared };
  });
  const newest = declared.reduce(
    (at, { handle }) => ((handle?.proved?.at ?? "") > at ? (handle?.proved?.at ?? "") : at),
    "",
  );
  const run = declared.find(({ handle }) => handle?.proved?.at === newest)?.handle?.proved?.run;
  const found = new Map<string, Filled>();
  for (const { service, handle } of declared) {
    if (handle?.proved?.run !== run) continue;
    if (handle?.previous) found.set(service.name, handle.previous);
    else desk.say(`${service.name} had nothing before this release in ${name}, so it stays.`);
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
  if (!open && (await isTaken(name, desk, services))) {
    const ended = await abort(name, desk, "rollback was asked for");
    if (!named) return { ended, undone: true };
  }
  const before = named ?? (await previous(name, desk, services));
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

/** Whether waves that were through before it failed keep the release. */
function keeps({ events }: Carried): boolean {
  const state = events && fold(events);
  return Object.values(state?.targets ?? {}).some((target) => target.settled);
}
