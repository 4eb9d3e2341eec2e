import { type JournalEvent, stepOf } from "../core/events";
import type { Plan } from "../core/model";
import { label } from "../view";
import { short } from "./plain";
import type { Report } from "./schema";

type Interruption = Report["interruptions"][number];

/** Where a run waited, was left, or had to begin an act again; in the order that it happened. */
export function interruptions(plan: Plan, events: readonly JournalEvent[]): Interruption[] {
  const found: Interruption[] = [];
  const waiting = new Map<string, Interruption>();
  const begun = new Set<string>();
  let paused: Interruption | undefined;

  function end(open: Interruption | undefined, at: number): void {
    if (!open) return;
    open.ended = new Date(at).toISOString();
    open.milliseconds = at - Date.parse(open.at);
  }
  function begin(kind: Interruption["kind"], at: number, reason: string, step?: string): Interruption {
    const made = { kind, at: new Date(at).toISOString(), reason: short(reason), ...(step && { step }) };
    found.push(made);
    return made;
  }

  for (const event of events) {
    // A sample may be written late, by who is leaving.
    if (event.type !== "sample.taken" && event.type !== "run.paused") {
      end(paused, event.at);
      paused = undefined;
    }
    if (event.type === "run.paused") {
      // A run that is tried and left again is one pause.
      if (paused?.reason !== short(event.reason)) {
        end(paused, event.at);
        paused = begin("pause", event.at, event.reason);
      }
      begun.clear();
    } else if (event.type === "step.waiting") {
      begun.delete(event.step);
      const open = waiting.get(event.step);
      // A gate is asked again and again, and each time it gives the same answer.
      if (open?.reason === short(event.reason)) continue;
      end(open, event.at);
      waiting.set(event.step, begin("wait", event.at, event.reason, event.step));
    } else if (event.type === "step.started") {
      const open = begun.has(event.step);
      if (open) {
        const what = `${label(stepOf(plan, event.step))} was cut off, and begun again`;
        end(begin("again", event.at, what, event.step), event.at);
      }
      begun.add(event.step);
    } else if (event.type === "step.finished") {
      begun.delete(event.step);
      end(waiting.get(event.step), event.at);
      waiting.delete(event.step);
    } else if (event.type === "rollback.begun" || event.type === "run.finished") {
      for (const open of waiting.values()) end(open, event.at);
      waiting.clear();
    }
  }
  return found;
}
