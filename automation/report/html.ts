import { createHash } from "node:crypto";
import { seconds } from "../view";
import { bar, chart, course } from "./chart";
import { flat, plain } from "./plain";
import type { Report } from "./schema";
import { STYLE } from "./style";
import { sureness } from "./sureness";

type Step = Report["steps"][number];

/** One file that works from disk: it loads nothing, runs nothing, and its policy lets it do neither. */
export function html(report: Report): string {
  const style = createHash("sha256").update(STYLE).digest("base64");
  return [
    `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-${style}'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>${text(report.environment)}: ${report.outcome}, ${text(report.run)}</title>
<style>${STYLE}</style>
</head>
<body>
<h1 class="${report.outcome}">${text(report.headline)}</h1>`,
    facts(report),
    section("What to do now", list(report.next.map((n) => prose(n.do) + command(n.run)))),
    section("What moved", moved(report)),
    rollback(report),
    section("Timeline", timeline(report)),
    section(
      "Verdicts",
      report.steps
        .filter((s) => s.verdict)
        .map(verdict)
        .join("\n"),
    ),
    section("Evidence", (report.evidence ?? []).map(evidence).join("\n")),
    section("Samples", report.samples.map(samples).join("\n")),
    section("Answers", list(report.answers.map(answer))),
    section("Waits and pauses", list(report.interruptions.map(interruption))),
    "</body>\n</html>\n",
  ]
    .filter(Boolean)
    .join("\n");
}

/** A foreign text as HTML, in one line; it can't turn the direction of what stands around it. */
function text(value: string): string {
  return escaped(flat(value));
}

/** Markup characters as what they are. */
function escaped(value: string): string {
  return value
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll("'", "&#39;");
}

/** The same, with what stands in backticks as code. */
function prose(value: string): string {
  return `<bdi>${text(value).replace(/`([^`]+)`/g, "<code>$1</code>")}</bdi>`;
}

function bdi(value: string): string {
  return `<bdi>${text(value)}</bdi>`;
}

function code(value: string): string {
  return `<code>${text(value)}</code>`;
}

function command(run: string | undefined): string {
  return run === undefined ? "" : `<pre>${text(run)}</pre>`;
}

function lines(of: readonly string[]): string {
  return `<pre>${of.map((line) => escaped(plain(line))).join("\n")}</pre>`;
}

function section(title: string, body: string): string {
  return body && `<h2>${title}</h2>\n${body}`;
}

function list(items: readonly string[]): string {
  return items.length > 0 ? `<ol>${items.map((item) => `<li>${item}</li>`).join("\n")}</ol>` : "";
}

function table(head: readonly string[], rows: readonly string[]): string {
  const heads = head.map((h) => `<th scope="col">${h}</th>`).join("");
  return `<div class="wide"><table><thead><tr>${heads}</tr></thead><tbody>\n${rows.join("\n")}\n</tbody></table></div>`;
}

function time(at: string): string {
  return `<time datetime="${at}">${at.slice(0, 19).replace("T", " ")}</time>`;
}

function facts(report: Report): string {
  const { release } = report;
  const entries: [string, string][] = [
    ["asked", `${code(`npm run ${report.request}`)} by ${bdi(report.actor)} (unverified)`],
    ["run", `${code(report.run)}${report.exit === undefined ? "" : `, exit code ${report.exit}`}`],
    ["release", `${code(release.id)}${release.source ? `, proved in ${bdi(release.source)}` : ""}`],
    ...(release.unproven
      ? [["unproven", `taken on the word of ${bdi(release.unproven)} (unverified)`] as [string, string]]
      : []),
    ["plan", code(report.plan)],
    ["began", `${time(report.began)} UTC, ${seconds(report.milliseconds)} until the last event`],
  ];
  return `<dl>${entries.map(([k, v]) => `<dt>${k}</dt><dd>${v}</dd>`).join("\n")}</dl>`;
}

type Pin = Report["targets"][number]["to"];

function pin({ slot, artifact, version, commit, repository }: Pin): string {
  return [
    `<b>${slot}</b> ${code(artifact)}`,
    version && `version ${bdi(version)}`,
    commit && `commit ${code(commit)}`,
    repository && bdi(repository),
  ]
    .filter(Boolean)
    .join("<br>");
}

function moved(report: Report): string {
  const rows = report.targets.map((t) => {
    const split = t.split ? `blue ${t.split.blue} %, green ${t.split.green} %` : "";
    return `<tr><td>${bdi(t.key)}</td><td class="note">${t.from ? pin(t.from) : "nothing: its first release"}</td><td class="note">${pin(t.to)}</td><td class="${t.result}">${t.result}</td><td>${split}</td></tr>`;
  });
  return table(["target", "from", "to", "result", "declared split"], rows);
}

function rollback({ rollback: way }: Report): string {
  if (!way) return "";
  const head = `<p>${time(way.at)} UTC: ${prose(way.reason)}</p>`;
  const targets = way.targets.map((t) => {
    const steps = [
      ...(t.diverted
        ? [
            `${time(t.diverted)}: ${t.moved ? "traffic is off the new slot" : "its acts have ended; it had no traffic to take back"}`,
          ]
        : []),
      ...t.failures.map(
        (f) => `${time(f.at)}: attempt ${f.attempt} failed: ${code(f.code)} ${prose(f.message)}`,
      ),
      ...(t.restored ? [`${time(t.restored)}: restored`] : []),
    ];
    const logs =
      t.logs.length > 0 ? `<p class="soft">The failing slot's last lines:</p>${lines(t.logs)}` : "";
    return `<h3>${bdi(t.target)}</h3>${list(steps)}${logs}`;
  });
  return section("The way back", [head, ...targets].join("\n"));
}

function timeline(report: Report): string {
  const rows = report.steps.map((s) => {
    const took = s.milliseconds === undefined ? "" : seconds(s.milliseconds);
    return `<tr><td>${bdi(s.target)}</td><td>${bdi(s.label)}</td><td class="${s.status.replace(" ", "-")}">${s.status}${s.attempts > 1 ? `, attempt ${s.attempts}` : ""}</td><td>${bar(s, report)}</td><td>${took}</td><td class="note">${note(s)}</td></tr>`;
  });
  return table(["target", "act", "state", "when", "took", "note"], rows);
}

function note(s: Step): string {
  if (s.failure) return `${code(s.failure.code)} ${prose(s.failure.message)}`;
  const said = s.verdict?.reason ?? s.note;
  return said === undefined ? "" : prose(said);
}

function verdict(s: Step): string {
  if (!s.verdict) return "";
  const rows = s.verdict.findings.map((f) => {
    const figures = Object.entries(f.figures).map(([k, v]) => `${text(k)} ${Math.round(v * 1e6) / 1e6}`);
    return `<tr><td>${bdi(f.judge)}</td><td class="${f.verdict}">${f.verdict}</td><td class="note">${prose(f.reason)}</td><td class="note">${figures.join("<br>")}</td><td class="note">${sureness(f).map(text).join("<br>")}</td></tr>`;
  });
  const { verdict: said, reason, rule, findings } = s.verdict;
  const why = s.verdict.said ?? `${reason}${rule === undefined ? "" : ` (${rule})`}`;
  const heads = ["judge", "verdict", "why", "figures", findings.some((f) => f.evidence) ? "evidence" : ""];
  return `<h3>${bdi(s.target)}, ${bdi(s.label)}: <span class="${said}">${said}</span></h3><p>${prose(why)}</p>${table(heads, rows)}`;
}

function evidence(of: NonNullable<Report["evidence"]>[number]): string {
  return `<h3>${bdi(of.target)}</h3><p class="soft"><span class="key-against">━ against the release</span> &nbsp; <span class="key-for">┅ for it</span> &nbsp; dashes across: enough</p>
${course(of)}`;
}

function samples(of: Report["samples"][number]): string {
  return `<h3>${bdi(of.target)}</h3><p class="soft"><span class="key-new">━ new slot</span> &nbsp; <span class="key-old">┅ former slot</span> &nbsp; dashes: it gets that share</p>
<p>Requests that failed</p>${chart(of, "errors")}<p>P99 latency</p>${chart(of, "p99")}`;
}

function answer(a: Report["answers"][number]): string {
  return `${time(a.at)}: ${a.answer} by ${bdi(a.who)} (unverified)${a.reason ? `: ${prose(a.reason)}` : ""}${a.counts ? "" : " (to another plan: it counted for nothing)"}`;
}

function interruption(i: Report["interruptions"][number]): string {
  const took = i.milliseconds !== undefined && i.kind !== "again" ? `, ${seconds(i.milliseconds)}` : "";
  const what = { wait: "waited", pause: "left", again: "resumed" }[i.kind];
  return `${time(i.at)}: ${what}${took}${i.step ? `, ${bdi(i.step)}` : ""}: ${prose(i.reason)}`;
}
