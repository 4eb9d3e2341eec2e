import pc from "picocolors";
import { DEFAULTS, decisions, recordings } from "../analysis/replay";
import type { StepId, TargetKey, Verdict } from "../core/model";
import type { Desk } from "../engine/carry";
import { readJournal } from "../engine/journal";
import { basisOf, type Evidence, evidenceOf } from "../report/evidence";
import { type Basis, paragraph } from "../report/paragraph";
import { flat } from "../report/plain";
import { type Paper, plot } from "../views/plot";
import { UnknownRun, which } from "./which";

/** A decision of a run, and why. */
export interface Explained extends Basis {
  run: string;
  environment: string;
  target: TargetKey;
  step: StepId;
  at: number;
  /** Held until then: it was neither good nor bad. */
  until?: number | undefined;
  verdict: Verdict;
  text: string;
}

/** Why a run decided as it did. */
export interface Explanation {
  run: string;
  decisions: Explained[];
  /** The evidence over time, of each target that was watched; none where no judge knows how sure it is. */
  evidence: Evidence[];
}

/** Tells the decisions of a run from its journal. Throws `unknown-run`, `journal-corrupt`. */
export async function explain(word: string, desk: Pick<Desk, "project" | "redact">): Promise<Explanation> {
  const { environment, run, directory } = await which(desk.project, word);
  const { events } = await readJournal(directory);
  const [first] = events;
  if (first?.type !== "run.planned") throw UnknownRun(word, `${run} was cut off before it began.`);
  const analysis = desk.project.pipeline.environments.find((e) => e.name === environment)?.analysis;
  const all = recordings(first.plan, events);
  const told = decisions(first.plan, events).map((decision): Explained => {
    const basis = basisOf(decision, all);
    const { step, at, verdict, until } = decision;
    const text = paragraph(decision, basis, analysis ?? DEFAULTS);
    return { run, environment, target: step.target, step: step.id, at, until, verdict, ...basis, text };
  });
  const evidence = analysis ? evidenceOf(first.plan, events, analysis) : [];
  return desk.redact.json({ run, decisions: told, evidence });
}

/** The decisions, each as a paragraph, and the evidence over time. */
export function explainLines({ run, decisions: told, evidence }: Explanation, paper: Paper): string[] {
  if (told.length === 0 && evidence.length === 0)
    return [`Nothing was decided by analysis in run ${run}.`, "  `npm run show` tells its story."];
  return [
    ...told.flatMap((d) => [flat(d.text), ""]),
    ...(told.length === 0 ? ["Nothing has been decided yet.", ""] : []),
    ...evidence.flatMap(({ target, points, enough, same }) => [
      pc.bold(`${flat(target)}: evidence over time`),
      ...plot(points, enough, paper),
      ...(same
        ? []
        : ["  The pipeline's judges are not those that decided: this is what they see in it now."]),
      "",
    ]),
  ].slice(0, -1);
}
