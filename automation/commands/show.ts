import pc from "picocolors";
import type { Desk } from "../engine/carry";
import { readJournal } from "../engine/journal";
import { type Holder, leaseHolder } from "../engine/lease";
import { environmentDirectory } from "../engine/runs";
import { reportOf } from "../report";
import { flat } from "../report/plain";
import type { Report } from "../report/schema";
import { reportLines } from "../report/text";
import { UnknownRun, which } from "./which";

/** The story of a run as far as its journal goes, and who drives it now. */
export interface Story {
  report: Report;
  holder?: Holder | undefined;
}

/** Tells a run from its journal, also while it goes on or after a crash. Throws `unknown-run`, `journal-corrupt`. */
export async function show(word: string, desk: Pick<Desk, "project" | "redact">): Promise<Story> {
  const { root, pipeline } = desk.project;
  const { environment, run, directory } = await which(desk.project, word);
  const { events } = await readJournal(directory);
  const { analysis } = pipeline.environments.find((e) => e.name === environment) ?? {};
  const report = await reportOf(directory, events, analysis);
  // A journal whose first line was torn: nothing was done in its name.
  if (!report) throw UnknownRun(word, `${run} was cut off before it began.`);
  const over = report.outcome !== "open" && report.outcome !== "paused" && report.outcome !== "stuck";
  const holder = over ? undefined : await leaseHolder(environmentDirectory(root, environment));
  return { report: desk.redact.json(report), holder: holder?.run === run ? holder : undefined };
}

/** The story for people. */
export function showLines({ report, holder }: Story): string[] {
  const [first = "", ...rest] = reportLines(report);
  return [
    first,
    ...(report.outcome === "open"
      ? [
          holder
            ? `  driven by ${flat(holder.user)} on ${flat(holder.host)} (pid ${holder.pid})`
            : pc.yellow("  driven by nobody: it was cut off"),
        ]
      : []),
    ...rest,
  ];
}
