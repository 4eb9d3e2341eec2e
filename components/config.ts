import { Config } from "@pulumi/pulumi/config";
import * as runtimeConfig from "@pulumi/pulumi/runtime/config";
import { z } from "zod";
import { BadConfig } from "./errors";
import type { Service } from "./release";
import type { SettingsConfig } from "./settings";

/** What a stack's configuration says, namespace `sluice`. */
export interface StackConfig extends SettingsConfig {
  /** Public port. */
  port: number;
  /** Artifact that a stack without a handle begins with. */
  pin?: string | undefined;
  /** Lets a bare `up` go on although a run is open. */
  force: boolean;
  /** The service of the stack; needed where there are several and the stack's name names none. */
  service?: string | undefined;
}

/** The service of a stack: the one there is, or the one that the configuration or the stack's name says. */
export function findService(services: readonly Service[], stack: string, name?: string | undefined): Service {
  const known = services.map((service) => service.name).join(", ") || "none";
  const named = name
    ? services.find((service) => service.name === name)
    : services.length === 1
      ? services[0]
      : services.find((service) => stack.startsWith(`${service.name}.`));
  if (named) return named;
  throw BadConfig(
    `stack ${stack}`,
    name
      ? `sluice:service is "${name}", which is not in stacks/services.ts. Known: ${known}.`
      : `no service is named for it. Set sluice:service, or name it <service>.<environment>. Known: ${known}.`,
  );
}

/** `prod` of stack `prod`, or of `<service>.prod`; a region stays with it. */
export function environmentOf(service: string, stack: string): string {
  return stack.startsWith(`${service}.`) ? stack.slice(service.length + 1) : stack;
}

const text = z.union([z.string(), z.number(), z.boolean()]).transform(String);
const schema = z.strictObject({
  port: z.coerce.number().int().min(1).max(65535),
  replicas: z.coerce.number().int().min(1).max(1000).optional(),
  variables: z.record(z.string(), text).optional(),
  pin: z.string().optional(),
  force: z.stringbool().default(false),
  service: z.string().optional(),
});

/** Reads the stack's configuration. Throws `bad-config`, which names the key and never echoes a value. */
export function readConfig(stack: string): StackConfig {
  const config = new Config("sluice");
  const raw: Record<string, unknown> = {};
  for (const key of Object.keys(schema.shape)) {
    const value = config.get(key);
    if (value === undefined) continue;
    if (isSecret(`sluice:${key}`))
      throw BadConfig(fileOf(stack), `sluice:${key} is a secret: ${WHERE_SECRETS}`);
    raw[key] = key === "variables" ? parseObject(stack, key, value) : value;
  }
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const path = issue?.path.join(".") ?? "";
  throw BadConfig(
    fileOf(stack),
    path === "port" && raw.port === undefined
      ? `sluice:port is missing. \`npm run pulumi -- config set sluice:port 4000 -s ${stack}\` sets it.`
      : `sluice:${path}: ${issue?.message ?? "is wrong"}`,
  );
}

const WHERE_SECRETS =
  "the handle would show it. Give a versioned reference in `secrets` of stacks/services.ts.";

function fileOf(stack: string): string {
  return `stacks/Pulumi.${stack}.yaml`;
}

function parseObject(stack: string, key: string, value: string): unknown {
  try {
    return JSON.parse(value);
  } catch {
    throw BadConfig(fileOf(stack), `sluice:${key} is no object.`);
  }
}

/** The SDK knows which keys are secret, but doesn't declare the function that tells. */
function isSecret(key: string): boolean {
  return (runtimeConfig as unknown as { isConfigSecret(key: string): boolean }).isConfigSecret(key);
}
