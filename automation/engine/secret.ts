import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { BadConfig, error } from "../../components/errors";

/** Where a secret is; never the secret itself. */
export type SecretRef =
  | { /** Name of an environment variable. */ env: string }
  | { /** Path of a file; the line break at its end is not part of it. */ file: string }
  | { /** Program and arguments whose standard output it is. */ command: readonly string[] };

export const SecretMissing = error("secret-missing", {
  message: (where: string, why: string) => `The secret from ${where} can't be had: ${why}.`,
  hint: () => "Set it where the pipeline looks for it, then run `npm run doctor`.",
});

/** Milliseconds a command may take to give a secret: some wait for a password manager to be unlocked. */
const PATIENCE = 60_000;
const MAX_BYTES = 64 * 1024;

const resolved = new Set<string>();

/** Every secret resolved in this process so far: what the redactor masks. */
export function resolvedSecrets(): readonly string[] {
  return [...resolved];
}

/** Gets the secret. Throws `secret-missing`, and `bad-config` for anything that is no reference; never shows a value. */
export async function resolveSecret(ref: SecretRef): Promise<string> {
  const secret = (await look(ref)).replace(/\r?\n$/, "");
  if (secret === "") throw SecretMissing(name(ref), "it is empty");
  resolved.add(secret);
  return secret;
}

async function look(ref: SecretRef): Promise<string> {
  // The value is not shown: what stands here by mistake is most likely the secret.
  const given: unknown = ref;
  if (typeof given !== "object" || given === null || Object.keys(given).length !== 1)
    throw BadConfig("secret", "it must be { env }, { file } or { command }, not the secret itself.");
  if ("env" in ref && typeof ref.env === "string") {
    const value = process.env[ref.env];
    if (value === undefined) throw SecretMissing(name(ref), "it is not set");
    return value;
  }
  if ("file" in ref && typeof ref.file === "string")
    return readFile(ref.file, "utf8").catch((thrown: NodeJS.ErrnoException) => {
      throw SecretMissing(name(ref), thrown.code ?? "it can't be read");
    });
  if ("command" in ref && Array.isArray(ref.command) && typeof ref.command[0] === "string") {
    const [program, ...args] = ref.command as [string, ...string[]];
    const options = { timeout: PATIENCE, maxBuffer: MAX_BYTES };
    // Neither its output nor its error is repeated: both may hold the secret.
    const { stdout } = await promisify(execFile)(program, args, options).catch(
      (thrown: { code?: unknown }) => {
        throw SecretMissing(name(ref), `it ended with ${thrown.code ?? "a signal"}`);
      },
    );
    return stdout;
  }
  throw BadConfig("secret", "it must be { env }, { file } or { command }, not the secret itself.");
}

function name(ref: SecretRef): string {
  if ("env" in ref) return `the environment variable ${ref.env}`;
  return "file" in ref ? `the file ${ref.file}` : `the command ${ref.command[0]}`;
}
