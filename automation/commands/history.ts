import { WrongUse } from "../core/errors";
import { fold } from "../core/events";
import type { Desk } from "../engine/carry";
import { readJournal } from "../engine/journal";
import { environmentOf } from "../engine/pipeline";
import { listRuns } from "../engine/runs";
import { seconds } from "../view";

/** One run of the past, or the open one. */
export interface Past {
  environment: string;
  run: string;
  request: string;
  actor: string;
  release: string;
  /** The environment that the release came from; none for a build, a rollback or a redeploy. */
  source?: string | undefined;
  /** An outcome, or `open`; `unreadable` where the journal is corrupt. */
  outcome: string;
  began: string;
  milliseconds: number;
  reason?: string | undefined;
}

/** The runs of environments, newest first. Throws `wrong-use` where the limit is no whole number above 0. */
export async function history(
  names: readonly string[],
  desk: Pick<Desk, "project">,
  limit = 20,
): Promise<Past[]> {
  if (!Number.isSafeInteger(limit) || limit < 1) throw WrongUse("--limit takes a whole number above 0.");
  const { pipeline, root } = desk.project;
  const known =
    names.length > 0
      ? names.map((n) => environmentOf(pipeline, n).name)
      : pipeline.environments.map((e) => e.name);
  const all: Past[] = [];
  for (const environment of known)
    for (const { run, directory } of (await listRuns(root, environment)).slice(0, limit)) {
      const past = await read(environment, run, directory);
      if (past) all.push(past);
    }
  return all.sort((a, b) => (a.run < b.run ? 1 : -1)).slice(0, limit);
}

async function read(environment: string, run: string, directory: string): Promise<Past | undefined> {
  try {
    const state = fold((await readJournal(directory)).events);
    if (!state) return undefined;
    const { plan } = state;
    return {
      environment,
      run,
      request: plan.request,
      actor: state.actor,
      release: plan.release,
      source: plan.source,
      outcome: state.outcome ?? "open",
      began: new Date(state.startedAt).toISOString(),
      milliseconds: state.at - state.startedAt,
      reason: state.rollback?.reason ?? state.paused,
    };
  } catch (e) {
    const reason = e instanceof Error ? e.message : String(e);
    return {
      environment,
      run,
      request: "",
      actor: "",
      release: "",
      outcome: "unreadable",
      began: "",
      milliseconds: 0,
      reason,
    };
  }
}

/** The history for people: a line for each run, so of its reason the first line only. */
export function historyLines(all: readonly Past[]): string[] {
  if (all.length === 0) return ["No run yet. `npm run promote -- staging prod` begins the first."];
  const rows = all.map((p) => [
    p.run,
    p.environment,
    p.outcome,
    p.milliseconds > 0 ? seconds(p.milliseconds) : "",
    p.release.slice(0, 12),
    p.source ? `from ${p.source}` : "",
    p.actor,
    `${p.request}${p.reason ? `  (${firstLine(p.reason)})` : ""}`,
  ]);
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0))) ?? [];
  const last = widths.length - 1;
  // An empty column takes no room, and nothing is padded at the end of a line.
  return rows.map((row) =>
    row
      .flatMap((cell, i) => (widths[i] === 0 ? [] : [i === last ? cell : cell.padEnd(widths[i] ?? 0)]))
      .join("  ")
      .trimEnd(),
  );
}

function firstLine(text: string): string {
  const [first = "", ...rest] = text.trim().split(/\s*[\r\n]+\s*/);
  return rest.length > 0 ? `${first} …` : first;
}
