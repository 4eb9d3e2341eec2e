import { spawn } from "node:child_process";
import { constants } from "node:os";
import { delimiter, dirname } from "node:path";
import { pulumiEnvironment } from "./environment";
import { findPulumi, type Toolchain } from "./find";

/**
 * Puts the CLI's directory first on PATH. Plugins on PATH win over those beside the binary, so a second Pulumi
 * there would run our programs with its own language host, and the engine would warn on each run.
 */
export function withToolchain(
  env: Readonly<Record<string, string>>,
  toolchain: Toolchain,
): Record<string, string> {
  return { ...env, PATH: [dirname(toolchain.path), env.PATH].filter(Boolean).join(delimiter) };
}

/** `npm run pulumi -- …`: the CLI in the right environment, at this terminal. Resolves with its exit code. */
export async function runPulumi(
  args: string[],
  root: string,
  progress: (line: string) => void = () => {},
): Promise<number> {
  const toolchain = await findPulumi({ progress });
  const env = withToolchain(pulumiEnvironment(root).env, toolchain);
  // Ctrl-C reaches the child by itself, which then needs time to end what it began: wait for it.
  const wait = () => {};
  const pass = (signal: NodeJS.Signals) => child.kill(signal);
  // Before the child is there, or a signal that comes at once would leave it behind.
  process.on("SIGINT", wait).on("SIGTERM", pass).on("SIGHUP", pass);
  const child = spawn(toolchain.path, args, { cwd: root, env, stdio: "inherit" });
  try {
    return await new Promise((resolve, reject) => {
      child.on("error", reject);
      child.on("exit", (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
    });
  } finally {
    process.off("SIGINT", wait).off("SIGTERM", pass).off("SIGHUP", pass);
  }
}
