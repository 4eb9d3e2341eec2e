import { parseArtifact } from "../../components/handle";
import { storeArtifact } from "../../components/local/artifact";
import { checkSource } from "../../components/local/origin";
import type { Service } from "../../components/release";
import { MixedRelease, NothingLive, UnprovenSource } from "../core/errors";
import type { Handle, Pin, Release } from "../core/model";
import { PARALLEL, release } from "../core/plan";
import type { Context } from "../core/ports";
import { commitOf } from "./commit";
import { pool } from "./pool";
import type { Project } from "./project";
import type { Environment } from "./run";

/** Makes a release from the services' sources: each artifact is stored once, by its content, and named by that or its commit. */
export async function build(
  services: readonly Service[],
  root: string,
  options: { signal: AbortSignal; log(line: string): void },
): Promise<Release> {
  const pins: Record<string, Pin> = {};
  const checkout = await commitOf(root);
  // All of them before the first is made: a build may take minutes.
  for (const { name, source } of services) checkSource(source, `stacks/services.ts, service ${name}`);
  for (const service of services) {
    const { artifact } = await storeArtifact(service.source, { ...options, root });
    const { kind, digest } = parseArtifact(artifact);
    const url = kind === "git" && "git" in service.source ? service.source.git : undefined;
    pins[service.name] = {
      artifact,
      version: digest.slice(0, 12),
      commit: kind === "git" ? digest : checkout,
      repository: service.repository ?? url,
      at: new Date().toISOString(),
    };
  }
  return release(pins);
}

/** What an environment declares, service by service. */
export type Declared = ReadonlyMap<string, Handle | undefined>;

/** Asks the stacks what they declare, several at a time. */
export async function declaredIn(
  project: Pick<Project, "target">,
  environment: Environment,
  services: readonly Service[],
  ctx: Context,
): Promise<Declared> {
  const entries = await pool(services, environment.maxParallel ?? PARALLEL, async (service) => {
    const target = await project.target(service, environment);
    return [service.name, (await target.observe(ctx)).declared] as const;
  });
  return new Map(entries);
}

/**
 * The release that an environment proved. Throws `nothing-live`, `unproven-source`, `mixed-release`; with
 * `unproven` it takes whatever is live.
 */
export function proved(from: string, declared: Declared, unproven: boolean): Release {
  const pins: Record<string, Pin> = {};
  const releases = new Set<string>();
  for (const [service, handle] of declared) {
    const live = handle?.live && handle.slots[handle.live];
    if (!live) throw NothingLive(from);
    const proof = handle.proved;
    const holds = proof?.artifact === live.pin.artifact && proof.settings === live.hash && !handle.run;
    if (!holds && !unproven) throw UnprovenSource(from, live.pin.artifact);
    pins[service] = live.pin;
    releases.add(proof?.release ?? "");
  }
  const whole = release(pins);
  // Services proved apart were never proved together. A release that left some of them as they were names all.
  if (releases.size > 1 && !releases.has(whole.id) && !unproven) throw MixedRelease(from, [...releases]);
  return whole;
}
