import { CustomResource, type CustomResourceOptions } from "@pulumi/pulumi/resource";
import type { Slot, SlotSettings, Split } from "../handle";
import type { LocalOptions } from "./options";

/** Which service of which supervisor a resource belongs to. */
export interface LocalServiceArgs {
  /** State directory of the supervisor. */
  directory: string;
  /** `<service>.<environment>`. */
  name: string;
  /** Where users reach the service. */
  port: number;
  /** Writes although a run is open. No difference by itself. @default false */
  force?: boolean | undefined;
}

/** What a slot shall run; `fill: null` is an empty slot. */
export interface LocalSlotArgs extends LocalServiceArgs {
  slot: Slot;
  fill: { artifact: string; settings: SlotSettings; hash: string } | null;
}

/** Where traffic goes, which slot is in charge, and which run is open. */
export interface LocalRouteArgs extends LocalServiceArgs {
  split: Split;
  live: Slot | null;
  run: string | null;
  /** How requests are treated. @default as documented */
  options?: LocalOptions | undefined;
}

/**
 * The code that goes into the state, and which the engine hands to `@pulumi/pulumi/cmd/dynamic-provider`: that
 * calls `handler()` and then the methods of what it returns.
 *
 * It must never change, for a changed text updates live resources, and a refresh runs the old one. So it is
 * written out here instead of being serialised from a function (whose text depends on the compiler), and it
 * only finds the methods: in resources.js, beside the client, in the package that the project uses.
 */
export function providerText(kind: "slot" | "route"): string {
  return `const { createRequire } = require("node:module");
const { dirname, join } = require("node:path");
exports.handler = () => {
  const load = createRequire(join(process.env.SLUICE_ROOT || process.cwd(), "package.json"));
  const client = load.resolve("sluice/components/local/client");
  return load(join(dirname(client), "resources.js")).${kind};
};
`;
}

/** One slot of a service, as a resource that is ready once it serves. */
export class LocalSlot extends CustomResource {
  constructor(name: string, args: LocalSlotArgs, opts?: CustomResourceOptions) {
    super("pulumi-nodejs:dynamic/local:Slot", name, { ...args, __provider: providerText("slot") }, opts);
  }
}

/** The weighted route in front of a service's slots, as a resource. */
export class LocalRoute extends CustomResource {
  constructor(name: string, args: LocalRouteArgs, opts?: CustomResourceOptions) {
    super("pulumi-nodejs:dynamic/local:Route", name, { ...args, __provider: providerText("route") }, opts);
  }
}
