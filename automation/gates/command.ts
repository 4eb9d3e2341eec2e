import type { Gate } from "../core/ports";
import { blame, runCommand, told } from "../engine/command";

export interface CommandGateOptions {
  id: string;
  /** Program and arguments. It gets SLUICE_RELEASE, SLUICE_ENVIRONMENT and the like. */
  run: readonly string[];
  /** Milliseconds it may take; then the gate is closed. @default 60_000 */
  timeout?: number | undefined;
  /** What to do while it is closed. */
  hint?: string | undefined;
}

/** A gate that a command answers: exit 0 is open, everything else closed, for the reason in its last line. */
export function command(options: CommandGateOptions): Gate {
  const { id, run, timeout = 60_000, hint } = options;
  return {
    id,
    async ask(subject, ctx) {
      const ended = await runCommand({
        who: `gate ${id}`,
        run,
        timeout,
        env: told(subject, ctx),
        signal: ctx.signal,
      });
      if (ended.code === 0) return { answer: "open" };
      return { answer: "closed", reason: blame(ended, timeout), hint };
    },
  };
}
