import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { error } from "../../components/errors";
import type { RunId } from "../core/model";
import type { Project } from "../engine/project";
import { listRuns } from "../engine/runs";

/** A run that is kept in this checkout. */
export interface Which {
  environment: string;
  run: RunId;
  directory: string;
}

/** Runs that an error lists. */
const LISTED = 5;
/** Characters that a beginning of a run's name must have: the year and the month. */
const LEAST = 6;

export const UnknownRun = error("unknown-run", {
  message: (word: string, why: string) => `No run can be told by "${word}": ${why}`,
  hint: () =>
    "Give an environment (its newest run), a run's name, or as much of it as no other has: `npm run history` lists them.",
});

/** The run that a word means: an environment is its newest one, else a name or its beginning. Throws `unknown-run`. */
export async function which({ root }: Pick<Project, "root">, word: string): Promise<Which> {
  const all = await everyRun(root);
  const newest = all.find((one) => one.environment === word);
  if (newest) return newest;
  const found = all.filter(({ run }) => run === word || (word.length >= LEAST && run.startsWith(word)));
  const [only] = found;
  if (found.length === 1 && only) return only;
  if (found.length > 1) throw UnknownRun(word, `it could be ${list(found)}.`);
  throw UnknownRun(
    word,
    all.length > 0 ? `the newest are ${list(all)}.` : "there is none here yet; `npm run promote` begins one.",
  );
}

function list(runs: readonly Which[]): string {
  return runs
    .slice(0, LISTED)
    .map(({ run, environment }) => `${run} (${environment})`)
    .join(", ");
}

/** Newest first; of environments that the pipeline has no more, too. */
async function everyRun(root: string): Promise<Which[]> {
  const folder = join(root, ".sluice", "runs");
  const entries = await readdir(folder, { withFileTypes: true }).catch((e: NodeJS.ErrnoException) => {
    if (e.code === "ENOENT") return [];
    throw e;
  });
  const names = entries.filter((e) => e.isDirectory() && /^[a-z0-9]/i.test(e.name)).map((e) => e.name);
  const all = await Promise.all(
    names.map(async (environment) =>
      (await listRuns(root, environment)).map((one) => ({ ...one, environment })),
    ),
  );
  return all.flat().sort((a, b) => (a.run < b.run ? 1 : -1));
}
