import { NothingLive, OtherRunOpen } from "../core/errors";
import type { Pin } from "../core/model";
import { release } from "../core/plan";
import { type Carried, carry, type Desk, openRun, resume } from "../engine/carry";
import { environmentOf, servicesOf } from "../engine/pipeline";
import { looking } from "../engine/project";
import { declaredIn } from "../engine/source";

/** Takes today's settings through the environment's own strategy, with the artifact that is live. */
export async function redeploy(name: string, desk: Desk, service?: string): Promise<Carried> {
  const { pipeline } = desk.project;
  const environment = environmentOf(pipeline, name);
  const request = `redeploy -- ${name}${service ? ` --service ${service}` : ""}`;
  const open = await openRun(desk, name);
  if (open && open.request !== request) throw OtherRunOpen(name, open.run, open.request);
  if (open) return resume(desk, environment, open.run);
  const services = servicesOf(pipeline, service);
  const pins: Record<string, Pin> = {};
  const ctx = looking(desk.say, desk.leave);
  for (const [service, handle] of await declaredIn(desk.project, environment, services, ctx)) {
    const live = handle?.live && handle.slots[handle.live];
    if (!live) throw NothingLive(name);
    pins[service] = live.pin;
  }
  return carry(desk, environment, { request, release: release(pins), services, dryRun: false });
}
