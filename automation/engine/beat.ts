import type { TargetKey } from "../core/model";
import type { Run } from "./run";
import { failureOf, type Scene } from "./scene";

/** Seconds between heartbeats: several may be lost before the platform's 30 s of silence are over. */
const BEAT_SECONDS = 5;

/** Says that the run lives until the signal fires, so that no platform gives traffic back by itself. */
export async function beat(run: Run, sceneOf: (key: TargetKey) => Scene, signal: AbortSignal): Promise<void> {
  const busy = new Set<TargetKey>();
  const tell = async (key: TargetKey): Promise<void> => {
    if (busy.has(key)) return;
    busy.add(key);
    try {
      const scene = sceneOf(key);
      const target = scene.state().targets[key];
      if (!target?.touched || target.restored || target.settled || !target.handle) return;
      await scene.target.router.beat(target.handle, scene.ctx);
    } catch (e) {
      run.log(`no heartbeat to ${key}: ${failureOf(e).message}`);
    } finally {
      busy.delete(key);
    }
  };
  while (!signal.aborted) {
    // Nobody waits for them: one that hangs must not silence the others.
    for (const { key } of run.plan.targets) void tell(key);
    await run.clock.sleep(BEAT_SECONDS * 1000, signal);
  }
}
