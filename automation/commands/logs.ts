import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { WrongUse } from "../core/errors";
import { fold, type RunState } from "../core/events";
import type { PlanTarget, TargetKey } from "../core/model";
import type { Desk } from "../engine/carry";
import { DIARY } from "../engine/diary";
import { readJournal } from "../engine/journal";
import { leaseHolder } from "../engine/lease";
import { looking } from "../engine/project";
import { environmentDirectory } from "../engine/runs";
import { plain } from "../report/plain";
import { UnknownRun, type Which, which } from "./which";

/** One line that was kept with a run, or that its slot says now. */
export interface LogLine {
  /** `driver`: the run itself; `slot`: the service in the slot that the run fills. */
  source: "driver" | "slot";
  target?: TargetKey | undefined;
  line: string;
}

/** What to show of a run's lines. */
export interface LogsOptions {
  /** Only this target's. @default all, and the driver's */
  target?: string | undefined;
  /** Newest lines of each source, 1 to 10,000. @default 50 */
  lines?: number | undefined;
  /** Goes on while the run is driven. @default false */
  follow?: boolean | undefined;
}

type Looker = Pick<Desk, "project" | "say" | "leave" | "redact">;

/** Milliseconds between two looks. */
const PACE = 500;
const MOST = 10_000;
/** Lines of a slot that are looked at while it is followed: what comes faster is lost. */
const WINDOW = 1000;

/** The lines kept with a run; with `follow` those that come, until nobody drives it any more. Throws `unknown-run`, `wrong-use`. */
export async function* logs(word: string, desk: Looker, options: LogsOptions = {}): AsyncGenerator<LogLine> {
  const { lines = 50, follow = false, target } = options;
  if (!Number.isSafeInteger(lines) || lines < 1 || lines > MOST)
    throw WrongUse(`--lines takes a whole number from 1 to ${MOST}.`);
  const run = await which(desk.project, word);
  const state = await stateOf(run, word);
  const places = chosen(state, target);
  const driver = new Tail(join(run.directory, DIARY));
  const clean = (one: LogLine): LogLine => ({ ...one, line: desk.redact(one.line) });

  if (target === undefined)
    for (const line of (await driver.read()).slice(-lines)) yield clean({ source: "driver", line });
  const seen = new Map<TargetKey, string[]>();
  for (const place of places) {
    const kept = await keptOf(run, place.key);
    const said =
      kept ?? (state.phase === "done" ? [] : await spoken(desk, state, place, Math.max(lines, WINDOW)));
    seen.set(place.key, said);
    for (const line of said.slice(-lines)) yield clean({ source: "slot", target: place.key, line });
    if (said.length === 0) desk.say(`Nothing is kept of ${place.key}: lines are kept of a slot that fails.`);
  }
  while (follow) {
    // Asked first: what is said until then is told below.
    const driven = await isDriven(desk, run);
    const now = await stateOf(run, word);
    if (target === undefined) for (const line of await driver.read()) yield clean({ source: "driver", line });
    for (const place of now.phase === "done" ? [] : places) {
      const said = await spoken(desk, now, place, WINDOW);
      for (const line of fresh(seen.get(place.key) ?? [], said))
        yield clean({ source: "slot", target: place.key, line });
      // An answer that failed is no proof that there is nothing.
      if (said.length > 0) seen.set(place.key, said);
    }
    if (!driven || desk.leave.aborted) return;
    await delay(PACE, undefined, { signal: desk.leave }).catch(() => undefined);
  }
}

/** The lines of a window that the one before did not have: what follows the longest end of it that the new one begins with. */
export function fresh(before: readonly string[], after: readonly string[]): string[] {
  for (let size = Math.min(before.length, after.length); size > 0; size--)
    if (before.slice(-size).every((line, i) => line === after[i])) return after.slice(size);
  return [...after];
}

async function stateOf({ directory, run }: Which, word: string): Promise<RunState> {
  const state = fold((await readJournal(directory)).events);
  if (!state) throw UnknownRun(word, `${run} was cut off before it began.`);
  return state;
}

function chosen({ plan }: RunState, target: string | undefined): PlanTarget[] {
  const found = plan.targets.filter((t) => target === undefined || t.key === target || t.service === target);
  if (found.length === 0)
    throw WrongUse(`The run has no target "${target}". Known: ${plan.targets.map((t) => t.key).join(", ")}.`);
  return found;
}

async function isDriven({ project }: Looker, { environment, run }: Which): Promise<boolean> {
  return (await leaseHolder(environmentDirectory(project.root, environment)))?.run === run;
}

async function keptOf({ directory }: Which, key: TargetKey): Promise<string[] | undefined> {
  const text = await readFile(join(directory, "logs", `${key}.log`), "utf8").catch(() => undefined);
  return text?.split("\n").slice(0, -1);
}

/** What the slot says now; nothing where it can't be asked, for a look at lines must not end in an error. */
async function spoken(desk: Looker, state: RunState, place: PlanTarget, lines: number): Promise<string[]> {
  const { project } = desk;
  const handle = state.targets[place.key]?.handle;
  const service = project.pipeline.services.find((s) => s.name === place.service);
  const environment = project.pipeline.environments.find((e) => e.name === state.plan.environment);
  if (!handle?.slots[place.to] || !service || !environment) return [];
  try {
    const { router } = await project.target(service, environment);
    return await router.logs(handle, place.to, lines, looking(desk.say, desk.leave));
  } catch (e) {
    desk.say(`no lines of ${place.key}: ${e instanceof Error ? e.message : e}`);
    return [];
  }
}

/** A file that grows: each read gives the whole lines since the one before. */
class Tail {
  private at = 0;
  private rest = "";

  constructor(private readonly path: string) {}

  async read(): Promise<string[]> {
    const file = await open(this.path, "r").catch(() => undefined);
    if (!file) return [];
    try {
      const { size } = await file.stat();
      // It was put aside, and begun anew.
      if (size < this.at) [this.at, this.rest] = [0, ""];
      const { buffer, bytesRead } = await file.read(Buffer.alloc(size - this.at), 0, size - this.at, this.at);
      this.at += bytesRead;
      const lines = (this.rest + buffer.toString("utf8", 0, bytesRead)).split("\n");
      this.rest = lines.pop() ?? "";
      return lines;
    } finally {
      await file.close();
    }
  }
}

/** A line for people: who said it, and what. */
export function logLine({ source, target, line }: LogLine): string[] {
  return [`${source === "driver" ? "driver" : target} | ${plain(line).replaceAll("\n", " ")}`];
}
