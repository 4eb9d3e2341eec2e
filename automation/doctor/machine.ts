import { randomUUID } from "node:crypto";
import { existsSync, readFileSync, rmSync, statfsSync, statSync, writeFileSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { bad, type Finding, good, warning } from "./finding";

/** What a process sees of its surroundings. */
type Env = Readonly<Record<string, string | undefined>>;

/** Bytes free below which nothing can be relied on, and below which it will not be for long: 128 MiB, 1 GiB. */
const NONE = 128 * 1024 ** 2;
const LITTLE = 1024 ** 3;
/** Free inodes, likewise: a run takes some tens, an artifact hundreds. */
const NO_FILES = 1000;
const FEW_FILES = 20_000;
/** Descriptors of a process: the proxy takes two a request, and the engine some hundreds. */
const NO_DESCRIPTORS = 256;
const FEW_DESCRIPTORS = 1024;
/** Milliseconds that two clocks may differ without doing harm. */
const SKEW = 60_000;

/** The version of Node. */
export function node(version = process.versions.node): Finding {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > 20 || (major === 20 && minor >= 19)
    ? good("Node", version)
    : bad("Node", version, "Install Node >= 20.19.");
}

/** The system, as far as leftovers of a dead run can be found on it. */
export function system(platform: string = process.platform): Finding {
  if (platform === "linux") return good("system", "linux");
  return warning(
    "system",
    platform,
    "Tested on Linux only: rehearse a crash before you rely on it elsewhere.",
  );
}

/** How many files a process may have open. */
export function descriptors(limits = read("/proc/self/limits")): Finding[] {
  const soft = /^Max open files\s+(\S+)/m.exec(limits)?.[1];
  if (soft === undefined) return [];
  const what = "open files";
  const found = `${soft} for each process`;
  const mend = "Raise it, for example `ulimit -n 4096` before the command, or LimitNOFILE= of the service.";
  const count = soft === "unlimited" ? Number.POSITIVE_INFINITY : Number(soft);
  if (count < NO_DESCRIPTORS) return [bad(what, found, mend)];
  return [count < FEW_DESCRIPTORS ? warning(what, found, mend) : good(what, found)];
}

/** The home directory: Pulumi keeps plugins there, and Sluice its cache. */
export function home(env: Env): Finding {
  const mend = "export HOME=<a directory of yours>, or set both PULUMI_HOME and XDG_CACHE_HOME.";
  const spared = env.PULUMI_HOME && env.XDG_CACHE_HOME;
  if (!env.HOME)
    return spared ? good("home", "not set, and not needed") : bad("home", "HOME is not set", mend);
  const problem = isAbsolute(env.HOME) ? writable(env.HOME) : `${env.HOME} is no absolute path`;
  if (!problem || spared) return good("home", env.HOME);
  return bad("home", problem, mend);
}

/** Room and the right to write in a place; where it is not there yet, in what it will be made in. */
export function place(what: string, path: string, stats: (path: string) => Room = room): Finding {
  const at = standing(path);
  const problem = writable(at);
  const mend = `Make it yours and writable: \`ls -ld ${at}\`, \`findmnt -T ${at}\`.`;
  if (problem) return bad(what, problem, mend);
  const { bytes, files } = stats(at);
  const found = `${path}, ${(bytes / 1024 ** 3).toFixed(1)} GiB${Number.isFinite(files) ? ` and ${files} files` : ""} free`;
  const clean = `Make room: \`df -h ${at}\`, \`df -i ${at}\`.`;
  if (bytes < NONE || files < NO_FILES) return bad(what, found, clean);
  return bytes < LITTLE || files < FEW_FILES ? warning(what, found, clean) : good(what, found);
}

/** What is free: some file systems do not count files. */
interface Room {
  bytes: number;
  files: number;
}

function room(path: string): Room {
  const { bavail, bsize, files, ffree } = statfsSync(path);
  return { bytes: bavail * bsize, files: files > 0 ? ffree : Number.POSITIVE_INFINITY };
}

function standing(path: string): string {
  for (let at = path; ; at = dirname(at)) if (existsSync(at) || at === dirname(at)) return at;
}

/** Why it can't be written; root may do what permissions forbid, so it is tried. */
function writable(directory: string): string | undefined {
  const file = join(directory, `.sluice-doctor-${randomUUID()}`);
  try {
    if (!statSync(directory).isDirectory()) return `${directory} is no directory`;
    writeFileSync(file, "", { mode: 0o600, flag: "wx" });
    rmSync(file);
    return undefined;
  } catch (e) {
    return `${directory} can't be written: ${(e as NodeJS.ErrnoException).code ?? e}`;
  }
}

/** Whether anything that was written here is from the future, by the clock of this machine. */
export function clock(now: number, marks: readonly { of: string; at: number }[]): Finding {
  const mend = "Set the clock: `timedatectl` shows whether it is kept by NTP.";
  const newest = marks.reduce<{ of: string; at: number } | undefined>(
    (most, mark) => (mark.at > (most?.at ?? Number.NEGATIVE_INFINITY) ? mark : most),
    undefined,
  );
  const here = Number.isFinite(now) ? new Date(now).toISOString() : "unreadable";
  if (newest && newest.at - now > SKEW)
    return bad(
      "clock",
      `it is ${here} here, but ${newest.of} is from ${new Date(newest.at).toISOString()}`,
      mend,
    );
  return good("clock", newest ? `${here}, nothing here is from later` : here);
}

/** When the directory's own clock, which may be a file server's, differs from ours. */
export function skew(directory: string, now: () => number = Date.now): { of: string; at: number }[] {
  const file = join(standing(directory), `.sluice-doctor-${randomUUID()}`);
  try {
    writeFileSync(file, "", { mode: 0o600, flag: "wx" });
    const at = statSync(file).mtimeMs;
    // Late as well as early: what lies behind is as far ahead seen from there.
    return [{ of: `a file just written to ${directory}`, at: now() + Math.abs(at - now()) }];
  } catch {
    return [];
  } finally {
    rmSync(file, { force: true });
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
