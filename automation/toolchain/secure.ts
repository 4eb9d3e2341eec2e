import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { error } from "../../components/errors";
import type { PulumiEnvironment } from "./environment";

/** A secret that only a passphrase protects. */
export interface SecureValue {
  /** Relative to the project's root. */
  file: string;
  /** Where in the file: `config.sluice:token`. Never the value. */
  key: string;
}

export const SecretUnderEmbeddedDefault = error("secret-under-embedded-default", {
  message: (values: SecureValue[]) =>
    "The embedded default backend has an empty passphrase, so it protects nothing, and there are secrets under it: " +
    `${values.map(({ file, key }) => `${key} (${file})`).join(", ")}.`,
  hint: (values: SecureValue[]) => {
    const stack = /Pulumi\.(.+)\.ya?ml$/.exec(values[0]?.file ?? "")?.[1] ?? "<stack>";
    return (
      "Give the stack a secrets provider: `npm run pulumi -- stack change-secrets-provider " +
      `"awskms://alias/<key>?region=<region>" -s ${stack}\` (or gcpkms://, azurekeyvault://, hashivault://). ` +
      "Whoever saw the file may have read the secret, so replace it too."
    );
  },
});

/** Finds what only the passphrase protects in the stacks' configuration: every `secure:`, and a key of no named provider. */
export function secureValues(root: string): SecureValue[] {
  const found: SecureValue[] = [];
  for (const name of readdirSync(join(root, "stacks")).sort()) {
    if (!/^Pulumi\..+\.ya?ml$/.test(name)) continue;
    const file = join("stacks", name);
    const text = readFileSync(join(root, file), "utf8");
    // A parser costs 30 ms, and most files give no reason to ask one. An escape could spell either word otherwise.
    if (!/secure|encryptedkey|\\/.test(text)) continue;
    found.push(...inFile(text).map((key) => ({ file, key })));
  }
  return found;
}

/** Throws `secret-under-embedded-default` where the state is in the clone, its passphrase is empty and a secret is there. */
export function refuseSecrets(environment: PulumiEnvironment): void {
  const { env, embedded, root } = environment;
  if (!embedded || env.PULUMI_CONFIG_PASSPHRASE || env.PULUMI_CONFIG_PASSPHRASE_FILE) return;
  const values = secureValues(root);
  if (values.length) throw SecretUnderEmbeddedDefault(values);
}

function inFile(text: string): string[] {
  const { parse } = require("yaml") as typeof import("yaml");
  const stack: unknown = parse(text);
  if (!isMapping(stack)) return [];
  const provider = stack.secretsprovider;
  // A key management service protects what is under it wherever the state is.
  if (typeof provider === "string" && !["", "default", "passphrase"].includes(provider)) return [];
  return [...(stack.encryptedkey ? ["encryptedkey"] : []), ...secureKeys(stack, [])];
}

function secureKeys(value: unknown, path: string[]): string[] {
  if (Array.isArray(value)) return value.flatMap((item, index) => secureKeys(item, [...path, `${index}`]));
  if (!isMapping(value)) return [];
  return Object.entries(value).flatMap(([key, item]) =>
    key === "secure" ? [path.join(".")] : secureKeys(item, [...path, key]),
  );
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
