import { analysis } from "../../automation/analysis/analysis";
import { errorRate } from "../../automation/analysis/errors";
import type { Fact, JournalEvent } from "../../automation/core/events";
import type { Analysis, MetricSource } from "../../automation/core/ports";
import type { Desk } from "../../automation/engine/carry";
import { createJournal } from "../../automation/engine/journal";
import { runDirectory } from "../../automation/engine/runs";
import { createRedactor } from "../../components/redact";
import { corner } from "./corner";
import { type Disturbance, type Story, type Tale, tell } from "./story";
import { PLAIN } from "./tales";
import { artifact } from "./world";

/** The run that `kept` puts down. */
export const RUN = "20261124T060000-1a2b3c";

/** How these rollouts are judged: by errors alone, with the default times. */
export function judged(source: MetricSource): Analysis {
  return analysis({ source, judges: [errorRate({ max: "1%", worseThan: 1.5 })] });
}

/** Traffic of a rollout, and the shares of errors of the former release and of the new one. */
export interface Traffic {
  seed: number;
  rps: number;
  old?: number;
  rate: number;
}

/** A rollout through the real driver, in simulated time. */
export function rollout(
  { seed, rps, old = 0.005, rate }: Traffic,
  change: Partial<Tale> = {},
  disturbed?: Disturbance,
): Promise<Story> {
  const rates = { [artifact("old0")]: old, [artifact("new0")]: rate };
  const faults = { traffic: { rps, rates } };
  return tell(
    { ...PLAIN, seed, weights: [5, 10, 25, 50, 100], analysis: true, judged, faults, ...change },
    disturbed,
  );
}

/** Puts a journal where the commands find it. */
export async function kept(
  root: string,
  events: readonly JournalEvent[],
  environment = "prod",
): Promise<string> {
  const directory = runDirectory(root, environment, RUN);
  const journal = await createJournal(directory);
  for (const { v: _v, seq: _s, prev: _p, at, ...fact } of events)
    await journal.append((fact.type === "run.planned" ? { ...fact, run: RUN } : fact) as Fact, at);
  await journal.close();
  return directory;
}

/** A desk of a pipeline whose prod is judged like that, or not at all. */
export function judging(
  root: string,
  analysis: Analysis | undefined,
  secrets: string[] = [],
): Pick<Desk, "project" | "redact"> {
  const { project } = corner(root, ["t0"]);
  const environments = project.pipeline.environments.map((e) =>
    e.name === "prod" && analysis ? { ...e, analysis } : e,
  );
  return {
    project: { ...project, pipeline: { ...project.pipeline, environments } },
    redact: createRedactor(secrets),
  };
}

/** A source that is never read. */
export const SILENT: MetricSource = {
  id: "silent",
  ping: async () => undefined,
  read: async () => undefined,
  value: async () => undefined,
};
