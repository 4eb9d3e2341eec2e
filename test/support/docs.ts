import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { exitOf } from "../../automation/core/errors";
import { REMEDIES } from "../../automation/report/remedies";
import { jsonSchema } from "../../automation/report/schema";
import { canonical } from "../../components/handle";
import { catalogue, type Entry } from "./catalogue";

const ROOT = join(__dirname, "..", "..");

/** Codes that no error of the catalogue has: why a step or a slot failed, as journals and reports name it. */
export const FAILURES: Readonly<Record<string, string>> = {
  "verdict-fail": "A judge said no: the figures are in the report.",
  "verdict-inconclusive":
    "Neither a yes nor a no in the time there was: it was held, and rolled back as the analysis says.",
  "check-failed": "A check (`health`, `smoke`, `command`) did not find what it wants.",
  "gate-closed": "A gate said no before anything moved.",
  rejected: "A person said no.",
  "task-failed": "A task ended with a failure.",
  "crash-loop": "The slot's process ended by itself again and again.",
  "health-path": "The slot's process runs, but its health path does not answer 2xx.",
  "not-ready": "The slot was not ready in time.",
  rolling: "The slot still has replicas of what it is replaced from.",
  "port-conflict": "The slot's process listens on a port that another one has.",
  "start-failed": "The slot's process could not be started.",
  "start-missing": "The slot's start command is not there.",
  "slot-empty": "The slot has nothing that could be ready.",
  stopped: "The slot was stopped before it began.",
  failed: "A journal of an earlier version says only that it failed.",
  unexpected: "Nobody foresaw it.",
};

const GROUPS: readonly [title: string, about: string, files: RegExp][] = [
  [
    "Asking for something",
    "The command, the pipeline, the services.",
    /^automation\/(core|cli|engine\/pipeline|commands|toolchain\/environment)/,
  ],
  ["Runs, leases, journals", "What drives an environment, and what it wrote down.", /^automation\/engine/],
  ["What is declared", "The Pulumi program and its stacks.", /^components\/[a-z]+\.ts/],
  ["Pulumi CLI and secrets", "The tools, and what they may see.", /^automation\/toolchain/],
  ["Metrics, traffic, notifications", "What a run asks and tells others.", /^automation\//],
  [
    "Artifacts",
    "Making them, and finding them again.",
    /^components\/local\/(artifact|draft|git|mirror|origin|tree)/,
  ],
  ["The embedded platform", "The supervisor and what it runs.", /^components\/local/],
  ["Policies", "What a pack refuses.", /^policies/],
];

/** The page of every error, from the sources that make them. */
export function troubleshooting(): string {
  const entries = catalogue();
  const seen = new Set<Entry>();
  const groups = GROUPS.flatMap(([title, about, files]) => {
    const mine = entries.filter((e) => files.test(e.file) && !seen.has(e));
    for (const entry of mine) seen.add(entry);
    const codes = [...new Set(mine.map((e) => e.code))].sort();
    if (codes.length === 0) return [];
    return [
      `## ${title}\n\n${about}\n`,
      ...codes.map((code) =>
        section(
          code,
          mine.filter((e) => e.code === code),
        ),
      ),
    ];
  });
  const left = entries.find((e) => !seen.has(e));
  if (left) throw new Error(`no group of the page takes ${left.file}`);
  return `${HEAD}\n${failures()}\n${groups.join("\n")}`;
}

const HEAD = `# Troubleshooting, by error code

Every error of Sluice has a permanent code, says what and why, and names the next command. Look for yours here. \`npm run doctor\`
looks at everything a promotion needs; \`npm run show -- <environment>\` tells the story of the newest run and what to do now.

The exit code is the one of a command that ends with this error by itself. Where a step of a run fails with it, the run's end
counts: 1 rolled back, 4 nothing had moved, 3 stuck. What stands in *italics* or \`<angle brackets>\` is put in where it happens.

This page is made from the sources by \`npm run docs\`.
`;

function failures(): string {
  const codes = Object.entries(FAILURES).map(([code, what]) => `### \`${code}\`\n\n${what}\n${remedy(code)}`);
  return `## Why a step failed\n\nIn the journal and the report of a run.\n\n${codes.join("\n")}`;
}

function section(code: string, entries: readonly Entry[]): string {
  const said = entries.map((e) => `> ${italic(e.message).replaceAll("\n", " ")}\n>\n> ${italic(e.hint)}`);
  return `### \`${code}\`\n\nExit ${exitOf(code)}.\n\n${said.join("\n\n")}\n${remedy(code)}`;
}

function remedy(code: string): string {
  const steps = REMEDIES[code];
  return steps ? `\n${steps.map((step, i) => `${i + 1}. ${italic(step)}`).join("\n")}\n` : "";
}

/** Outside code, what is put in is in italics: in angle brackets it would be taken for HTML. */
function italic(text: string): string {
  return text
    .split(/(`[^`]+`)/)
    .map((part) => (part.startsWith("`") ? part : part.replace(/<([^<>]+)>/g, "*$1*")))
    .join("");
}

/** The pages of the documentation, relative to the project. */
export function pages(): string[] {
  const inside = ["automation", "components", "policies", "stacks"].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".md") && !name.includes("node_modules"))
      .map((name) => join(folder, name)),
  );
  return ["README.md", "CONTRIBUTING.md", ...inside].sort();
}

/** Files that are made from others, with what they shall hold. */
export function made(): { file: string; text: string }[] {
  return [
    { file: "automation/TROUBLESHOOTING.md", text: troubleshooting() },
    { file: "automation/report/report.schema.json", text: `${JSON.stringify(jsonSchema(), null, 2)}\n` },
  ];
}

/** Whether a file holds what it shall; of JSON the data counts, not the layout. */
export function isFresh({ file, text }: { file: string; text: string }): boolean {
  let before: string;
  try {
    before = readFileSync(join(ROOT, file), "utf8");
  } catch {
    return false;
  }
  return file.endsWith(".json")
    ? canonical(JSON.parse(before)) === canonical(JSON.parse(text))
    : before === text;
}

if (require.main === module)
  for (const one of made()) if (!isFresh(one)) writeFileSync(join(ROOT, one.file), one.text);
