import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { homedir, hostname } from "node:os";
import { isAbsolute, join, relative, resolve, sep } from "node:path";
import { createInterface } from "node:readline";
import { error, MalformedArtifact, SluiceError } from "../errors";
import { isArtifact, parseArtifact } from "../handle";
import { readTree, type Skip, sealTree, unsealTree } from "./tree";

/** What an artifact is made from. */
export interface Source {
  /** Directory, relative to the root or absolute. */
  directory: string;
  /** Build command without a shell, run once in the copy. */
  build?: string[] | undefined;
  /** Names left out at any depth, beside `.git` and `.sluice`. @default [] */
  ignore?: string[] | undefined;
}

/** An artifact in the store. */
export interface Stored {
  /** `dir:<path relative to the root>@sha256:<hex>`. */
  artifact: string;
  /** sha256 of tree and build command, hex. */
  hash: string;
  /** The read-only copy. */
  path: string;
  /** Whether this call made the copy; false where it was in the store already. */
  built: boolean;
}

/** How an artifact is stored. */
export interface StoreOptions {
  /** Directory that relative sources start from. @default process.cwd() */
  root?: string | undefined;
  signal?: AbortSignal | undefined;
  /** Gets each line the build prints. */
  log?: ((line: string) => void) | undefined;
}

export const SourceMissing = error("artifact-source-missing", {
  message: (directory: string) => `There is no directory ${directory} to make an artifact from.`,
  hint: () => "Correct the service's `directory` in stacks/services.ts.",
});

export const SourceUnreadable = error("artifact-unreadable", {
  message: (directory: string, why: string) => `${directory} could not be copied into the store: ${why}.`,
  hint: () => "Give this user the right to read it, or add it to the source's `ignore`.",
});

export const StoreFull = error("artifact-store-full", {
  message: (store: string, why: string) =>
    `There is no room left for an artifact in ${store} (${why}); nothing was kept.`,
  hint: (store: string) =>
    `Free some space, for example by removing old artifacts from ${store}, then run it again.`,
});

export const BuildFailed = error("build-failed", {
  message: (command: string, how: string, lines: string) =>
    `\`${command}\` ${how}.${lines ? ` Its last lines:\n${lines}` : ""}`,
  hint: () =>
    "Builds get PATH, LANG and an empty HOME only; run it by hand in a copy of the source to see more.",
});

export const ArtifactMissing = error("artifact-missing", {
  message: (artifact: string, why: string) => `${artifact} is not in this machine's store, and ${why}.`,
  hint: () =>
    "Check out the commit it was made from, or make a new one with `npm run promote -- <source> <target> --build`.",
});

export const ArtifactUnsupported = error("artifact-unsupported", {
  message: (artifact: string) => `The embedded platform runs dir: artifacts, and ${artifact} is none.`,
  hint: () => "Give the service a `directory`, or take a platform that runs images.",
});

/** Names that never belong to a release: history, and the state Sluice itself keeps. */
const NEVER = [".git", ".sluice"];
/** Lines of a failed build that are shown: enough for a compiler's message and a stack. */
const LAST_LINES = 20;

/** Where artifacts are kept: `$XDG_CACHE_HOME/sluice/artifacts`, by default under `~/.cache`. */
export function storeRoot(): string {
  const cache = process.env.XDG_CACHE_HOME;
  // The XDG specification has relative paths ignored.
  return join(cache && isAbsolute(cache) ? cache : join(homedir(), ".cache"), "sluice", "artifacts");
}

/** Copies a source into the store, builds it there once, and names it by its content. */
export async function storeArtifact(source: Source, options: StoreOptions = {}): Promise<Stored> {
  const { root = process.cwd(), signal, log } = options;
  const directory = resolve(root, source.directory);
  const store = storeRoot();
  const skip = skipper(source.ignore ?? [], store);
  if (!(await stat(directory).catch(() => undefined))?.isDirectory()) throw SourceMissing(directory);
  const name = (hash: string, built: boolean): Stored => {
    const artifact = `dir:${relative(root, directory).split(sep).join("/") || "."}@sha256:${hash}`;
    if (!isArtifact(artifact)) throw MalformedArtifact(artifact);
    return { artifact, hash, path: join(store, hash), built };
  };
  try {
    const seen = name(seal(await readTree(directory, skip, undefined, signal), source.build), false);
    if (existsSync(seen.path)) return seen;
    await mkdir(store, { recursive: true, mode: 0o700 });
    await sweep(store);
    const draft = join(store, draftName());
    try {
      await mkdir(draft, { mode: 0o700 });
      const copied = name(seal(await readTree(directory, skip, draft, signal), source.build), true);
      if (copied.hash !== seen.hash) log?.(`${directory} changed while it was read; what was copied counts`);
      if (existsSync(copied.path)) return { ...copied, built: false };
      if (source.build) await build(source.build, draft, options);
      await sealTree(draft);
      await flush(draft);
      signal?.throwIfAborted();
      return { ...copied, built: await publish(draft, copied.path) };
    } finally {
      await discard(draft);
    }
  } catch (thrown) {
    throw explain(thrown, directory, store);
  }
}

/** Path of the stored copy, made again where the source is unchanged and needs no build. Throws `artifact-missing`. */
export async function locateArtifact(artifact: string, root: string = process.cwd()): Promise<string> {
  const { kind, source, digest } = parseArtifact(artifact);
  if (kind !== "dir") throw ArtifactUnsupported(artifact);
  const path = join(storeRoot(), digest);
  if (existsSync(path)) return path;
  const directory = resolve(root, source);
  const now = await readTree(directory, skipper([], storeRoot())).catch(() => undefined);
  if (now === undefined) throw ArtifactMissing(artifact, `${directory} can't be read`);
  if (seal(now, undefined) !== digest) {
    throw ArtifactMissing(artifact, `${directory} has changed since, or needs its build`);
  }
  const made = await storeArtifact({ directory: source }, { root });
  if (made.hash !== digest) throw ArtifactMissing(artifact, `${directory} is being changed`);
  return made.path;
}

/** `sluice-artifact-1` names the way of hashing: another way is another artifact. */
function seal(tree: string, command: readonly string[] | undefined): string {
  return createHash("sha256")
    .update(JSON.stringify(["sluice-artifact-1", tree, command ?? null]))
    .digest("hex");
}

function skipper(ignore: readonly string[], store: string): Skip {
  const names = new Set([...NEVER, ...ignore]);
  // A source that holds the store would copy its own copy.
  return (name, absolute) => names.has(name) || absolute === store;
}

/** Moves a finished copy to its name. False where another process was first: then that one counts. */
async function publish(draft: string, path: string): Promise<boolean> {
  try {
    await rename(draft, path);
    return true;
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if ((code === "ENOTEMPTY" || code === "EEXIST") && existsSync(path)) return false;
    throw thrown;
  }
}

/** Puts the copy on disk before it gets its name: a power cut leaves a whole artifact or none. */
function flush(draft: string): Promise<void> {
  return new Promise((done) => {
    const sync = spawn("sync", ["-f", draft], { stdio: "ignore" });
    sync.on("error", () => done());
    sync.on("close", () => done());
  });
}

async function build(command: readonly string[], directory: string, options: StoreOptions): Promise<void> {
  const [file, ...args] = command;
  if (!file) throw BuildFailed(command.join(" "), "names no command", "");
  const { signal, log } = options;
  signal?.throwIfAborted();
  const home = `${directory}-home`;
  await mkdir(home, { mode: 0o700 });
  const lines: string[] = [];
  const how = await new Promise<string | undefined>((done) => {
    const child = spawn(file, args, {
      cwd: directory,
      env: { PATH: process.env.PATH ?? "/usr/bin:/bin", HOME: home, LANG: process.env.LANG ?? "C.UTF-8" },
      stdio: ["ignore", "pipe", "pipe"],
      // A group of its own, so that what it started ends with it.
      detached: true,
    });
    const end = (): void => {
      try {
        if (child.pid) process.kill(-child.pid, "SIGKILL");
      } catch {
        // It has ended.
      }
    };
    signal?.addEventListener("abort", end, { once: true });
    for (const input of [child.stdout, child.stderr]) {
      createInterface({ input }).on("line", (line) => {
        log?.(line);
        if (lines.push(line) > LAST_LINES) lines.shift();
      });
    }
    child.on("error", (cause: NodeJS.ErrnoException) => done(`could not be started (${cause.code})`));
    child.on("exit", end);
    child.on("close", (code, killed) => {
      signal?.removeEventListener("abort", end);
      done(code === 0 ? undefined : killed ? `was ended by ${killed}` : `ended with exit code ${code}`);
    });
  });
  signal?.throwIfAborted();
  if (how) throw BuildFailed(command.join(" "), how, lines.join("\n"));
}

/** `.draft-<host>-<pid>-<start>-<random>`: whose it is, so that a dead process's can be removed. */
function draftName(): string {
  return `.draft-${hostname()}-${process.pid}-${startTime(process.pid)}-${randomBytes(4).toString("hex")}`;
}

/** When a process began, in clock ticks since boot (field 22 of /proc/<pid>/stat); empty where it is gone. */
function startTime(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ")[19] ?? "";
  } catch {
    return "";
  }
}

/** Removes what killed processes of this machine left half done. */
async function sweep(store: string): Promise<void> {
  for (const name of await readdir(store)) {
    const [, host, pid, start] = /^\.draft-(.+)-(\d+)-(\d*)-[0-9a-f]{8}$/.exec(name) ?? [];
    if (host !== hostname() || startTime(Number(pid)) === start) continue;
    endBuild(join(store, name));
    await discard(join(store, name));
  }
}

/** Ends what an orphaned build still runs: it is known by its HOME, which nobody else has. */
function endBuild(draft: string): void {
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, "latin1").split("\0");
      if (environment.includes(`HOME=${Buffer.from(draft).toString("latin1")}-home`))
        process.kill(Number(pid), "SIGKILL");
    } catch {
      // It has ended, or it is another user's.
    }
  }
}

async function discard(draft: string): Promise<void> {
  for (const path of [`${draft}-home`, draft]) {
    await unsealTree(path).catch(() => undefined);
    await rm(path, { recursive: true, force: true });
  }
}

function explain(thrown: unknown, directory: string, store: string): unknown {
  if (thrown instanceof SluiceError) return thrown;
  const { code, path } = thrown as NodeJS.ErrnoException;
  if (code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG") return StoreFull(store, code);
  if (typeof code === "string") return SourceUnreadable(path ?? directory, code);
  return thrown;
}
