import type { Filled } from "../../components/handle";
import type { Service } from "../../components/release";
import { NothingPrevious } from "../core/errors";
import type { Pin } from "../core/model";
import { release } from "../core/plan";
import { blueGreen } from "../core/strategies";
import { type Carried, carry, type Desk, openRun, resume } from "../engine/carry";
import { former } from "../engine/past";
import { environmentOf, servicesOf } from "../engine/pipeline";
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

/** What was live before what is live now, service by service. */
async function previous(
  name: string,
  desk: Desk,
  services: readonly Service[],
): Promise<Map<string, Filled>> {
  const environment = environmentOf(desk.project.pipeline, name);
  const found = new Map<string, Filled>();
  for (const service of services) {
    const target = await desk.project.target(service, environment);
    const { declared } = await target.observe(looking(desk.say, desk.leave));
    if (!declared?.previous) throw NothingPrevious(name);
    found.set(service.name, declared.previous);
  }
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
  const open = await openRun(desk, name);
  if (open?.request === request) return { ended: await resume(desk, environment, open.run), undone: false };
  if (open) {
    const ended = await abort(name, desk, "rollback was asked for");
    const isLive = ended.left === "finished" && ended.outcome === "promoted";
    // Past the point of no return it could only be finished: then its release is what is to be left.
    if (!isLive) return { ended, undone: ended.left === "finished" && ended.outcome !== "stuck" };
  }
  const services = servicesOf(pipeline, service);
  const strategy = environment.strategy.mode === "in-place" ? environment.strategy : blueGreen();
  const pins: Record<string, Pin> = {};
  const settings = new Map<string, Pick<Filled, "settings" | "hash">>();
  if (!open && (await isTaken(name, desk, services)))
    return { ended: await abort(name, desk, "rollback was asked for"), undone: true };
  const before =
    to === undefined
      ? await previous(name, desk, services)
      : await former(desk.project.root, name, services, to);
  for (const [service, { pin, ...frozen }] of before) {
    pins[service] = pin;
    settings.set(service, frozen);
  }
  const cargo = { request, release: release(pins), services, settings, strategy };
  const ended = await carry(desk, environment, { ...cargo, direct: true, dryRun: false });
  return { ended, undone: false };
}
