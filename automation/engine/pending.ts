import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Handle } from "../../components/handle";
import type { Service } from "../../components/release";
import { hashSettings, resolveSettings } from "../../components/settings";

/** Whether the live slot runs with other settings than it would be filled with today. */
export function pendingSettings(
  root: string,
  stack: string,
  service: Service,
  declared: Handle | undefined,
): boolean {
  const live = declared?.live && declared.slots[declared.live];
  if (!live) return false;
  return hashSettings(resolveSettings(service, configOf(root, stack))) !== live.hash;
}

/** The public port that a stack's configuration gives, if any. */
export function portOf(root: string, stack: string): number | undefined {
  const port = Number(fileOf(root, stack)["sluice:port"]);
  return Number.isInteger(port) && port > 0 ? port : undefined;
}

// The program reads the same keys through Pulumi; asking the engine for them would cost a preview per target.
function fileOf(root: string, stack: string): Record<string, unknown> {
  const { parse } = require("yaml") as typeof import("yaml");
  const file = join(root, "stacks", `Pulumi.${stack}.yaml`);
  if (!existsSync(file)) return {};
  return (parse(readFileSync(file, "utf8")) as { config?: Record<string, unknown> } | null)?.config ?? {};
}

function configOf(root: string, stack: string): { replicas?: number; variables?: Record<string, string> } {
  const config = fileOf(root, stack);
  const replicas = config["sluice:replicas"];
  const variables = config["sluice:variables"];
  return {
    ...(replicas !== undefined && { replicas: Number(replicas) }),
    ...(variables !== undefined && {
      variables: Object.fromEntries(Object.entries(variables as object).map(([k, v]) => [k, String(v)])),
    }),
  };
}
