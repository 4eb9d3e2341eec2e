import { execFile } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { accessSync, constants, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import { promisify } from "node:util";

/** What a process sees of its surroundings. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Where Sluice keeps what outlives a clone: `$XDG_CACHE_HOME/sluice`, or `~/.cache/sluice`. */
export function cacheDirectory(env: Environment): string {
  const xdg = env.XDG_CACHE_HOME;
  // The XDG specification says that a relative path is to be ignored.
  return join(xdg && isAbsolute(xdg) ? xdg : join(env.HOME || homedir(), ".cache"), "sluice");
}

/** A hex digest short enough for a file name: 64 bits tell apart what one user has installed. */
export function digest(...parts: (string | number | Buffer)[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(typeof part === "number" ? `${part}` : part).update("\0");
  return hash.digest("hex").slice(0, 16);
}

/** Writes a file whole or not at all. */
export function writeAtomically(file: string, text: string, mode = 0o600): void {
  const temporary = `${file}.${randomUUID()}`;
  writeFileSync(temporary, text, { mode });
  renameSync(temporary, file);
}

/** What identifies a file without reading it: changed in any way it has another stamp. */
export function stampOf(file: string): string {
  const stat = statSync(file);
  return digest(stat.dev, stat.ino, stat.size, stat.mtimeMs);
}

/** A reason why a binary can't be used, as the end of a sentence. */
export class Unusable extends Error {}

/**
 * The version a Pulumi binary says it has. It is started once; a stamp in the cache remembers the answer for as
 * long as the file doesn't change. Throws `Unusable`.
 */
export async function versionOf(binary: string, cache: string): Promise<string> {
  const stamps = join(cache, "pulumi", "stamps");
  let stamp: string;
  try {
    if (!statSync(binary).isFile()) throw new Unusable(`${binary} is no file`);
    accessSync(binary, constants.X_OK);
    stamp = join(stamps, stampOf(binary));
  } catch (problem) {
    if (problem instanceof Unusable) throw problem;
    const missing = (problem as NodeJS.ErrnoException).code === "ENOENT";
    throw new Unusable(`${binary} ${missing ? "does not exist" : "is not executable"}`);
  }
  try {
    return readFileSync(stamp, "utf8");
  } catch {
    // Not seen yet.
  }
  const version = await askVersion(binary);
  try {
    mkdirSync(stamps, { recursive: true, mode: 0o700 });
    writeAtomically(stamp, version);
  } catch {
    // A cache that can't be written costs a process at each start, nothing more.
  }
  return version;
}

async function askVersion(binary: string): Promise<string> {
  let stdout: string;
  try {
    // 60 s: starting 110 MB from a cold disk takes seconds; what takes longer than this hangs.
    ({ stdout } = await promisify(execFile)(binary, ["version"], {
      timeout: 60_000,
      env: { ...process.env, PULUMI_SKIP_UPDATE_CHECK: "true" },
    }));
  } catch (problem) {
    const { stderr, message } = problem as Error & { stderr?: string };
    throw new Unusable(`\`${binary} version\` failed: ${(stderr?.trim() || message).split("\n")[0]}`);
  }
  const version = /^v?(\d+\.\d+\.\d+\S*)\s*$/.exec(stdout)?.[1];
  if (!version) throw new Unusable(`\`${binary} version\` printed no version`);
  return version;
}

/** Whether a version is at least another; what follows the three numbers does not count. */
export function atLeast(version: string, minimum: string): boolean {
  const [a, b] = [version, minimum].map((v) => v.split(/[.+-]/, 3).map(Number));
  for (let i = 0; i < 3; i++) {
    const difference = (a?.[i] ?? 0) - (b?.[i] ?? 0);
    if (difference) return difference > 0;
  }
  return true;
}
