import { setTimeout as wait } from "node:timers/promises";
import { NoRunOpen, NothingAsked, OwnApproval, WrongUse } from "../core/errors";
import { fold, type RunState } from "../core/events";
import { person } from "../core/model";
import { planId } from "../core/plan";
import { actor, type Desk, openRun } from "../engine/carry";
import { drop } from "../engine/inbox";
import { readJournal } from "../engine/journal";
import { leaseHolder } from "../engine/lease";
import { environmentOf } from "../engine/pipeline";
import { questions } from "../engine/questions";
import { environmentDirectory } from "../engine/runs";

/** Seconds that the run's driver gets to take an answer before it is said that it has not yet. */
const TAKEN_SECONDS = 10;

/** What came of an answer. */
export interface Answered {
  environment: string;
  run: string;
  answer: "approve" | "reject";
  who: string;
  plan: string;
  /** Whether the run has taken it; else whoever goes on with it will. */
  taken: boolean;
  /** What is still waited for. */
  waiting: string[];
  /** The command that goes on with the run where nobody drives it. */
  next?: string | undefined;
}

/** Says yes or no to what a run asks. Throws `no-run-open`, `nothing-asked`, `own-approval`. */
export async function answer(
  kind: "approve" | "reject",
  name: string,
  desk: Desk,
  options: { reason?: string | undefined; plan?: string | undefined } = {},
): Promise<Answered> {
  const environment = environmentOf(desk.project.pipeline, name);
  const open = await openRun(desk, name);
  if (!open) throw NoRunOpen(name);
  const asked = questions(open.state, environment);
  if (asked.length === 0) throw NothingAsked(name);
  const who = actor();
  const plan = planId(open.state.plan);
  if (options.plan !== undefined && (options.plan.length < 8 || !plan.startsWith(options.plan)))
    throw WrongUse(`the run on ${name} asks about plan ${plan.slice(0, 12)}, not ${options.plan}`);
  if (kind === "approve" && person(who) === person(open.state.actor) && asked.every((q) => !q.requester))
    throw OwnApproval(who);
  await drop(open.directory, { kind, who, at: Date.now(), reason: options.reason, plan });
  const held = () => leaseHolder(environmentDirectory(desk.project.root, name));
  const state = await taken(open.directory, open.state.answers.length, held, desk.leave);
  return {
    environment: name,
    run: open.run,
    answer: kind,
    who,
    plan,
    taken: state !== undefined,
    waiting: state ? questions(state, environment).map((q) => q.reason) : [],
    next: (await held()) ? undefined : `npm run ${open.request}`,
  };
}

/** Waits until the driver has journalled one more answer, and asked its question again. */
async function taken(
  directory: string,
  before: number,
  held: () => Promise<unknown>,
  leave: AbortSignal,
): Promise<RunState | undefined> {
  for (let left = TAKEN_SECONDS * 5; left > 0 && !leave.aborted; left--) {
    const { events } = await readJournal(directory);
    const state = fold(events);
    if (state && state.answers.length > before) {
      const last = events.findLastIndex((e) => e.type === "answer.given");
      if (events.length > last + 1 || state.phase !== "up") return state;
    }
    if (!(await held())) return undefined;
    await wait(200);
  }
  return undefined;
}

/** The answer as lines for people. */
export function answeredLines(said: Answered): string[] {
  const lines = [
    `${said.who} (unverified): ${said.answer === "approve" ? "approved" : "rejected"} run ${said.run} on ${said.environment}, plan ${said.plan.slice(0, 12)}.`,
  ];
  if (said.next) lines.push(`  Nobody drives the run: \`${said.next}\` goes on with it.`);
  else if (!said.taken) lines.push("  Its driver has not taken it yet.");
  for (const reason of said.waiting) lines.push(`  Still waiting: ${reason}`);
  return lines;
}
