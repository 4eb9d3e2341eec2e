import { closeSync, openSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { acquireLease, RunHeld } from "../../../automation/engine/lease";

/** Takes and gives back the lease as often as told; says each token, and fails if another is inside. */
async function main(directory: string, times: number): Promise<void> {
  const inside = join(directory, "inside");
  for (let done = 0; done < times; ) {
    const lease = await acquireLease(directory).catch((e: unknown) => {
      if (RunHeld.is(e)) return undefined;
      throw e;
    });
    if (!lease) continue;
    closeSync(openSync(inside, "wx"));
    process.stdout.write(`${lease.token}\n`);
    await new Promise(setImmediate);
    unlinkSync(inside);
    await lease.release();
    done += 1;
  }
}

void main(process.argv[2] as string, Number(process.argv[3]));
