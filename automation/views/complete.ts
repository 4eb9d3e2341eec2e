import { closeSync, existsSync, openSync, readdirSync, readSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { JournalEvent } from "../core/events";
import type { Plan } from "../core/model";
import type { Pipeline } from "../engine/pipeline";
import { environmentDirectory, isRunId, JOURNAL } from "../engine/runs";
import { findRoot } from "../toolchain/environment";

/** Runs that are offered, newest first: more are not looked through with the tabulator. */
const RUNS = 20;

const ONE = new Set(["abort", "approve", "reject", "resolve", "rollback", "redeploy"]);
const MANY = new Set(["promote", "status", "history"]);
/** Options whose value nobody can know. */
const FREE = new Set(
  "reason out plan to limit lines directory max worse-than p99 rps rate bad weights max-duration runs seed"
    .split(" ")
    .map((name) => `--${name}`),
);
const OF_A_RUN = new Set(["show", "logs", "explain", "replay"]);

/**
 * What may come next on the command line, from the project around `cwd`; undefined where that is not the project's to
 * say. `words` are what was typed before the word at the cursor, the command first.
 */
export function complete(words: readonly string[], current: string, cwd: string): string[] | undefined {
  const [command = "", ...settled] = words.filter((word) => !word.startsWith("-"));
  const before = words.at(-1) ?? "";
  const fits = (names: readonly string[]) => names.filter((name) => name.startsWith(current));
  if (current.startsWith("-")) return undefined;
  const root = findRoot(cwd);
  const { environments, services } = pipelineOf(root);
  const names = environments.map((e) => e.name);
  if (before === "--service" || before === "--target") return fits(services.map((s) => s.name));
  if (command === "rollback" && before === "--to") return fits(releases(root, settled, names));
  // The grammar knows the judges.
  if (FREE.has(before) || before === "--judge") return undefined;
  if (MANY.has(command)) return fits(names.filter((name) => !settled.includes(name)));
  if (ONE.has(command)) return settled.length > 0 ? [] : fits(names);
  if (OF_A_RUN.has(command))
    return settled.length > 0 ? [] : fits([...names, ...runsOf(root, names).map(({ run }) => run)]);
  if (command === "local") return localWords(settled, services, names, fits);
  return undefined;
}

function localWords(
  settled: readonly string[],
  services: Pipeline["services"],
  environments: readonly string[],
  fits: (names: readonly string[]) => string[],
): string[] {
  if (settled.length === 0) return fits(["down", "status", "logs"]);
  if (settled[0] !== "logs") return [];
  if (settled.length === 1) return fits(environments.flatMap((e) => services.map((s) => `${s.name}.${e}`)));
  return settled.length === 2 ? fits(["blue", "green"]) : [];
}

/** Without the checks of a project that is opened: a shell is no place for errors. */
function pipelineOf(root: string): Pipeline {
  const file = join(root, "automation", "pipeline.ts");
  return (createRequire(join(root, "package.json"))(file) as { default: Pipeline }).default;
}

/** The runs that have a journal, newest first. Without promises, for the shell's question has to be answered at once. */
function runsOf(root: string, environments: readonly string[]): { run: string; journal: string }[] {
  return environments
    .flatMap((name) => {
      const directory = environmentDirectory(root, name);
      const names = existsSync(directory) ? readdirSync(directory).filter(isRunId) : [];
      return names.map((run) => ({ run, journal: join(directory, run, JOURNAL) }));
    })
    .filter(({ journal }) => existsSync(journal))
    .sort((a, b) => (a.run < b.run ? 1 : -1))
    .slice(0, RUNS);
}

/** The releases that runs brought, by version or by the beginning of their id. */
function releases(root: string, settled: readonly string[], environments: readonly string[]): string[] {
  const named = environments.filter((name) => settled.includes(name));
  const journals = runsOf(root, named.length > 0 ? named : environments);
  const plans = journals.flatMap(({ journal }) => planOf(journal) ?? []);
  const versions = plans.flatMap((plan) => Object.values(plan.pins).flatMap((pin) => pin.version ?? []));
  return [...new Set([...versions, ...plans.map((plan) => plan.release.slice(0, 12))])];
}

/** The plan is the first line of a journal; the rest of it may be long. */
function planOf(journal: string): Plan | undefined {
  const file = openSync(journal, "r");
  try {
    const chunk = Buffer.alloc(64 * 1024);
    let text = "";
    while (!text.includes("\n")) {
      const read = readSync(file, chunk);
      if (read === 0) return undefined;
      text += chunk.toString("latin1", 0, read);
    }
    const line = Buffer.from(text.slice(0, text.indexOf("\n")), "latin1").toString();
    const event = JSON.parse(line) as JournalEvent;
    return event.type === "run.planned" ? event.plan : undefined;
  } catch {
    return undefined; // a damaged one offers nothing
  } finally {
    closeSync(file);
  }
}
