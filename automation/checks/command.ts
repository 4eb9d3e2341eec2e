import type { Check } from "../core/ports";
import { blame, runCommand, told } from "../engine/command";

export interface CommandCheckOptions {
  id: string;
  /** Program and arguments. SLUICE_URL is where the slot answers. */
  run: readonly string[];
  /** Milliseconds it may take. @default 300_000 */
  timeout?: number | undefined;
}

/** A check that a command makes: exit 0 passes, everything else fails for the reason in its last line. */
export function command(options: CommandCheckOptions): Check {
  const { id, run, timeout = 300_000 } = options;
  return {
    id,
    async run(subject, ctx) {
      const ended = await runCommand({
        who: `check ${id}`,
        run,
        timeout,
        env: told(subject, ctx),
        signal: ctx.signal,
        line: (line) => ctx.log(`${id}: ${line}`),
      });
      if (ended.code === 0) return { ok: true, note: ended.last || "exited with 0" };
      return { ok: false, reason: blame(ended, timeout) };
    },
  };
}
