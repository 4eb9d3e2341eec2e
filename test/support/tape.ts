import type { Fact, JournalEvent } from "../../automation/core/events";
import { JournalFull } from "../../automation/engine/journal";
import type { Log } from "../../automation/engine/run";
import type { Life, World } from "./world";

/** What is on disk of a run. */
export type Tape = string[];

/** Where a journal fails: counted in the appends of its process. */
export interface Cut {
  append: number;
  how: "before" | "after" | "full";
}

/** Everything in it can't be changed: whoever tries is found out. */
export function frozen<T>(value: T): T {
  if (value && typeof value === "object" && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) frozen(inner);
  }
  return value;
}

export function read(tape: Tape): JournalEvent[] {
  return tape.map((line) => frozen(JSON.parse(line) as JournalEvent));
}

/** Who looks on while a journal is written. */
export interface Witness {
  /** An append was asked for, the so-manieth of its process. */
  asked?(append: number): void;
  /** An event is on disk. */
  wrote?(event: JournalEvent): void;
}

/** A journal in memory: appends share a sync, notes wait for one, and a crash takes what was not synced. */
export function journal(
  tape: Tape,
  world: World,
  life: Life,
  cut?: Cut,
  crash?: () => void,
  witness: Witness = {},
): Log {
  const events = read(tape);
  let lines: { line: string; append: number; tell?: () => void; fail?: (e: Error) => void }[] = [];
  let appends = 0;
  let due = false;
  let full: Error | undefined;

  function enter(fact: Fact, at: number): { event: JournalEvent; line: string } {
    if (full) throw full;
    const last = events.at(-1);
    const line = JSON.stringify({
      v: 1,
      seq: events.length,
      at: Math.max(last?.at ?? at, at),
      prev: "",
      ...fact,
    });
    const event = frozen(JSON.parse(line) as JournalEvent);
    events.push(event);
    return { event, line };
  }

  function sync(): void {
    due = false;
    if (!life.alive) return;
    const batch = lines;
    lines = [];
    const told: (() => void)[] = [];
    for (const { line, append, tell, fail } of batch) {
      if (full) {
        fail?.(full);
        continue;
      }
      if (cut && append === cut.append && cut.how === "full") {
        full = JournalFull("memory", new Error("no space left"));
        events.length = tape.length;
        fail?.(full);
        continue;
      }
      const here = cut && append === cut.append;
      if (!here || cut.how === "after") {
        tape.push(line);
        witness.wrote?.(JSON.parse(line));
      }
      if (here) {
        crash?.();
        return;
      }
      if (tell) told.push(tell);
    }
    for (const tell of told) tell();
  }

  return {
    events,
    append(fact, at) {
      return new Promise((resolve, reject) => {
        if (!life.alive) return;
        try {
          const { event, line } = enter(fact, at);
          witness.asked?.(appends);
          lines.push({ line, append: appends++, tell: () => resolve(event), fail: reject });
        } catch (e) {
          return reject(e);
        }
        if (!due) world.time.after(1 + world.random() * 4, sync);
        due = true;
      });
    },
    note(fact, at) {
      const { event, line } = enter(fact, at);
      lines.push({ line, append: -1 });
      return event;
    },
  };
}
