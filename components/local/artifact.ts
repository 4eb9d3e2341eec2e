import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readlink, stat, symlink } from "node:fs/promises";
import { homedir } from "node:os";
import { isAbsolute, join, relative, resolve, sep } from "node:path";
import { createInterface } from "node:readline";
import { error, MalformedArtifact, SluiceError } from "../errors";
import { isArtifact, parseArtifact } from "../handle";
import { discard, draftName, flush, publish, StoreFull, sweep } from "./draft";
import { checkOut, resolveRef } from "./mirror";
import { artifactOf, type GitSource, type Origin, originOf, readSource } from "./origin";
import { readTree, type Skip, sealTree } from "./tree";

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
  /** `dir:<path relative to the root>@sha256:<hex>`, or `git:<repository>@<commit>`. */
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
  /** Gets the progress of a fetch, and each line the build prints. */
  log?: ((line: string) => void) | undefined;
  /** Bytes a git source may have. @default 2 GiB */
  maxBytes?: number | undefined;
}

export const SourceMissing = error("artifact-source-missing", {
  message: (directory: string) => `There is no directory ${directory} to make an artifact from.`,
  hint: () => "Correct the service's `directory` in stacks/services.ts.",
});

export const SourceUnreadable = error("artifact-unreadable", {
  message: (directory: string, why: string) => `${directory} could not be copied into the store: ${why}.`,
  hint: () => "Give this user the right to read it, or add it to the source's `ignore`.",
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
  message: (artifact: string) =>
    `The embedded platform runs dir: and git: artifacts, and ${artifact} is neither.`,
  hint: () => "Give the service a `directory` or a `git` repository, or take a platform that runs images.",
});

/** Names that never belong to a release: history, and the state Sluice itself keeps. */
const NEVER = [".git", ".sluice"];
/** Names the way of hashing: another way is another artifact. */
const FORMAT = "sluice-artifact-1";
/** Lines of a failed build that are shown: enough for a compiler's message and a stack. */
const LAST_LINES = 20;

/** Where artifacts are kept: `$XDG_CACHE_HOME/sluice/artifacts`, by default under `~/.cache`. */
export function storeRoot(): string {
  const cache = process.env.XDG_CACHE_HOME;
  // The XDG specification has relative paths ignored.
  return join(cache && isAbsolute(cache) ? cache : join(homedir(), ".cache"), "sluice", "artifacts");
}

/** Copies a source into the store, builds it there once, and names it by its content or its commit. */
export async function storeArtifact(source: Source | GitSource, options: StoreOptions = {}): Promise<Stored> {
  return "git" in source ? storeGit(source, options) : storeDirectory(source, options);
}

async function storeGit(source: GitSource, options: StoreOptions): Promise<Stored> {
  const { origin, ref } = readSource(source);
  const commit = await resolveRef(origin.url, ref, options);
  return storeCommit(origin, commit, options);
}

const storing = new Map<string, Promise<Stored>>();

/** The replicas of a slot ask at the same time: they wait for one. */
function storeCommit(origin: Origin, commit: string, options: StoreOptions): Promise<Stored> {
  const artifact = artifactOf(origin, commit);
  if (!isArtifact(artifact)) throw MalformedArtifact(artifact);
  const running = storing.get(artifact);
  if (running) return running;
  const work = makeCommit(artifact, origin, commit, options).finally(() => storing.delete(artifact));
  storing.set(artifact, work);
  return work;
}

async function makeCommit(
  artifact: string,
  origin: Origin,
  commit: string,
  options: StoreOptions,
): Promise<Stored> {
  const store = storeRoot();
  // What the artifact is called → what it holds, which others may hold too.
  const link = join(store, `git-${digestOf([FORMAT, artifact])}`);
  const known = await readlink(link).catch(() => undefined);
  if (known && existsSync(link)) return { artifact, hash: known, path: join(store, known), built: false };
  const { root = process.cwd(), signal, log, maxBytes } = options;
  const tree = join(store, draftName());
  try {
    await mkdir(tree, { recursive: true, mode: 0o700 });
    await checkOut(origin, commit, tree, { root, signal, log, maxBytes });
    const { build, ignore } = origin;
    const { hash, path, built } = await storeDirectory({ directory: tree, build, ignore }, options);
    await symlink(hash, link).catch((thrown: NodeJS.ErrnoException) => {
      if (thrown.code !== "EEXIST") throw thrown;
    });
    return { artifact, hash, path, built };
  } catch (thrown) {
    throw explain(thrown, tree, store);
  } finally {
    await discard(tree);
  }
}

async function storeDirectory(source: Source, options: StoreOptions): Promise<Stored> {
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

/**
 * Path of the stored copy. A directory is copied again where it is unchanged and needs no build, a commit is
 * fetched and built. Throws `artifact-missing`, and what fetching throws.
 */
export async function locateArtifact(artifact: string, root: string = process.cwd()): Promise<string> {
  const { kind, source, digest } = parseArtifact(artifact);
  if (kind === "git") return (await storeCommit(originOf(source), digest, { root })).path;
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

function seal(tree: string, command: readonly string[] | undefined): string {
  return digestOf([FORMAT, tree, command ?? null]);
}

function digestOf(what: readonly unknown[]): string {
  return createHash("sha256").update(JSON.stringify(what)).digest("hex");
}

function skipper(ignore: readonly string[], store: string): Skip {
  const names = new Set([...NEVER, ...ignore]);
  // A source that holds the store would copy its own copy.
  return (name, absolute) => names.has(name) || absolute === store;
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

function explain(thrown: unknown, directory: string, store: string): unknown {
  if (thrown instanceof SluiceError) return thrown;
  const { code, path } = thrown as NodeJS.ErrnoException;
  if (code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG") return StoreFull(store, code);
  if (typeof code === "string") return SourceUnreadable(path ?? directory, code);
  return thrown;
}
