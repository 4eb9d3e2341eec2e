import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { EXIT } from "./core/errors";
import { fold, type JournalEvent, type RunState } from "./core/events";
import type { Verdict } from "./core/model";
import type { Carried } from "./engine/carry";
import { label, seconds } from "./view";

/** The exit code that a CI job can trust. */
export function exitCode(results: readonly Carried[]): number {
  const last = results.at(-1);
  if (!last) return EXIT.promoted;
  switch (last.left) {
    case "nothing":
    case "planned":
      return EXIT.promoted;
    case "paused":
      return last.reason === "interrupted twice" ? EXIT.interrupted : EXIT.paused;
    case "stuck":
      return EXIT.stuck;
    case "finished":
      return {
        promoted: EXIT.promoted,
        "rolled-back": EXIT.rolledBack,
        refused: EXIT.refused,
        stuck: EXIT.stuck,
      }[last.outcome];
    default:
      throw last satisfies never;
  }
}

/** Writes `report.md` into the run's folder and answers with its path; undefined where no run was begun. */
export async function writeReport(carried: Carried): Promise<string | undefined> {
  const { directory, events } = carried;
  const state = events && fold(events);
  if (!directory || !state) return undefined;
  const file = join(directory, "report.md");
  await writeFile(file, `${report(state, events).join("\n")}\n`, { mode: 0o600 });
  return file;
}

function report(state: RunState, events: readonly JournalEvent[]): string[] {
  const { plan } = state;
  const rows = plan.steps.map((step) => {
    const s = state.targets[step.target]?.steps[step.id];
    const took = s?.endedAt ? seconds(s.endedAt - s.startedAt) : "";
    const note = s?.failure?.message ?? s?.verdict?.reason ?? s?.note ?? "";
    return `| ${step.target} | ${label(step)} | ${s?.status ?? "not begun"} | ${took} | ${note.replaceAll("|", "\\|").replaceAll("\n", " ")} |`;
  });
  return [
    `# ${plan.environment}: ${state.outcome ?? state.paused ?? "open"}`,
    "",
    `- run: ${state.run}`,
    `- asked: \`npm run ${plan.request}\` by ${state.actor}`,
    `- release: ${plan.release}`,
    ...Object.entries(plan.pins).map(
      ([service, pin]) => `- ${service}: ${pin.artifact}${pin.commit ? ` (commit ${pin.commit})` : ""}`,
    ),
    ...(plan.unproven ? [`- unproven: taken on the word of ${plan.unproven}`] : []),
    `- began: ${new Date(state.startedAt).toISOString()}`,
    `- took: ${seconds(state.at - state.startedAt)}`,
    ...(state.reason ? [`- result: ${state.reason}`] : []),
    "",
    "| target | act | state | took | note |",
    "| --- | --- | --- | --- | --- |",
    ...rows,
    ...evidence(state, events),
  ];
}

function evidence(state: RunState, events: readonly JournalEvent[]): string[] {
  const verdicts = state.plan.steps.flatMap((step) => {
    const verdict = state.targets[step.target]?.steps[step.id]?.verdict;
    return verdict ? [[`## Evidence: ${step.target}, ${label(step)}`, "", ...findings(verdict)]] : [];
  });
  const samples = events.filter((e) => e.type === "sample.taken").length;
  const logs = state.rollback ? ["", "The failing slot's last lines are in `logs/` beside this file."] : [];
  return [...verdicts.flatMap((v) => ["", ...v]), "", `${samples} samples are in the journal.`, ...logs];
}

function findings(verdict: Verdict): string[] {
  return [
    `Verdict: **${verdict.verdict}**. ${verdict.reason}`,
    "",
    ...verdict.findings.map(
      (f) =>
        `- ${f.judge}: ${f.verdict}. ${f.reason} (${Object.entries(f.figures)
          .map(([k, v]) => `${k} ${Math.round(v * 1e6) / 1e6}`)
          .join(", ")})`,
    ),
  ];
}
