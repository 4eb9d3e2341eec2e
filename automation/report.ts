import { randomUUID } from "node:crypto";
import { readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { EXIT } from "./core/errors";
import type { JournalEvent } from "./core/events";
import type { Carried } from "./engine/carry";
import type { Judging } from "./report/evidence";
import { html } from "./report/html";
import { EXIT_OF, type Kept, makeReport } from "./report/make";
import { markdown } from "./report/markdown";
import type { Report } from "./report/schema";

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
      return EXIT_OF[last.outcome];
    default:
      throw last satisfies never;
  }
}

/** The report of a run whose folder it is; undefined before its first event. */
export async function reportOf(
  directory: string,
  events: readonly JournalEvent[],
  judging?: Judging,
): Promise<Report | undefined> {
  return makeReport(events, await keptLines(directory), judging);
}

/**
 * Writes report.json, and report.md and report.html from it, each whole or not at all. Answers with the path of
 * report.md; undefined where no run was begun.
 */
export async function writeReport(
  carried: Carried,
  redact: <T>(value: T) => T = (value) => value,
  judging?: Judging,
): Promise<string | undefined> {
  const { directory, events } = carried;
  const made = directory && events && (await reportOf(directory, events, judging));
  if (!directory || !made) return undefined;
  const report = redact(made);
  await write(join(directory, "report.json"), `${JSON.stringify(report)}\n`);
  const file = join(directory, "report.md");
  await write(file, markdown(report));
  await write(join(directory, "report.html"), html(report));
  return file;
}

/** The failing slots' last lines, which the driver put beside the journal: `logs/<target>.log`. */
async function keptLines(directory: string): Promise<Kept> {
  const folder = join(directory, "logs");
  const names = await readdir(folder).catch(() => []);
  const kept = names
    .filter((name) => name.endsWith(".log"))
    .map(async (name) => {
      const text = await readFile(join(folder, name), "utf8").catch(() => "");
      return [name.slice(0, -".log".length), text.split("\n").slice(0, -1)] as const;
    });
  return Object.fromEntries(await Promise.all(kept));
}

async function write(file: string, text: string): Promise<void> {
  const temporary = `${file}.${randomUUID()}`;
  try {
    await writeFile(temporary, text, { mode: 0o600, flag: "wx" });
    await rename(temporary, file);
  } catch (e) {
    await rm(temporary, { force: true });
    throw e;
  }
}
