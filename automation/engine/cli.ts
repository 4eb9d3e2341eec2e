import { spawn } from "node:child_process";
import { performance } from "node:perf_hooks";

/** Seconds a CLI may take to leave after it was asked to, before it is killed with its whole group. */
const GRACE_SECONDS = 45;

/** One finished run of the Pulumi CLI. */
export interface CliResult {
  code: number;
  stdout: string;
  stderr: string;
}

/** A CLI run that did not exit with 0. */
export class CliFailed extends Error {
  constructor(
    readonly command: string,
    readonly result: CliResult,
    readonly aborted: boolean,
    /** It had to be killed, so its lock on the backend is still there. */
    readonly killed = false,
  ) {
    super(result.stderr.trim() || result.stdout.trim() || `pulumi ${command} exited with ${result.code}`);
    this.name = "CliFailed";
  }
}

export interface CliOptions {
  path: string;
  cwd: string;
  env: Record<string, string>;
  signal?: AbortSignal | undefined;
  /** Called once per finished process: what the overhead figures are made from. */
  onOperation?: ((operation: { command: string; milliseconds: number }) => void) | undefined;
}

/**
 * Runs the Pulumi CLI once. It gets a session of its own, so that a Ctrl-C in the terminal reaches the driver
 * alone and the driver decides when an engine stops. An abort sends SIGINT (the engine leaves its state
 * clean), and SIGKILL to the group after 45 s.
 */
export function runCli(args: readonly string[], options: CliOptions): Promise<CliResult> {
  // `up`, `stack output`: what an operation is counted under.
  const command = args[0] === "stack" ? `stack ${args[1]}` : (args[0] ?? "");
  // The Automation API overlooks a signal that has fired already, so it is looked at here.
  if (options.signal?.aborted)
    return Promise.reject(
      new CliFailed(command, { code: 130, stdout: "", stderr: "aborted before it began" }, true),
    );
  const began = performance.now();
  return new Promise((resolve, reject) => {
    const child = spawn(options.path, args, {
      cwd: options.cwd,
      env: options.env,
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    let kill: NodeJS.Timeout | undefined;
    let killed = false;
    const abort = () => {
      child.kill("SIGINT");
      kill = setTimeout(() => {
        killed = true;
        if (child.pid) killGroup(child.pid);
      }, GRACE_SECONDS * 1000);
    };
    options.signal?.addEventListener("abort", abort, { once: true });
    child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => err.push(chunk));
    const done = (code: number, note = "") => {
      clearTimeout(kill);
      options.signal?.removeEventListener("abort", abort);
      options.onOperation?.({ command, milliseconds: performance.now() - began });
      const result = {
        code,
        stdout: Buffer.concat(out).toString(),
        stderr: Buffer.concat(err).toString() + note,
      };
      if (code === 0) resolve(result);
      else reject(new CliFailed(command, result, options.signal?.aborted ?? false, killed));
    };
    child.once("error", (e) => done(127, e.message));
    child.once("close", (code, signal) => done(code ?? 128, signal ? `ended by ${signal}` : ""));
  });
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code !== "ESRCH") throw e;
  }
}
