import pc from "picocolors";
import { type JournalEvent, type RunState, stepOf } from "./core/events";
import type { Failure, Plan, Step } from "./core/model";
import { type Carried, keeps } from "./engine/carry";

/** An act in words: `shift to 10 %`. */
export function label(step: Step): string {
  switch (step.act) {
    case "shift":
      return `shift to ${step.to} %`;
    case "verify":
      return `verify ${step.where}`;
    case "gate":
      return `gate ${step.gate}`;
    case "run":
      return `run ${step.task}`;
    case "hold":
      return step.seconds === undefined ? "hold for a person" : `hold for ${step.seconds} s`;
    default:
      return step.act;
  }
}

/** How a line begins that says how something went: with a symbol, or with a word that can be read out and searched for. */
export interface Marks {
  done: string;
  failed: string;
  waiting: string;
  back: string;
}

export const SYMBOLS: Marks = {
  done: pc.green("✓"),
  failed: pc.red("✗"),
  waiting: pc.yellow("…"),
  back: pc.yellow("↩"),
};

export const WORDS: Marks = { done: "done   ", failed: "FAILED ", waiting: "waiting", back: "undone " };

/** One line for an event, or undefined where it says nothing new to a person. */
export function line(event: JournalEvent, state: RunState, marks = SYMBOLS): string | undefined {
  const { plan } = state;
  switch (event.type) {
    case "run.planned":
      return pc.bold(
        `${plan.environment}: release ${plan.release.slice(0, 12)}, run ${event.run}, ${plan.steps.length} steps`,
      );
    case "step.started":
      return undefined;
    case "step.finished": {
      const step = stepOf(plan, event.step);
      const took = seconds(event.at - (state.targets[step.target]?.steps[step.id]?.startedAt ?? event.at));
      if (event.outcome === "failed") return row(marks.failed, step, took, failure(event.failure));
      return row(marks.done, step, took, event.verdict?.reason ?? event.note);
    }
    case "step.waiting":
      return row(marks.waiting, stepOf(plan, event.step), "", event.reason);
    case "sample.taken":
    case "past.known":
      return undefined;
    case "analysis.held":
      return row(marks.waiting, stepOf(plan, event.step), "", `held: ${event.verdict.reason}`);
    case "answer.given":
      return `  ${event.answer} by ${event.who}${event.reason ? `: ${event.reason}` : ""}`;
    case "rollback.begun":
      return pc.red(`  rolling back: ${event.reason}`);
    case "traffic.diverted":
      // One that never had traffic has lost none.
      return state.targets[event.target]?.shifted
        ? `  ${marks.back} ${event.target}: traffic is off the new slot`
        : undefined;
    case "restore.failed":
      return pc.red(
        `  restore of ${event.target} failed (attempt ${event.attempt}), again in ${Math.max(0, Math.round((event.until - event.at) / 1000))} s: ${event.failure.message}`,
      );
    case "target.restored":
      return `  ${marks.back} ${event.target}: restored`;
    case "run.paused":
      return pc.yellow(
        `  paused: ${event.reason}${event.diverted.length > 0 ? `; traffic is off the new slot of ${event.diverted.join(", ")}` : ""}`,
      );
    case "run.resolved":
      return `  resolved by ${event.who}: ${event.reason}`;
    case "run.finished":
      return undefined;
    default:
      throw event satisfies never;
  }
}

function row(mark: string, step: Step, took: string, note: string | undefined): string {
  return `  ${mark} ${step.target.padEnd(10)} ${label(step).padEnd(16)} ${took.padStart(7)}${note ? `  ${pc.dim(note)}` : ""}`;
}

function failure(failed: Failure | undefined): string {
  if (!failed) return "failed";
  return `${failed.code}: ${failed.message}${failed.hint ? `\n      ${failed.hint}` : ""}`;
}

/** `3.2 s`, `2 min 5 s`. */
export function seconds(milliseconds: number): string {
  const s = milliseconds / 1000;
  if (s < 59.95) return `${s.toFixed(1)} s`;
  const whole = Math.round(s);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/** A plan for people: what would be done, in order, and what `pulumi preview` said. */
export function planLines(plan: Plan, previews: ReadonlyMap<string, Record<string, number>>): string[] {
  const head = `${plan.environment}: would take release ${plan.release.slice(0, 12)}${plan.source ? ` from ${plan.source}` : ""}`;
  const targets = plan.targets.map((t) => {
    const changes = Object.entries(previews.get(t.key) ?? {})
      .map(([op, n]) => `${n} ${op}`)
      .join(", ");
    return `  ${t.key}: ${t.from ? `${t.from} is live, ${t.to} is filled` : `first release, into ${t.to}`} with ${t.pin.artifact}${changes ? ` (preview: ${changes})` : ""}`;
  });
  return [
    head,
    ...targets,
    ...plan.steps.map((s, i) => `  ${String(i + 1).padStart(3)}. ${s.target.padEnd(10)} ${label(s)}`),
  ];
}

/** The closing lines of a run. */
export function ending(carried: Carried): string[] {
  const { environment } = carried;
  switch (carried.left) {
    case "nothing":
      return [`${environment}: nothing to do: ${carried.reason}.`];
    case "planned":
      return [`${environment}: planned only, nothing was changed.`];
    case "paused":
      return [
        pc.yellow(`${environment}: paused: ${carried.reason}.`),
        carried.run
          ? `  Run the same command again to go on, or \`npm run abort -- ${environment}\` to roll back.`
          : "  Run the same command again.",
      ];
    case "stuck":
      return [
        pc.red(`${environment}: STUCK, a hand is needed: ${carried.reason}.`),
        `  \`npm run status -- ${environment}\` shows where it stands; once the cause is mended, run the same command again: it goes on.`,
      ];
    case "finished":
      return [finished(carried, carried.outcome, carried.reason)];
    default:
      throw carried satisfies never;
  }
}

function requestOf(carried: Carried): string {
  const planned = carried.events?.[0];
  return planned?.type === "run.planned" ? planned.plan.request : "";
}

function finished(carried: Carried, outcome: string, reason: string): string {
  const { environment } = carried;
  switch (outcome) {
    case "promoted":
      return pc.green(`${environment}: promoted.`);
    case "rolled-back":
      // A way back that failed was undone as well: what was to be left is still live.
      if (requestOf(carried).startsWith("rollback"))
        return pc.red(`${environment}: could NOT go back, it runs what it ran before. ${reason}`);
      if (keeps(carried)) return pc.red(`${environment}: its wave was rolled back. ${reason}`);
      return pc.red(`${environment}: rolled back, everything is as before. ${reason}`);
    case "refused":
      return pc.yellow(`${environment}: refused, nothing was changed. ${reason}`);
    case "resolved":
      return `${environment}: resolved by hand, what is live stays. ${reason}`;
    default:
      return pc.red(`${environment}: ${outcome}. ${reason}`);
  }
}
