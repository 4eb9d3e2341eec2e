import { existsSync, realpathSync } from "node:fs";
import * as path from "node:path";
import { connect } from "./client";
import { bootId, endReplica, endStrays, startOf } from "./process";
import { markOf, openStore } from "./state";

/** Milliseconds that replicas without a supervisor get from SIGTERM to SIGKILL. */
const GRACE_MS = 5000;

/**
 * Ends the supervisor of a state directory with all it runs; what it shall run stays on disk for the next time.
 * Where the supervisor was killed, its replicas are ended all the same. Says whether there was anything to end.
 */
export async function down(directory: string): Promise<boolean> {
  if (!existsSync(directory)) return false;
  const client = await connect(directory, { start: false }).catch((thrown: Error & { code?: string }) => {
    if (thrown.code === "supervisor-unreachable") return undefined;
    throw thrown;
  });
  if (client) await client.stop();
  const real = realpathSync(directory);
  const orphans = existsSync(path.join(real, "services")) ? await endOrphans(real) : 0;
  return client !== undefined || orphans > 0;
}

async function endOrphans(directory: string): Promise<number> {
  const store = openStore(directory);
  const boot = bootId();
  const records = (await store.load())
    .flatMap(({ name }) => store.loadReplicas(name))
    .filter((record) => record.boot === boot && startOf(record.pid) === record.start);
  await Promise.all(records.map((record) => endReplica(record, GRACE_MS)));
  return records.length + (await endStrays(markOf(directory), GRACE_MS, new Set()));
}
