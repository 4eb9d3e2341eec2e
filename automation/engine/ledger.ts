import { createHash } from "node:crypto";
import { access, open } from "node:fs/promises";
import { join } from "node:path";
import { makeDirectory, syncDirectory } from "./runs";

/** Which tasks are done, by release: a task is never undone, so promoting the release again must not repeat it. */
export interface Ledger {
  has(key: string): Promise<boolean>;
  /** On disk once it resolves. */
  add(key: string): Promise<void>;
}

/** The ledger of an environment: an empty file for each task that is done, named by the hash of its key. */
export function openLedger(environmentDirectory: string): Ledger {
  const directory = join(environmentDirectory, "tasks");
  const fileOf = (key: string) =>
    join(directory, createHash("sha256").update(key).digest("hex").slice(0, 32));
  return {
    async has(key) {
      return access(fileOf(key)).then(
        () => true,
        (e: NodeJS.ErrnoException) => {
          if (e.code === "ENOENT") return false;
          throw e;
        },
      );
    },
    async add(key) {
      await makeDirectory(directory);
      const file = await open(fileOf(key), "a", 0o600);
      try {
        // For whoever looks into the directory.
        if ((await file.stat()).size === 0) await file.appendFile(`${key}\n`);
        await file.sync();
      } finally {
        await file.close();
      }
      await syncDirectory(directory);
    },
  };
}
