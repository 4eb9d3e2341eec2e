import { setTimeout as pause } from "node:timers/promises";
import type { Task } from "../core/ports";
import { blame, runCommand, told } from "../engine/command";

export interface CommandTaskOptions {
  id: string;
  /** Program and arguments. SLUICE_TASK_KEY is the same for each repetition for the same release. */
  run: readonly string[];
  /** Times it is run again after a failure. @default 0 */
  retries?: number | undefined;
  /** Milliseconds each run may take. @default 600_000 */
  timeout?: number | undefined;
  /** Milliseconds before the first repetition; doubles each time, up to 30 s. @default 1000 */
  backoff?: number | undefined;
}

/** A task that a command does: exit 0 is success. It must do no harm when it is run twice with one SLUICE_TASK_KEY. */
export function task(options: CommandTaskOptions): Task {
  const { id, run, retries = 0, timeout = 600_000, backoff = 1000 } = options;
  return {
    id,
    async run(subject, ctx) {
      const env = { ...told(subject, ctx), SLUICE_TASK: id, SLUICE_TASK_KEY: `${subject.release}/${id}` };
      for (let attempt = 0; ; attempt += 1) {
        const ended = await runCommand({
          who: `task ${id}`,
          run,
          timeout,
          env,
          signal: ctx.signal,
          line: (line) => ctx.log(`${id}: ${line}`),
        });
        if (ended.code === 0) return { ok: true, ...(ended.last && { note: ended.last }) };
        const reason = blame(ended, timeout);
        if (attempt >= retries) return { ok: false, reason };
        ctx.log(`${id}: ${reason}; ${retries - attempt} more to try`);
        await pause(Math.min(backoff * 2 ** attempt, 30_000), undefined, { signal: ctx.signal });
      }
    },
  };
}
