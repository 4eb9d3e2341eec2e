import { createHash } from "node:crypto";
import { closeSync, openSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { error } from "../errors";
import { StoreFull } from "./draft";
import {
  GitFailed,
  type GitOptions,
  GitTooLarge,
  GitUnreachable,
  git,
  OWNER_VARIABLE,
  printable,
} from "./git";
import type { Origin } from "./origin";
import { startOf } from "./process";

export const RefUnknown = error("git-ref-unknown", {
  message: (url: string, ref: string) => `The repository ${url} has no branch or tag ${ref}.`,
  hint: (url: string) =>
    `\`git ls-remote '${url}'\` lists them. A commit must be given with all its 40 digits.`,
});

export const RefAmbiguous = error("git-ref-ambiguous", {
  message: (url: string, ref: string) => `The repository ${url} has both a branch and a tag ${ref}.`,
  hint: (_url: string, ref: string) => `Write \`refs/heads/${ref}\` or \`refs/tags/${ref}\`.`,
});

export const CommitGone = error("git-commit-gone", {
  message: (url: string, commit: string) =>
    `The repository ${url} has no commit ${commit} (any more): a branch that had it was rewritten, or it was never pushed.`,
  hint: () =>
    "Push it again, best under a tag, for a release must stay where it can be fetched; or promote another release.",
});

export const GitDirectoryMissing = error("git-directory-missing", {
  message: (url: string, commit: string, directory: string) =>
    `Commit ${commit} of ${url} has no directory ${directory}.`,
  hint: () => "Correct the source's `directory` in stacks/services.ts.",
});

/** How a repository is reached. */
export interface MirrorOptions {
  /** The project: mirrors are in its `.sluice/local/git`. */
  root: string;
  signal?: AbortSignal | undefined;
  log?: ((line: string) => void) | undefined;
  /** Bytes a tree may have, and what is fetched for it. @default 2 GiB */
  maxBytes?: number | undefined;
}

/** Bytes: more than any service has, and less than what fills a disk. */
const MAX_BYTES = 2 * 1024 ** 3;
/** Files of one tree. */
const MAX_FILES = 500_000;
/** Seconds: to list refs, to fetch, to do what needs no network. */
const SECONDS = { list: 60, fetch: 1800, local: 300 };
/** Milliseconds between two looks at a lock. */
const POLL = 100;
/** Raw bytes, as they were committed: no conversion of line ends, no filter, no $Id$. */
const ATTRIBUTES = "* -text -eol -crlf -ident -filter -working-tree-encoding\n";

/** The commit that a ref names now. Throws `git-unreachable`, `git-ref-unknown`. */
export async function resolveRef(
  url: string,
  ref: string | undefined,
  { signal }: Pick<MirrorOptions, "signal">,
): Promise<string> {
  if (ref && /^[0-9a-f]{40}$/.test(ref)) return ref;
  const names = !ref ? ["HEAD"] : ref.startsWith("refs/") ? [ref] : [`refs/heads/${ref}`, `refs/tags/${ref}`];
  // ^{} is the commit that an annotated tag is put on.
  const wanted = names.flatMap((name) => [name, `${name}^{}`]);
  const text = await git(["ls-remote", "--", url, ...wanted], { signal, seconds: SECONDS.list }).catch(
    (e) => {
      throw explain(e, url, undefined, 0);
    },
  );
  const found = new Map<string, string>();
  for (const line of text.toString("utf8").split("\n")) {
    const [commit = "", name = ""] = line.split("\t");
    found.set(name, commit);
  }
  const commits = names.flatMap((name) => found.get(`${name}^{}`) ?? found.get(name) ?? []);
  const [commit] = commits;
  if (!commit) throw RefUnknown(url, ref ?? "HEAD");
  if (commits.length > 1) throw RefAmbiguous(url, ref ?? "HEAD");
  return commit;
}

/** Writes the files of a commit into an empty directory: no history, no submodules, nothing converted. */
export async function checkOut(
  origin: Origin,
  commit: string,
  into: string,
  options: MirrorOptions,
): Promise<void> {
  const { root, signal, log } = options;
  const { url } = origin;
  const mirrors = resolve(root, ".sluice", "local", "git");
  const mirror = join(mirrors, `${createHash("sha256").update(url).digest("hex").slice(0, 32)}.git`);
  await mkdir(mirrors, { recursive: true, mode: 0o700 });
  const lock = await hold(mirror, url, options);
  const run: Run = (args, more) =>
    git(args, { mirror, lock, signal, seconds: SECONDS.local, ...more }).catch((e) => {
      throw explain(e, url, commit, more?.maxBytes ?? 0);
    });
  const place = async (): Promise<void> => {
    await prepare(mirror, run);
    await fetchCommit(url, commit, run, options);
    await write(origin, commit, into, mirror, run, options);
  };
  try {
    await place().catch(async (thrown) => {
      if (!(thrown instanceof GitFailed)) throw thrown;
      // Nothing of it is needed: what a power cut left torn is fetched again.
      log?.(`the mirror of ${url} is damaged (${thrown.why}) and is made again`);
      for (const each of [mirror, into]) await rm(each, { recursive: true, force: true });
      await mkdir(into, { mode: 0o700 });
      await place();
    });
  } catch (thrown) {
    throw thrown instanceof GitFailed ? GitUnreachable(url, thrown.why) : thrown;
  } finally {
    closeSync(lock);
  }
}

type Run = (args: readonly string[], more?: Partial<GitOptions>) => Promise<Buffer>;

/** Takes the mirror for this process alone. The lock goes with the last process that holds it, killed or not. */
async function hold(mirror: string, url: string, { signal, log }: MirrorOptions): Promise<number> {
  const { tryLock } = await import("fs-native-extensions");
  const fd = openSync(`${mirror}.lock`, "a+", 0o600);
  let told = false;
  try {
    while (!tryLock(fd)) {
      endOrphans(mirror);
      if (!told) log?.(`another process is fetching ${url}; waiting for it`);
      told = true;
      await new Promise((next) => setTimeout(next, POLL));
      signal?.throwIfAborted();
    }
    return fd;
  } catch (thrown) {
    closeSync(fd);
    throw thrown;
  }
}

/** Ends every git of this mirror whose owner was killed, so that it holds the lock for nobody. */
function endOrphans(mirror: string): void {
  for (const name of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
    try {
      const environ = readFileSync(`/proc/${name}/environ`, "utf8").split("\0");
      const mark = environ.find((entry) => entry.startsWith(`${OWNER_VARIABLE}=`));
      const [, owner, start, of] = /=(\d+)\/(\d*)\/(.*)$/s.exec(mark ?? "") ?? [];
      if (of === mirror && startOf(Number(owner)) !== start) process.kill(Number(name), "SIGKILL");
    } catch {
      // It has ended, or it is another user's.
    }
  }
}

/** Makes the mirror, and clears what a killed git left: the lock is held, so nobody else is in it. */
async function prepare(mirror: string, run: Run): Promise<void> {
  const left = await readdir(mirror, { recursive: true }).catch(() => []);
  for (const name of left)
    if (/\.lock$|(?:^|\/)tmp_/.test(name)) await rm(join(mirror, name), { recursive: true, force: true });
  await run(["init", "--quiet", "--bare", "--template=", "--object-format=sha1", "--", mirror]);
  await mkdir(join(mirror, "info"), { recursive: true });
  await writeFile(join(mirror, "info", "attributes"), ATTRIBUTES);
}

async function fetchCommit(url: string, commit: string, run: Run, options: MirrorOptions): Promise<void> {
  const { log, maxBytes = MAX_BYTES } = options;
  // git writes the ref last of all, so it stands for a commit that is here as a whole.
  const ref = `refs/sluice/${commit}`;
  const here = () => run(["rev-parse", "--quiet", "--verify", `${ref}^{commit}`]).then(() => true, no);
  if (await here()) return;
  log?.(`fetching ${commit.slice(0, 12)} of ${url}`);
  const more = { seconds: SECONDS.fetch, maxBytes, log };
  const flags = ["--progress", "--no-tags", "--no-write-fetch-head", "--no-auto-gc"];
  try {
    await run(["fetch", ...flags, "--depth=1", "--", url, `+${commit}:${ref}`], more);
  } catch (thrown) {
    if (!(thrown instanceof GitFailed) || !UNASKED.test(thrown.why)) throw remote(thrown, url);
    // An old server gives what its refs name, and no single commit.
    const all = ["+refs/heads/*:refs/all/heads/*", "+refs/tags/*:refs/all/tags/*"];
    await run(["fetch", ...flags, "--", url, ...all], more).catch((e) => {
      throw remote(e, url);
    });
    await run(["update-ref", ref, commit]).catch(() => {
      throw CommitGone(url, commit);
    });
  }
  if (!(await here())) throw CommitGone(url, commit);
}

const UNASKED = /unadvertised object|does not support shallow/;

function no(thrown: unknown): false {
  if (thrown instanceof GitFailed) return false;
  throw thrown;
}

const DAMAGE = /bad object|necessary objects|index file|corrupt|not a git repository/;

/** What a remote did wrong is no damage of the mirror. */
function remote(thrown: unknown, url: string): unknown {
  const damaged = !(thrown instanceof GitFailed) || DAMAGE.test(thrown.why);
  return damaged ? thrown : GitUnreachable(url, thrown.why);
}

async function write(
  origin: Origin,
  commit: string,
  into: string,
  mirror: string,
  run: Run,
  options: MirrorOptions,
): Promise<void> {
  const { url, directory } = origin;
  const { log, maxBytes = MAX_BYTES } = options;
  const tree = directory === undefined ? `${commit}^{tree}` : `${commit}:${directory}`;
  // A tree that is not there is damage; a directory that is not in it is a mistake.
  await run(["cat-file", "-e", `${commit}^{tree}`]);
  const isTree = async () => (await run(["cat-file", "-t", tree])).toString().trim() === "tree";
  if (directory !== undefined && !(await isTree().catch(no)))
    throw GitDirectoryMissing(url, commit, directory);
  const paths: string[] = [];
  let bytes = 0;
  // Names are bytes: latin1 keeps those that are no UTF-8.
  const listed = (await run(["ls-tree", "-r", "-l", "-z", "--full-tree", tree])).toString("latin1");
  for (const entry of listed.split("\0").filter(Boolean)) {
    const [mode, , , size] = entry.split(/[ \t]+/, 4);
    const path = entry.slice(entry.indexOf("\t") + 1);
    if (mode === "160000") {
      log?.(`${printable(Buffer.from(path, "latin1").toString())} is a submodule and is left out`);
      continue;
    }
    bytes += Number(size) || 0;
    paths.push(path);
  }
  if (bytes > maxBytes || paths.length > MAX_FILES) throw GitTooLarge(url, `Commit ${commit}`, maxBytes);
  // An index of its own, and no `git worktree`: that runs a hook, leaves a .git in the tree and a record in the mirror.
  const env = { GIT_INDEX_FILE: join(mirror, "tmp_index") };
  try {
    await run(["read-tree", tree], { env });
    const input = Buffer.from(paths.map((path) => `${path}\0`).join(""), "latin1");
    await run(["checkout-index", "-z", "--stdin", `--prefix=${into}/`], {
      env: { ...env, GIT_WORK_TREE: into },
      input,
      maxBytes,
    });
  } finally {
    await rm(env.GIT_INDEX_FILE, { force: true });
  }
}

function explain(thrown: unknown, url: string, commit: string | undefined, maxBytes: number): unknown {
  if (!(thrown instanceof GitFailed)) return thrown;
  if (thrown.reason === "large")
    return GitTooLarge(url, commit ? `Commit ${commit}` : "The list of refs", maxBytes);
  // Of a file of the tree, git doesn't say why it can't be written.
  if (commit && /No space left on device|quota exceeded|unable to write file/i.test(thrown.why))
    return StoreFull("the store of artifacts or in .sluice/local/git", thrown.why);
  if (commit && /not our ref|couldn't find remote ref/.test(thrown.why)) return CommitGone(url, commit);
  return commit ? thrown : GitUnreachable(url, thrown.why);
}
