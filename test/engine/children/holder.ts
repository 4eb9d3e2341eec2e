import { spawn } from "node:child_process";
import { acquireLease } from "../../../automation/engine/lease";

/** Takes the lease, starts a process that outlives it, tells both and waits to be killed. */
async function main(directory: string): Promise<void> {
  const lease = await acquireLease(directory, { run: "20261124T055217-1a2b3c" });
  const heir = spawn("sleep", ["300"], { detached: true, stdio: "ignore" });
  heir.unref();
  process.stdout.write(`${JSON.stringify({ token: lease.token, heir: heir.pid })}\n`);
  setInterval(() => undefined, 60_000);
}

void main(process.argv[2] as string);
