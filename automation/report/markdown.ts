import { seconds } from "../view";
import { flat, plain } from "./plain";
import type { Report } from "./schema";
import { sureness } from "./sureness";

/** The report as Markdown: what a person reads in a terminal or in a pull request. */
export function markdown(report: Report): string {
  const { release } = report;
  return `${[
    `# ${md(report.headline)}`,
    "",
    `- asked: ${code(`npm run ${report.request}`)} by ${md(report.actor)} (unverified)`,
    `- run: ${code(report.run)}${report.exit === undefined ? "" : `, exit code ${report.exit}`}`,
    `- release: ${code(release.id)}${release.source ? `, proved in ${md(release.source)}` : ""}`,
    ...(release.unproven ? [`- unproven: taken on the word of ${md(release.unproven)} (unverified)`] : []),
    `- plan: ${code(report.plan)}`,
    `- began: ${report.began}, ${seconds(report.milliseconds)} until the last event`,
    "",
    "## What to do now",
    "",
    ...report.next.map((n, i) => `${i + 1}. ${prose(n.do)}${n.run ? ` ${code(n.run)}` : ""}`),
    "",
    "## What moved",
    "",
    ...moved(report),
    ...rollback(report),
    "",
    "## Timeline",
    "",
    "| target | act | state | took | note |",
    "| --- | --- | --- | --- | --- |",
    ...report.steps.map(
      (s) =>
        `| ${md(s.target)} | ${md(s.label)} | ${s.status} | ${s.milliseconds === undefined ? "" : seconds(s.milliseconds)} | ${md(s.failure ? `${s.failure.code}: ${s.failure.message}` : (s.verdict?.reason ?? s.note ?? ""))} |`,
    ),
    ...report.steps.flatMap(verdict),
    ...told(
      "Answers",
      report.answers.map(
        (a) =>
          `${a.at}: ${a.answer} by ${md(a.who)} (unverified)${a.reason ? `: ${md(a.reason)}` : ""}${a.counts ? "" : " (to another plan: it counted for nothing)"}`,
      ),
    ),
    ...told(
      "Waits and pauses",
      report.interruptions.map(
        (i) =>
          `${i.at}: ${i.kind}${i.milliseconds ? ` of ${seconds(i.milliseconds)}` : ""}${i.step ? `, ${md(i.step)}` : ""}: ${md(i.reason)}`,
      ),
    ),
    "",
    `${report.samples.reduce((sum, s) => sum + s.points.length, 0)} points of samples are in report.json, and drawn in report.html.`,
  ].join("\n")}\n`;
}

/** A foreign text, in one line, with nothing that Markdown or the HTML in it would obey. */
function md(text: string): string {
  return inert(flat(text));
}

function inert(text: string): string {
  return text
    .replace(/[\\`*_[\]|~#]/g, "\\$&")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;");
}

/** The same, where what stands in backticks is code. */
function prose(text: string): string {
  return flat(text)
    .split(/(`[^`]+`)/)
    .map((part) => (/^`[^`]+`$/.test(part) ? code(part.slice(1, -1)) : inert(part)))
    .join("");
}

/** In a code span nothing is obeyed but its end, and the end of a table's cell. */
function code(text: string): string {
  return `\`${flat(text).replaceAll("`", "'").replaceAll("|", "\\|")}\``;
}

function pin(of: Report["targets"][number]["to"]): string {
  const { slot, artifact, version, commit } = of;
  return `${slot} ${code(artifact)}${version ? ` version ${md(version)}` : ""}${commit ? ` commit ${code(commit)}` : ""}`;
}

function moved(report: Report): string[] {
  return [
    "| target | from | to | result |",
    "| --- | --- | --- | --- |",
    ...report.targets.map(
      (t) =>
        `| ${md(t.key)} | ${t.from ? pin(t.from) : "nothing: its first release"} | ${pin(t.to)} | ${t.result} |`,
    ),
  ];
}

function rollback({ rollback: way }: Report): string[] {
  if (!way) return [];
  return [
    "",
    "## The way back",
    "",
    `${way.at}: ${md(way.reason)}`,
    ...way.targets.flatMap((t) => [
      "",
      `### ${md(t.target)}`,
      "",
      ...(t.diverted ? [`- ${t.diverted}: ${t.moved ? "traffic is off the new slot" : "no traffic"}`] : []),
      ...t.failures.map((f) => `- ${f.at}: attempt ${f.attempt} failed: ${md(`${f.code}: ${f.message}`)}`),
      ...(t.restored ? [`- ${t.restored}: restored`] : []),
      ...(t.logs.length > 0
        ? ["", "The failing slot's last lines:", "", ...t.logs.map((line) => `    ${indented(line)}`)]
        : []),
    ]),
  ];
}

/** In an indented block nothing is obeyed; a line end would leave it. */
function indented(line: string): string {
  return plain(line).replace(/\s*\n\s*/g, " ");
}

function verdict(s: Report["steps"][number]): string[] {
  if (!s.verdict) return [];
  return [
    "",
    `## Evidence: ${md(s.target)}, ${md(s.label)}`,
    "",
    `Verdict: **${s.verdict.verdict}**. ${md(s.verdict.said ?? s.verdict.reason)}`,
    "",
    ...s.verdict.findings.map((f) => {
      const figures = Object.entries(f.figures).map(([k, v]) => `${md(k)} ${Math.round(v * 1e6) / 1e6}`);
      return `- ${md(f.judge)}: ${f.verdict}. ${md(f.reason)} (${[...figures, ...sureness(f).map(md)].join(", ")})`;
    }),
  ];
}

function told(title: string, items: readonly string[]): string[] {
  return items.length > 0 ? ["", `## ${title}`, "", ...items.map((item) => `- ${item}`)] : [];
}
