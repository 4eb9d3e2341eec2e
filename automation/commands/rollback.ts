import type { Filled } from "../../components/handle";
import { NothingPrevious } from "../core/errors";
import type { Pin } from "../core/model";
import { release } from "../core/plan";
import { blueGreen } from "../core/strategies";
import { type Carried, carry, type Desk, openRun, resume } from "../engine/carry";
import { environmentOf, servicesOf } from "../engine/pipeline";
import { looking } from "../engine/project";
import { abort } from "./abort";

/**
 * Takes an environment back to the release that was live before, with the settings it had. An open run is
 * rolled back instead: that is the quickest way to what was there before.
 */
export async function rollback(
  name: string,
  desk: Desk,
  service?: string,
): Promise<{
  ended: Carried /** An open run was ended, and the environment is as before it. */;
  undone: boolean;
}> {
  const { pipeline } = desk.project;
  const environment = environmentOf(pipeline, name);
  const request = `rollback -- ${name}${service ? ` --service ${service}` : ""}`;
  const open = await openRun(desk, name);
  if (open?.request === request) return { ended: await resume(desk, environment, open.run), undone: false };
  if (open) {
    const ended = await abort(name, desk, "rollback was asked for");
    const isLive = ended.left === "finished" && ended.outcome === "promoted";
    // Past the point of no return it could only be finished: then its release is what is to be left.
    if (!isLive) return { ended, undone: ended.left === "finished" && ended.outcome !== "stuck" };
  }
  const services = servicesOf(pipeline, service);
  const pins: Record<string, Pin> = {};
  const settings = new Map<string, Pick<Filled, "settings" | "hash">>();
  for (const s of services) {
    const target = await desk.project.target(s, environment);
    const { declared } = await target.observe(looking(desk.say, desk.leave));
    if (!declared?.previous) throw NothingPrevious(name);
    const { pin, ...frozen } = declared.previous;
    pins[s.name] = pin;
    settings.set(s.name, frozen);
  }
  const cargo = { request, release: release(pins), services, settings, strategy: blueGreen() };
  const ended = await carry(desk, environment, { ...cargo, direct: true, dryRun: false });
  return { ended, undone: false };
}
