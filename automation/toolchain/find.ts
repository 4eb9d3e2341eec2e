import { randomUUID } from "node:crypto";
import { accessSync, constants, mkdirSync, rmSync, statSync } from "node:fs";
import { delimiter, isAbsolute, join } from "node:path";
import { error } from "../../components/errors";
import { atLeast, cacheDirectory, type Environment, Unusable, versionOf } from "./cache";
import { equip, place, prune } from "./equip";
import { alone, build, download, pinnedVersion, type Way } from "./make";

/** A Pulumi CLI that has everything beside it that Node programs need. */
export interface Toolchain {
  /** Absolute path of the binary to start. */
  path: string;
  /** Without a leading `v`. */
  version: string;
  origin: "SLUICE_PULUMI" | "PATH" | "cache" | "download" | "build";
}

/** How to look for it. */
export interface FindOptions {
  /** @default process.env */
  env?: Environment;
  /** Gets a line now and then while something takes long. @default nothing is said */
  progress?: (line: string) => void;
  /** The slow ways, in order. @default the official download, then a build from Go modules */
  ways?: { download: Way; build: Way };
}

/** The oldest CLI that knows all that Sluice's programs use. */
export const MINIMUM = "3.200.0";

export const PulumiMissing = error("pulumi-missing", {
  message: (tried: string[]) =>
    `There is no Pulumi CLI, and none could be had:\n${tried.map((line) => `    ${line}`).join("\n")}`,
  hint: () =>
    `Install Pulumi >= ${MINIMUM} (https://www.pulumi.com/docs/install/), or Go >= 1.26 so that it can be built here, ` +
    "then run the command again. SLUICE_PULUMI=<path> names a binary that is elsewhere.",
});

export const PulumiUnusable = error("pulumi-unusable", {
  message: (path: string, why: string) => `SLUICE_PULUMI is ${path}, but ${why}.`,
  hint: () => `Let it name a Pulumi CLI >= ${MINIMUM}, or unset it: one is then looked for.`,
});

/** Finds the Pulumi CLI, or makes one. Throws `pulumi-missing` with every way tried, or `pulumi-unusable`. */
export async function findPulumi(options: FindOptions = {}): Promise<Toolchain> {
  const env = options.env ?? process.env;
  const cache = cacheDirectory(env);
  const named = env.SLUICE_PULUMI;
  if (named) return fromVariable(named, cache);

  const tried = ["SLUICE_PULUMI: not set"];
  const attempt = async (origin: Toolchain["origin"], path: string): Promise<Toolchain | undefined> => {
    try {
      return await use(origin, path, cache);
    } catch (problem) {
      if (!(problem instanceof Unusable)) throw problem;
      tried.push(`${origin}: ${problem.message}`);
      return undefined;
    }
  };
  const onPath = lookUp("pulumi", env);
  if (!onPath) tried.push("PATH: no pulumi on it");
  const version = pinnedVersion();
  const cached = join(cache, "pulumi", version, "bin", "pulumi");
  return (
    (onPath && (await attempt("PATH", onPath))) ||
    (await attempt("cache", cached)) ||
    (await make(version, cache, env, options, attempt, tried))
  );
}

async function fromVariable(path: string, cache: string): Promise<Toolchain> {
  if (!isAbsolute(path)) throw PulumiUnusable(path, "that is no absolute path");
  try {
    return await use("SLUICE_PULUMI", path, cache);
  } catch (problem) {
    if (problem instanceof Unusable) throw PulumiUnusable(path, problem.message);
    throw problem;
  }
}

async function use(origin: Toolchain["origin"], path: string, cache: string): Promise<Toolchain> {
  const version = await versionOf(path, cache);
  if (!atLeast(version, MINIMUM)) {
    throw new Unusable(`${path} is Pulumi ${version}, at least ${MINIMUM} is needed`);
  }
  try {
    return { path: equip(path, version, cache), version, origin };
  } catch (problem) {
    throw new Unusable(`${path} can't be completed in ${cache}: ${(problem as Error).message}`);
  }
}

function lookUp(name: string, env: Environment): string | undefined {
  for (const directory of (env.PATH ?? "").split(delimiter)) {
    if (!isAbsolute(directory)) continue;
    const path = join(directory, name);
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat?.isFile() && stat.mode & 0o111) return path;
  }
  return undefined;
}

type Attempt = (origin: Toolchain["origin"], path: string) => Promise<Toolchain | undefined>;

async function make(
  version: string,
  cache: string,
  env: Environment,
  options: FindOptions,
  attempt: Attempt,
  tried: string[],
): Promise<Toolchain> {
  const progress = options.progress ?? (() => {});
  const ways = options.ways ?? { download, build };
  const home = join(cache, "pulumi");
  const target = join(home, version);
  const waiting = () => progress("Another process is getting the Pulumi CLI; waiting for it");
  try {
    mkdirSync(home, { recursive: true, mode: 0o700 });
    accessSync(home, constants.W_OK);
  } catch (problem) {
    throw PulumiMissing([...tried, `download and build: ${(problem as Error).message}`]);
  }
  return alone(join(home, "lock"), waiting, async () => {
    prune(home, target);
    // Whoever held the lock before may have made it.
    const theirs = await attempt("cache", join(target, "bin", "pulumi"));
    if (theirs) return theirs;
    tried.pop();
    for (const origin of ["download", "build"] as const) {
      const fresh = join(home, `.new-${randomUUID()}`);
      try {
        mkdirSync(fresh, { mode: 0o700 });
        await ways[origin]({ version, root: fresh, env, progress });
        // Asked where it was made, so that only what runs ever gets its name in the cache.
        await versionOf(join(fresh, "bin", "pulumi"), cache);
        place(fresh, target, () => false);
        const made = await attempt(origin, join(target, "bin", "pulumi"));
        if (made) return made;
      } catch (problem) {
        tried.push(`${origin}: ${problem instanceof Error ? problem.message : problem}`);
      } finally {
        rmSync(fresh, { recursive: true, force: true });
      }
    }
    throw PulumiMissing(tried);
  });
}
