import type { JournalEvent, RunState } from "../core/events";
import type { RunId, StepId, TargetKey } from "../core/model";
import type { Question } from "../engine/questions";
import type { Expected } from "./expected";
import type { Keyboard } from "./keys";
import { lines } from "./lines";
import { live } from "./live";
import type { Terminal } from "./screen";

/** Version of the lines that `--json` prints: raised when a field goes or changes its meaning, not when one comes. */
export const VERSION = 1;

/** Where a command speaks to: a terminal, a pipe or a file. */
export type Outlet = Terminal & { readonly isTTY?: boolean };

/** How a command is to speak. */
export interface Manner {
  stdout: Outlet;
  stderr: Outlet;
  stdin: Keyboard;
  env: Readonly<Record<string, string | undefined>>;
  /** One JSON object per line. @default false */
  json?: boolean | undefined;
  /** Lines of words only, nothing is drawn. @default false, but true in CI */
  plain?: boolean | undefined;
}

/** What the view asks about a run that it is told of. */
export interface Insight {
  questions(state: RunState): readonly Question[];
  /** What the acts took in former runs. */
  expected(environment: string, but: RunId): Promise<Expected>;
}

/** Why a command failed. */
export interface Complaint {
  code: string;
  message: string;
  hint: string;
  stack?: string | undefined;
}

/** A value in words. */
type Lines<T> = (value: T) => readonly string[];

/** How a command speaks: lines; beneath them what is going on, in a terminal; or NDJSON. */
export interface Printer {
  /** May draw from now on: this process has the terminal to itself. */
  begin(): void;
  /** What the driver says beside its results. */
  say(text: string): void;
  print(text: string): void;
  event(event: JournalEvent, state: RunState, insight: Insight): void;
  /** How a long act is coming on. */
  progress(step: StepId, text: string): void;
  /** The last lines of a slot that failed. */
  kept(target: TargetKey, lines: readonly string[]): void;
  plan(plan: object, lines: readonly string[]): void;
  result(value: object, lines: readonly string[]): void;
  /** What a command found: each item is a line of that type. */
  show<T>(type: string, value: T, lines: Lines<T>): void;
  /**
   * Shows what is watched: drawn in place in a terminal; else each of its `changes` that was not there before is a
   * line, and for a program the whole value where anything changed.
   */
  board<T>(type: string, value: T, lines: Lines<T>, changes: Lines<T>): void;
  fail(complaint: Complaint): void;
  /**
   * Asks for one of these keys. Undefined where there is nobody to ask, or the signal says that the question is
   * void. Ctrl-C meanwhile is the signal that it always is.
   */
  ask(question: string, keys: string, signal?: AbortSignal): Promise<string | undefined>;
  /** Leaves what was said as lines, and the terminal as it was. */
  close(): void;
}

/** Whether only lines are wanted: asked for, or nobody watches, or the terminal can't draw. */
export function isPlain({ plain, env }: Pick<Manner, "plain" | "env">): boolean {
  const asked = env.SLUICE_PLAIN !== undefined && !["", "0", "false"].includes(env.SLUICE_PLAIN);
  return plain === true || asked || !!env.CI || env.TERM === "dumb";
}

/** Speaks in the manner that is asked for and possible. */
export function printer(manner: Manner): Printer {
  if (manner.json) return json(manner);
  const plain = isPlain(manner);
  return manner.stdout.isTTY && !plain ? live(manner) : lines(manner, plain);
}

function json(manner: Manner): Printer {
  const object = (type: string, value: object) =>
    manner.stdout.write(`${JSON.stringify({ type, v: VERSION, ...value })}\n`);
  let seen: string | undefined;
  return {
    ...lines(manner, true),
    event: (event) => manner.stdout.write(`${JSON.stringify(event)}\n`),
    plan: (plan) => object("plan", plan),
    result: (value) => object("result", value),
    show(type, value) {
      for (const item of Array.isArray(value) ? value : [value]) object(type, item);
    },
    board(type, value, _text, changes) {
      const now = JSON.stringify(changes(value));
      if (now !== seen) this.show(type, value, () => []);
      seen = now;
    },
    fail({ stack, ...complaint }) {
      object("error", complaint);
      if (stack) manner.stderr.write(`${stack}\n`);
    },
    ask: async () => undefined,
  };
}
