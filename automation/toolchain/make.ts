import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import type { Environment } from "./cache";

/** A way to get a Pulumi CLI: fills `root` so that `root/bin/pulumi` is there, or throws with the reason. */
export type Way = (request: Wish) => Promise<void>;

/** What a way is asked for. */
export interface Wish {
  version: string;
  root: string;
  env: Environment;
  progress: (line: string) => void;
}

// Longest download, in ms: 150 MB at 4 Mbit/s. Without a network it fails at once by itself.
const DOWNLOAD_MS = 300_000;

// How often a long task says that it is alive, in ms.
const HEARTBEAT_MS = 10_000;

const MODULE = join(__dirname, "cli");

/** The version that is downloaded or built: the one pinned in `cli/go.mod`. */
export function pinnedVersion(): string {
  const text = readFileSync(join(MODULE, "go.mod"), "utf8");
  const version = /^\s*github\.com\/pulumi\/pulumi\/pkg\/v3 v(\S+)/m.exec(text)?.[1];
  if (!version) throw new Error(`${join(MODULE, "go.mod")} pins no Pulumi`);
  return version;
}

// It installs in a process group of its own, which it ends itself once nobody waits for it any more: the installer
// starts a shell and curl, and none of them may outlive this process.
const INSTALL = `
process.stdin.on("end", () => process.kill(-process.pid, "SIGKILL")).resume();
const [, file, root, version] = process.argv;
require(file).PulumiCommand.install({ root, version }).then(
  () => process.exit(0),
  (problem) => { process.stderr.write(problem.message); process.exit(1); },
);`;

/** Downloads the official distribution, as the Automation API does. */
export async function download({ version, root, env, progress }: Wish): Promise<void> {
  progress(`Downloading Pulumi ${version}`);
  await run(
    process.execPath,
    ["-e", INSTALL, require.resolve("@pulumi/pulumi/automation"), root, version],
    { env, limit: DOWNLOAD_MS, group: true },
    (seconds) => progress(`Downloading Pulumi ${version} (${seconds} s)`),
  );
}

/** Builds the CLI from Go modules: minutes where nothing is in Go's cache. */
export async function build({ version, root, env, progress }: Wish): Promise<void> {
  progress(`Building Pulumi ${version} from Go modules: 3 to 20 minutes the first time`);
  mkdirSync(join(root, "bin"), { recursive: true, mode: 0o700 });
  // Without the version the Automation API refuses the binary; without symbols it is 110 MB instead of 160.
  const ldflags = `-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v${version}`;
  await run(
    "go",
    [
      ...["build", "-C", MODULE, "-v", "-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", ldflags],
      ...["-o", join(root, "bin", "pulumi"), "tool"],
    ],
    { env },
    (seconds, lines) => progress(`Building Pulumi ${version} (${seconds} s, ${lines} packages)`),
  );
}

interface RunOptions {
  env: Environment;
  /** Longest run in ms. @default no limit */
  limit?: number;
  /** A process group of its own, ended through the end of its standard input. @default false */
  group?: boolean;
}

function run(
  command: string,
  args: string[],
  { env, limit, group = false }: RunOptions,
  alive: (seconds: number, lines: number) => void,
): Promise<void> {
  const began = Date.now();
  const child = spawn(command, args, { env: { ...env }, detached: group, stdio: ["pipe", "ignore", "pipe"] });
  const tail: string[] = [];
  let lines = 0;
  createInterface({ input: child.stderr }).on("line", (line) => {
    lines++;
    if (tail.push(line) > 5) tail.shift();
  });
  const heartbeat = setInterval(() => alive(Math.round((Date.now() - began) / 1000), lines), HEARTBEAT_MS);
  let late = false;
  const timer = limit
    ? setTimeout(() => {
        late = true;
        child.stdin.end();
      }, limit)
    : undefined;
  return new Promise<void>((resolve, reject) => {
    child.on("error", (problem: NodeJS.ErrnoException) =>
      reject(problem.code === "ENOENT" ? new Error(`${command} is not on PATH`) : problem),
    );
    child.on("close", (code, signal) => {
      if (code === 0) resolve();
      else if (late) reject(new Error(`gave up after ${limit! / 1000} s`));
      else reject(new Error(tail.join(" ").trim() || `${command} ended with ${code ?? signal}`));
    });
  }).finally(() => {
    clearInterval(heartbeat);
    clearTimeout(timer);
  });
}

/**
 * Runs the body while no other process runs one under the same lock file. The kernel holds the lock, so a killed
 * process frees it. Where there is no lock to be had the body runs all the same: it then costs time, not truth.
 */
export async function alone<T>(file: string, waiting: () => void, body: () => Promise<T>): Promise<T> {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const fd = openSync(file, "a+", 0o600);
  try {
    const lock = await import("fs-native-extensions").catch(() => undefined);
    if (lock && !lock.tryLock(fd)) {
      waiting();
      // The kernel tells nobody when a lock becomes free without blocking a thread for as long, so ask 4 times a second.
      do await delay(250);
      while (!lock.tryLock(fd));
    }
    return await body();
  } finally {
    closeSync(fd);
  }
}
