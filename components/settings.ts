import { createHash } from "node:crypto";
import { BadConfig } from "./errors";
import { canonical, type SlotSettings } from "./handle";
import type { Service } from "./release";

/** What a stack's configuration says about the settings of its service. */
export interface SettingsConfig {
  /** @default the service's own, or 1 */
  replicas?: number | undefined;
  /** Take precedence over the service's own. @default {} */
  variables?: Record<string, string> | undefined;
}

/** Seconds a new replica may take until it is ready, unless the service says otherwise. */
const START_SECONDS = 30;

/** `env:NAME@version`, `file:path@version`, …: a reference that says which version it means, never a value. */
const SECRET_REFERENCE = /^[a-z][a-z0-9-]*:[^\s@]+@[^\s@]+$/;
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** What a slot of this service runs with, beside its artifact. Pure. Throws `bad-config`. */
export function resolveSettings(service: Service, config: SettingsConfig = {}): SlotSettings {
  const variables = { ...service.variables, ...config.variables };
  const secrets = { ...service.secrets };
  const where = `service ${service.name}`;
  for (const name of [...Object.keys(variables), ...Object.keys(secrets)]) {
    if (!VARIABLE.test(name)) throw BadConfig(where, `"${name}" is no name of an environment variable.`);
    if (name === "PORT") throw BadConfig(where, "PORT is the platform's to give.");
    if (name in variables && name in secrets)
      throw BadConfig(where, `${name} is both a variable and a secret.`);
  }
  for (const [name, reference] of Object.entries(secrets)) {
    // The text is not echoed: it may be the secret itself.
    if (!SECRET_REFERENCE.test(reference))
      throw BadConfig(
        where,
        `secret ${name} is no versioned reference, such as env:NAME@1. A value has no place here.`,
      );
  }
  return {
    variables,
    secrets,
    arguments: [...service.start],
    files: {},
    resources: { replicas: config.replicas ?? service.replicas ?? 1 },
    probes: { health: service.health ?? "/", startSeconds: service.startSeconds ?? START_SECONDS },
  };
}

/** sha256 of the settings, hex: equal settings have equal hashes, whatever the order of their fields. */
export function hashSettings(settings: SlotSettings): string {
  return createHash("sha256").update(canonical(settings)).digest("hex");
}
