import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { readdir, rename, rm } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { error } from "../errors";
import { startOf } from "./process";
import { unsealTree } from "./tree";

export const StoreFull = error("artifact-store-full", {
  message: (store: string, why: string) =>
    `There is no room left for an artifact in ${store} (${why}); nothing was kept.`,
  hint: (store: string) =>
    `Free some space, for example by removing old artifacts from ${store}, then run it again.`,
});

/** Moves a finished copy to its name. False where another process was first: then that one counts. */
export async function publish(draft: string, path: string): Promise<boolean> {
  try {
    await rename(draft, path);
    return true;
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if ((code === "ENOTEMPTY" || code === "EEXIST") && existsSync(path)) return false;
    throw thrown;
  }
}

/** Puts the copy on disk before it gets its name: a power cut leaves a whole artifact or none. */
export function flush(draft: string): Promise<void> {
  return new Promise((done) => {
    const sync = spawn("sync", ["-f", draft], { stdio: "ignore" });
    sync.on("error", () => done());
    sync.on("close", () => done());
  });
}

/** `.draft-<host>-<pid>-<start>-<random>`: whose it is, so that a dead process's can be removed. */
export function draftName(): string {
  return `.draft-${hostname()}-${process.pid}-${startOf(process.pid) ?? ""}-${randomBytes(4).toString("hex")}`;
}

/** Removes what killed processes of this machine left half done. */
export async function sweep(store: string): Promise<void> {
  for (const name of await readdir(store)) {
    const [, host, pid, start] = /^\.draft-(.+)-(\d+)-(\d*)-[0-9a-f]{8}$/.exec(name) ?? [];
    if (host !== hostname() || (startOf(Number(pid)) ?? "") === start) continue;
    endBuild(join(store, name));
    await discard(join(store, name));
  }
}

/** Ends what an orphaned build still runs: it is known by its HOME, which nobody else has. */
function endBuild(draft: string): void {
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, "latin1").split("\0");
      if (environment.includes(`HOME=${Buffer.from(draft).toString("latin1")}-home`))
        process.kill(Number(pid), "SIGKILL");
    } catch {
      // It has ended, or it is another user's.
    }
  }
}

/** Removes a draft and the home of its build. */
export async function discard(draft: string): Promise<void> {
  for (const path of [`${draft}-home`, draft]) {
    await unsealTree(path).catch(() => undefined);
    await rm(path, { recursive: true, force: true });
  }
}
