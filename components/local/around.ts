import type { Metrics } from "./metrics";
import type { Store } from "./state";

/** How long things may take, in milliseconds. */
export interface Timing {
  /** Silence of an open run after which its traffic is given back. @default 30,000 */
  silenceMs: number;
  /** In-flight requests of a slot that is emptied. @default 30,000 */
  drainMs: number;
  /** From SIGTERM to SIGKILL. @default 5,000 */
  graceMs: number;
}

/** What the services of one supervisor share. */
export interface Surroundings {
  store: Store;
  /** Mark of the state directory, carried by every process of a replica. */
  mark: string;
  metrics: Metrics;
  timing: Timing;
  log(line: string): void;
}

/** Does what is no part of a write: where it fails, the disk being full, say, that is logged and life goes on. */
export function attempt(around: Surroundings, name: string, work: () => void): void {
  try {
    work();
  } catch (thrown) {
    around.log(`${name}: ${String(thrown)}`);
  }
}
