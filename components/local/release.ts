import { join } from "node:path";
import { all, type Output } from "@pulumi/pulumi/output";
import { ComponentResource, type ComponentResourceOptions, type Resource } from "@pulumi/pulumi/resource";
import { BadConfig } from "../errors";
import { type Handle, type LocalFields, SLOTS, type Slot } from "../handle";
import { checkOptions, type LocalOptions } from "./options";
import { LocalRoute, type LocalRouteArgs, LocalSlot, type LocalSlotArgs } from "./provider";

/** Changes the arguments of a release's children before they are declared. */
export interface LocalTransform {
  slot?: ((args: LocalSlotArgs) => LocalSlotArgs) | undefined;
  route?: ((args: LocalRouteArgs) => LocalRouteArgs) | undefined;
}

/** What the embedded platform's release is made from. */
export interface LocalReleaseArgs {
  handle: Handle;
  /** Changes the service although a run is open. @default false */
  force?: boolean | undefined;
  /** How its requests are treated. @default as documented */
  options?: LocalOptions | undefined;
  /** @default none */
  transform?: LocalTransform | undefined;
}

/** The state directory of the supervisor that serves a project. */
export function stateDirectory(root: string): string {
  return join(root, ".sluice", "local");
}

/** What the embedded platform adds to a handle. */
export function localFields(root: string, service: string, environment: string, port: number): LocalFields {
  return {
    directory: stateDirectory(root),
    name: `${service}.${environment}`,
    url: `http://127.0.0.1:${port}`,
  };
}

/**
 * A service on the embedded platform: two slots and one weighted route.
 *
 * A slot is filled before the route may send it traffic, and the route has left a slot before that is
 * emptied: so the route depends on the filled slots, and the empty ones depend on the route.
 */
export class LocalRelease extends ComponentResource {
  /** Identifiers of all resources; unresolved for ever where one failed. */
  readonly children: Output<string[]>;

  constructor(name: string, args: LocalReleaseArgs, opts?: ComponentResourceOptions) {
    super("sluice:local:Release", name, {}, opts);
    const { handle, options, transform = {} } = args;
    const service = { ...serviceOf(name, handle), ...(args.force && { force: true }) };
    const createSlot = (slot: Slot, dependsOn: Resource[]) =>
      new LocalSlot(
        `${name}-${slot}`,
        apply(transform.slot, { ...service, slot, fill: fillOf(handle, slot) }),
        { parent: this, dependsOn },
      );

    const filled = SLOTS.filter((slot) => handle.slots[slot]).map((slot) => createSlot(slot, []));
    const route = new LocalRoute(
      `${name}-route`,
      apply(transform.route, {
        ...service,
        split: handle.split,
        live: handle.live ?? null,
        run: handle.run ?? null,
        ...(options && { options: checkOptions(name, options) }),
      }),
      { parent: this, dependsOn: filled },
    );
    const empty = SLOTS.filter((slot) => !handle.slots[slot]).map((slot) => createSlot(slot, [route]));

    this.children = all([this.urn, ...[...filled, route, ...empty].map((child) => child.id)]);
    this.registerOutputs({ children: this.children });
  }
}

function serviceOf(name: string, handle: Handle): { directory: string; name: string; port: number } {
  if (!handle.local)
    throw BadConfig(`release ${name}`, "The handle lacks the fields of the embedded platform.");
  const { directory, name: service, url } = handle.local;
  return { directory, name: service, port: Number(new URL(url).port) };
}

function fillOf(handle: Handle, slot: Slot): LocalSlotArgs["fill"] {
  const filled = handle.slots[slot];
  return filled ? { artifact: filled.pin.artifact, settings: filled.settings, hash: filled.hash } : null;
}

function apply<T>(transform: ((args: T) => T) | undefined, args: T): T {
  return transform ? transform(args) : args;
}
