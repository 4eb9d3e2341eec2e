import { spawn } from "node:child_process";
import { homedir } from "node:os";
import type { Readable } from "node:stream";
import { error } from "../errors";
import { createRedactor } from "../redact";
import { startOf } from "./process";

export const GitMissing = error("git-missing", {
  message: () => "There is no git on this machine, so no artifact can be made from a repository.",
  hint: () => "Install it (`apt-get install git`), then run `npm run doctor`.",
});

export const GitUnreachable = error("git-unreachable", {
  message: (url: string, why: string) => `The repository ${url} can't be read: ${why}`,
  hint: (url: string) =>
    `Try \`git ls-remote '${url}'\`. Nobody is asked for a password here: ssh takes keys from the agent or ~/.ssh and ` +
    "hosts from ~/.ssh/known_hosts, https takes user and token from ~/.netrc.",
});

export const GitTooLarge = error("git-too-large", {
  message: (url: string, what: string, bytes: number) =>
    `${what} of ${url} is larger than the ${bytes} bytes that an artifact may have.`,
  hint: () => "Take a `directory` of it as the source, or keep large files elsewhere.",
});

/** git ended with an error; `why` is what it said, without what belongs to nobody else. */
export class GitFailed extends Error {
  constructor(
    readonly why: string,
    readonly reason: "said" | "late" | "large",
  ) {
    super(why);
    this.name = "GitFailed";
  }
}

/** How git is run. */
export interface GitOptions {
  /** The repository; without one, git looks at none. */
  mirror?: string | undefined;
  /** More environment, such as the place of an index. */
  env?: Record<string, string> | undefined;
  input?: Buffer | undefined;
  /** Open file whose lock is held until the last process that git started has ended. */
  lock?: number | undefined;
  signal?: AbortSignal | undefined;
  /** Gets lines of progress. */
  log?: ((line: string) => void) | undefined;
  /** Seconds git may take. */
  seconds: number;
  /** Largest file that git may write, in bytes. */
  maxBytes?: number | undefined;
}

/** Whose git a process is: `<pid>/<start>/<mirror>`, so that one whose owner was killed can be ended. */
export const OWNER_VARIABLE = "SLUICE_GIT";
/** Lines of an error that are shown. */
const LAST_LINES = 6;
/** Seconds between two lines of progress. */
const QUIET = 5;
/** Bytes of a listing: the paths of some hundred thousand files. */
const MAX_OUTPUT = 64 * 1024 * 1024;

/** Nothing that a repository, a URL or this user's own settings say makes git run a program or leave its path. */
const SETTINGS: Record<string, string> = {
  "core.hooksPath": "/dev/null",
  "core.fsmonitor": "false",
  "core.attributesFile": "/dev/null",
  "core.excludesFile": "/dev/null",
  "core.autocrlf": "false",
  "core.symlinks": "true",
  "core.protectHFS": "true",
  "core.protectNTFS": "true",
  "credential.helper": "",
  "fetch.fsckObjects": "true",
  "fetch.recurseSubmodules": "false",
  "submodule.recurse": "false",
  "gc.auto": "0",
  "maintenance.auto": "false",
  "advice.detachedHead": "false",
  // A transfer slower than 1000 bytes per second for 60 s is one that hangs.
  "http.lowSpeedLimit": "1000",
  "http.lowSpeedTime": "60",
};
/** Taken from our own environment; everything else, GIT_* above all, is not. */
const KEPT = ["PATH", "SSH_AUTH_SOCK", "http_proxy", "https_proxy", "all_proxy", "no_proxy"];

/** Runs git without a prompt, a hook, a filter, or any setting of this user; resolves with what it wrote. Throws GitFailed. */
export async function git(args: readonly string[], options: GitOptions): Promise<Buffer> {
  const { mirror, input, lock, signal, seconds, maxBytes } = options;
  signal?.throwIfAborted();
  const all = Object.entries(settings()).flatMap(([key, value]) => ["-c", `${key}=${value}`]);
  // The shell only sets the limit, and becomes git: -f counts blocks of 512 bytes.
  const limit = maxBytes === undefined ? "unlimited" : String(Math.ceil(maxBytes / 512));
  const script = 'command -v git >/dev/null || exit 127; ulimit -f "$0" 2>/dev/null; exec git "$@"';
  const child = spawn("/bin/sh", ["-c", script, limit, ...all, ...args], {
    cwd: "/",
    env: { ...environment(mirror), ...options.env },
    stdio: ["pipe", "pipe", "pipe", ...(lock === undefined ? [] : [lock])],
    // A group of its own, so that what it started ends with it.
    detached: true,
  });
  const { stdin, stdout, stderr } = child;
  if (!stdin || !stdout || !stderr) throw new Error("git has no pipes");
  const end = (): void => {
    try {
      if (child.pid) process.kill(-child.pid, "SIGKILL");
    } catch {
      // It has ended.
    }
  };
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    end();
  }, seconds * 1000);
  signal?.addEventListener("abort", end, { once: true });
  stdin.on("error", () => undefined).end(input);
  const said = collect(stderr, options.log);
  const chunks: Buffer[] = [];
  let size = 0;
  stdout.on("data", (chunk: Buffer) => {
    size += chunk.length;
    if (size > MAX_OUTPUT) end();
    else chunks.push(chunk);
  });
  const { code, by } = await new Promise<{ code: number | null; by: string | null }>((done) => {
    child.on("error", () => done({ code: 127, by: null }));
    child.on("exit", end);
    child.on("close", (exit, killed) => done({ code: exit, by: killed }));
  });
  clearTimeout(timer);
  signal?.removeEventListener("abort", end);
  signal?.throwIfAborted();
  if (code === 0) return Buffer.concat(chunks);
  if (code === 127) throw GitMissing();
  const why = said();
  if (late) throw new GitFailed(`git did not end within ${seconds} s.`, "late");
  const large = size > MAX_OUTPUT || by === "SIGXFSZ" || /signal 25\b|File too large/.test(why);
  throw new GitFailed(why || `git ended with ${by ?? `exit code ${code}`}.`, large ? "large" : "said");
}

function settings(): Record<string, string> {
  const authority = process.env.SSL_CERT_FILE;
  return { ...SETTINGS, ...(authority && { "http.sslCAInfo": authority }) };
}

function environment(mirror: string | undefined): Record<string, string> {
  const kept = KEPT.flatMap((name) => [name, name.toUpperCase()]).flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return {
    PATH: "/usr/local/bin:/usr/bin:/bin",
    ...Object.fromEntries(kept),
    HOME: homedir(),
    // Messages are looked at.
    LC_ALL: "C",
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_SYSTEM: "/dev/null",
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_ATTR_NOSYSTEM: "1",
    GIT_ALLOW_PROTOCOL: "https:http:ssh:file",
    GIT_TERMINAL_PROMPT: "0",
    GIT_ASKPASS: "",
    SSH_ASKPASS: "",
    GIT_SSH_COMMAND: "ssh -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15",
    GIT_OPTIONAL_LOCKS: "0",
    // Named, or else git would look for a repository around, and take its settings.
    GIT_DIR: mirror ?? "/dev/null",
    [OWNER_VARIABLE]: `${process.pid}/${startOf(process.pid) ?? ""}/${mirror ?? ""}`,
  };
}

/** Passes progress on, now and then; gives what else was said, without passwords. */
function collect(stream: Readable, log: ((line: string) => void) | undefined): () => string {
  const redact = createRedactor([]);
  const lines: string[] = [];
  let rest = "";
  let told = performance.now();
  const take = (line: string): void => {
    if (/^(?:remote: )?[A-Z][a-z]+ [a-z]+: +\d+/.test(line)) {
      if (performance.now() - told < QUIET * 1000) return;
      told = performance.now();
      log?.(line.trim());
    } else if (line.trim() !== "" && lines.push(redact(line.trim().slice(0, 500))) > LAST_LINES)
      lines.shift();
  };
  stream.setEncoding("utf8").on("data", (chunk: string) => {
    const parts = (rest + chunk).split(/[\r\n]/);
    rest = (parts.pop() ?? "").slice(0, 4096);
    for (const line of parts) take(printable(line));
  });
  return () => {
    take(printable(rest));
    rest = "";
    return lines.join("; ");
  };
}

/** Without what would steer a terminal: a server, or a name in a tree, may say anything. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, "");
}
