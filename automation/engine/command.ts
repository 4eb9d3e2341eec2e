import { type ChildProcess, spawn } from "node:child_process";
import { BadConfig } from "../../components/errors";
import type { Context, Subject } from "../core/ports";

/** How a command ended. `code` is undefined where a signal ended it or time ran out. */
export interface Ended {
  code?: number | undefined;
  timedOut: boolean;
  /** The last line it wrote that is not blank, to standard output or error. */
  last: string;
}

export interface CommandOptions {
  /** Who runs it, for error messages: `gate freeze`. */
  who: string;
  /** Program and arguments; no shell between. */
  run: readonly string[];
  env: Record<string, string>;
  /** Milliseconds it may take. */
  timeout: number;
  signal: AbortSignal;
  /** Called for each line it writes. */
  line?: ((line: string) => void) | undefined;
}

/** Milliseconds between the polite signal and SIGKILL. */
const GRACE = 2000;
/** Characters kept of a line that doesn't end. */
const LONGEST = 4000;

/** Runs a command in its own process group; the group is ended when time is out or the signal fires. */
export async function runCommand(options: CommandOptions): Promise<Ended> {
  const [program, ...args] = options.run;
  if (!program) throw BadConfig(options.who, "`run` names no program.");
  options.signal.throwIfAborted();
  const child = spawn(program, args, {
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...options.env },
  });
  let last = "";
  const hear = (line: string) => {
    if (line.trim() === "") return;
    last = line.trim();
    options.line?.(last);
  };
  lines(child.stdout, hear);
  lines(child.stderr, hear);
  let timedOut = false;
  let killer: NodeJS.Timeout | undefined;
  // A grandchild that left the group may hold the output open for ever: stop listening to it.
  const letGo = () => {
    kill(child, "SIGKILL");
    child.stdout.destroy();
    child.stderr.destroy();
  };
  const end = () => {
    kill(child, "SIGTERM");
    killer ??= setTimeout(letGo, GRACE);
  };
  child.once("exit", () => {
    killer ??= setTimeout(letGo, GRACE);
  });
  const timer = setTimeout(() => {
    timedOut = true;
    end();
  }, options.timeout);
  options.signal.addEventListener("abort", end, { once: true });
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once("error", reject);
      // `close`, not `exit`: only then has the last line been heard.
      child.once("close", resolve);
    });
    options.signal.throwIfAborted();
    return { ...(code !== null && !timedOut && { code }), timedOut, last };
  } catch (thrown) {
    options.signal.throwIfAborted();
    throw BadConfig(options.who, `${program} can't be started: ${(thrown as NodeJS.ErrnoException).code}.`);
  } finally {
    clearTimeout(timer);
    clearTimeout(killer);
    options.signal.removeEventListener("abort", end);
  }
}

/** What a command is told about the release, as environment variables. */
export function told(subject: Subject, ctx: Context): Record<string, string> {
  const { pin } = subject;
  return {
    SLUICE_RUN: ctx.fence.run,
    SLUICE_RELEASE: subject.release,
    SLUICE_ENVIRONMENT: subject.environment,
    SLUICE_TARGET: subject.target,
    SLUICE_SERVICE: subject.service,
    SLUICE_ARTIFACT: pin.artifact,
    ...(pin.version && { SLUICE_VERSION: pin.version }),
    ...(pin.commit && { SLUICE_COMMIT: pin.commit }),
    ...(subject.slot && { SLUICE_SLOT: subject.slot }),
    ...(subject.url && { SLUICE_URL: subject.url }),
  };
}

/** Why a command did not succeed, with its last line. */
export function blame(ended: Ended, timeout: number): string {
  const how = ended.timedOut
    ? `took longer than ${timeout / 1000} s`
    : ended.code === undefined
      ? "was ended by a signal"
      : `exited with ${ended.code}`;
  return ended.last ? `${ended.last} (${how})` : how;
}

function kill(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // The group is gone already, which is what was wanted.
  }
}

function lines(stream: NodeJS.ReadableStream, hear: (line: string) => void): void {
  let rest = "";
  stream.setEncoding("utf8");
  stream.on("data", (chunk: string) => {
    const parts = (rest + chunk).split(/\r?\n/);
    rest = (parts.pop() ?? "").slice(-LONGEST);
    for (const part of parts) hear(part.slice(-LONGEST));
  });
  stream.on("end", () => hear(rest));
}
