import { randomBytes } from "node:crypto";
import { mkdir, open, readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { error } from "../../components/errors";
import type { Instant, RunId } from "../core/model";

/** The file a run is recorded in, inside its directory. */
export const JOURNAL = "journal.jsonl";

const RUN = /^\d{8}T\d{6}-[0-9a-f]{6}$/;
const ENVIRONMENT = /^[a-z0-9][a-z0-9._-]{0,99}$/i;

export const BadRunName = error("bad-run-name", {
  message: (what: string, name: string) => `${JSON.stringify(name)} can't be the name of ${what}.`,
  hint: () =>
    "Environments are letters, digits, dots, dashes; a run looks like 20261124T055217-1a2b3c: see `npm run history`.",
});

/**
 * A new name that sorts by time to the millisecond: UTC to the second, 3 hex of milliseconds, 3 of chance. It is
 * greater than `after`, the newest name there is, although the clock was set back: the newest run alone can be open.
 */
export function newRunId(now: Instant, after?: RunId): RunId {
  const at = after === undefined ? now : Math.max(now, instantOf(after) + 1);
  const [day, time, milliseconds] = new Date(at).toISOString().split(/[T.]/) as [string, string, string];
  const fraction = Number.parseInt(milliseconds, 10).toString(16).padStart(3, "0");
  const chance = randomBytes(2).toString("hex").slice(1);
  return `${day.replaceAll("-", "")}T${time.replaceAll(":", "")}-${fraction}${chance}`;
}

/** The time in a run's name. */
export function instantOf(run: RunId): Instant {
  if (!isRunId(run)) throw BadRunName("a run", run);
  const second = run.replace(/^(....)(..)(..)T(..)(..)(..)-.*$/, "$1-$2-$3T$4:$5:$6Z");
  return Date.parse(second) + Number.parseInt(run.slice(16, 19), 16);
}

/** Whether the text could be the name of a run. */
export function isRunId(text: string): boolean {
  return RUN.test(text);
}

/** Where the lease and the runs of an environment are kept. */
export function environmentDirectory(root: string, environment: string): string {
  if (!ENVIRONMENT.test(environment)) throw BadRunName("an environment", environment);
  return join(root, ".sluice", "runs", environment);
}

/** Where a run keeps its journal, inbox, logs and report. */
export function runDirectory(root: string, environment: string, run: RunId): string {
  if (!isRunId(run)) throw BadRunName("a run", run);
  return join(environmentDirectory(root, environment), run);
}

/** The runs of an environment that have a journal, newest first; whatever else lies there is passed over. */
export async function listRuns(
  root: string,
  environment: string,
): Promise<{ run: RunId; directory: string }[]> {
  const parent = environmentDirectory(root, environment);
  const names = await readdir(parent).catch((e: NodeJS.ErrnoException) => {
    if (e.code === "ENOENT" || e.code === "ENOTDIR") return [];
    throw e;
  });
  const found = await Promise.all(
    names.filter(isRunId).map(async (run) => {
      const directory = join(parent, run);
      const journal = await stat(join(directory, JOURNAL)).catch(() => undefined);
      return journal?.isFile() ? [{ run, directory }] : [];
    }),
  );
  return found.flat().sort((a, b) => (a.run < b.run ? 1 : -1));
}

/** Makes directories that only their owner may enter, and that are still there after a power cut. */
export async function makeDirectory(directory: string): Promise<void> {
  const first = await mkdir(directory, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  for (let at = directory; ; at = dirname(at)) {
    await syncDirectory(dirname(at));
    if (at === first || at === dirname(at)) return;
  }
}

/** Puts the names in a directory on disk: a new file that is synced may still lack its name. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
