import pc from "picocolors";
import { seconds } from "../view";
import { flat, plain } from "./plain";
import type { Report } from "./schema";

/** The story of a run for a terminal. */
export function reportLines(report: Report): string[] {
  const { release } = report;
  return [
    colour(report.outcome)(pc.bold(flat(report.headline))),
    `  run ${report.run}, \`npm run ${flat(report.request)}\` by ${flat(report.actor)} (unverified)`,
    `  release ${release.id.slice(0, 12)}${release.source ? ` from ${flat(release.source)}` : ""}, began ${report.began}, ${seconds(report.milliseconds)} so far known`,
    ...(release.unproven ? [`  unproven: taken on the word of ${flat(release.unproven)} (unverified)`] : []),
    ...report.targets.flatMap((t) => [
      `  ${flat(t.key)}: ${t.result}${t.split ? `, declared blue ${t.split.blue} % green ${t.split.green} %` : ""}`,
      `    from ${t.from ? pin(t.from) : "nothing: its first release"}`,
      `    to   ${pin(t.to)}`,
    ]),
    "",
    ...report.steps.map(stepLine),
    ...way(report),
    ...told(
      "Answers",
      report.answers.map(
        (a) =>
          `${a.at} ${a.answer} by ${flat(a.who)} (unverified)${a.reason ? `: ${flat(a.reason)}` : ""}${a.counts ? "" : " (to another plan: it counted for nothing)"}`,
      ),
    ),
    ...told(
      "Waits and pauses",
      report.interruptions.map(
        (i) => `${i.at} ${i.kind}${i.milliseconds ? ` ${seconds(i.milliseconds)}` : ""}: ${flat(i.reason)}`,
      ),
    ),
    ...told(
      "What to do now",
      report.next.map((n) => `${flat(n.do)}${n.run ? ` \`${flat(n.run)}\`` : ""}`),
    ),
  ];
}

function colour(outcome: Report["outcome"]): (text: string) => string {
  switch (outcome) {
    case "promoted":
    case "resolved":
      return pc.green;
    case "rolled-back":
    case "stuck":
      return pc.red;
    case "refused":
    case "paused":
    case "open":
      return pc.yellow;
    default:
      throw outcome satisfies never;
  }
}

function pin(of: Report["targets"][number]["to"]): string {
  const { slot, artifact, version, commit } = of;
  return `${slot} ${flat(artifact)}${version ? `, version ${flat(version)}` : ""}${commit ? `, commit ${flat(commit)}` : ""}`;
}

const MARKS = { "not begun": " ", started: "▸", waiting: "…", done: "✓", failed: "✗" } as const;

function stepLine(s: Report["steps"][number]): string {
  const took = s.milliseconds === undefined ? "" : seconds(s.milliseconds);
  const note = s.failure ? `${s.failure.code}: ${s.failure.message}` : (s.verdict?.reason ?? s.note);
  const mark = s.status === "failed" ? pc.red(MARKS.failed) : MARKS[s.status];
  return `  ${mark} ${flat(s.target).padEnd(10)} ${flat(s.label).padEnd(16)} ${took.padStart(7)}${note ? `  ${pc.dim(flat(note))}` : ""}`.trimEnd();
}

function way({ rollback }: Report): string[] {
  if (!rollback) return [];
  return [
    "",
    pc.bold("The way back"),
    `  ${rollback.at} ${flat(rollback.reason)}`,
    ...rollback.targets.flatMap((t) => [
      ...(t.diverted
        ? [`  ${t.diverted} ${flat(t.target)}: ${t.moved ? "traffic is off the new slot" : "no traffic"}`]
        : []),
      ...t.failures.map(
        (f) => `  ${f.at} ${flat(t.target)}: attempt ${f.attempt} failed: ${flat(`${f.code}: ${f.message}`)}`,
      ),
      ...(t.restored ? [`  ${t.restored} ${flat(t.target)}: restored`] : []),
      ...t.logs.map((line) => pc.dim(`    | ${plain(line).replaceAll("\n", " ")}`)),
    ]),
  ];
}

function told(title: string, items: readonly string[]): string[] {
  return items.length > 0 ? ["", pc.bold(title), ...items.map((item) => `  - ${item}`)] : [];
}
