import pc from "picocolors";
import type { JournalEvent, RunState } from "../core/events";
import type { RunId, StepId, TargetKey } from "../core/model";
import type { Question } from "../engine/questions";
import { line, SYMBOLS, WORDS } from "../view";
import { type Expected, remaining } from "./expected";
import { frame, type Model } from "./frame";
import { type Keyboard, keys } from "./keys";
import { type Screen, screen, type Terminal } from "./screen";
import { folded, tame } from "./text";

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

function write(out: Outlet, text: string): void {
  out.write(`${out.isTTY ? folded(text, out.columns || 80) : text}\n`);
}

function lines(manner: Manner, plain: boolean): Printer {
  const { stdout, stderr } = manner;
  const print = (text: string) => write(stdout, text);
  const say = (text: string) => write(stderr, pc.dim(text));
  let seen: readonly string[] = [];
  return {
    begin() {},
    say,
    print,
    event(event, state) {
      const text = line(event, state, plain ? WORDS : SYMBOLS);
      if (text !== undefined) print(text);
    },
    progress() {},
    kept() {},
    plan: (_plan, text) => text.forEach(print),
    result: (_value, text) => text.forEach(print),
    show: (_type, value, text) => text(value).forEach(print),
    board(_type, value, _text, changes) {
      const now = changes(value);
      for (const text of now) if (!seen.includes(text)) print(`${new Date().toISOString()} ${text}`);
      seen = now;
    },
    fail: (complaint) => complained(complaint, (text) => write(stderr, text)),
    async ask(question, known, signal) {
      if (!manner.stdin.isTTY || plain === false) return undefined;
      print(question);
      return pressed(manner.stdin, known, signal);
    },
    close() {},
  };
}

function complained({ code, message, hint, stack }: Complaint, print: (text: string) => void): void {
  print(pc.red(`${code}: ${message}`));
  print(`  ${hint}`);
  if (stack) print(stack);
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

/** Draws the run in place; the lines come when it has ended, or when the process does. */
function live(manner: Manner): Printer {
  const plain = lines(manner, false);
  const since = Date.now();
  let model: Model = fresh(since);
  let view: Screen | undefined;
  let later: (() => void)[] = [];
  let run: RunId | undefined;
  let reckoned = 0;
  const change = (next: Partial<Model>) => {
    model = { ...model, ...next };
    view?.touch();
  };
  /** At once where nothing is drawn, else when the drawing has ended. */
  const emit = (said: () => void) => (view ? later.push(said) : said());
  const settle = () => {
    view?.clear();
    for (const said of later.splice(0)) said();
  };
  const end = () => {
    settle();
    view = undefined;
    process.off("exit", end).off("uncaughtExceptionMonitor", end).off("unhandledRejection", end);
  };
  const said = (text: string) => change({ said: [...model.said.slice(-19), ...text.split("\n").map(tame)] });
  /** When it will end: the longest way through a large plan is no work for every frame. */
  const reckon = () => {
    const { state } = model;
    if (!state || model.expected.size === 0) return;
    reckoned = Date.now();
    const left = remaining(state.plan, state, model.expected, reckoned);
    change({ ends: left === undefined ? undefined : reckoned + left });
  };
  const finish = (print: () => void) => {
    settle();
    print();
    model = { ...fresh(since), said: model.said };
    later = [];
    run = undefined;
  };
  return {
    ...plain,
    begin() {
      view = screen(manner.stdout, (columns, rows) => frame({ ...model, now: Date.now() }, columns, rows));
      // First of all who hear it: what they say is for the lines beneath.
      process.on("exit", end).on("uncaughtExceptionMonitor", end).prependListener("unhandledRejection", end);
      change({ since: Date.now() });
    },
    say(text) {
      // A file gets it now: somebody may read it meanwhile.
      if (!manner.stderr.isTTY) plain.say(text);
      else emit(() => plain.say(text));
      said(text);
    },
    print: (text) => emit(() => plain.print(text)),
    event(event, state, insight) {
      emit(() => plain.event(event, state, insight));
      if (run !== state.run) {
        run = state.run;
        void insight
          .expected(state.plan.environment, state.run)
          .then((known) => {
            if (run !== state.run) return;
            change({ expected: known });
            reckon();
          })
          .catch(() => undefined);
      }
      change({ state, questions: insight.questions(state), progress: without(model.progress, event) });
      if (Date.now() - reckoned >= 1000) reckon();
    },
    progress: (step, text) => change({ progress: new Map(model.progress).set(step, text) }),
    kept: (target, lines) => change({ kept: new Map(model.kept).set(target, lines) }),
    plan: (value, text) => finish(() => plain.plan(value, text)),
    result: (value, text) => finish(() => plain.result(value, text)),
    show: (type, value, text) => finish(() => plain.show(type, value, text)),
    board: (_type, value, text) => change({ board: text(value) }),
    fail(complaint) {
      end();
      plain.fail(complaint);
    },
    async ask(question, known, signal) {
      if (!manner.stdin.isTTY || !view) return undefined;
      change({ asking: question });
      try {
        return await pressed(manner.stdin, known, signal);
      } finally {
        change({ asking: undefined });
      }
    },
    close: end,
  };
}

function fresh(now: number): Model {
  const none = { progress: new Map(), expected: new Map(), kept: new Map() };
  return { now, since: now, said: [], questions: [], ...none };
}

/** What a step said on its way is void once it has ended. */
function without(progress: Model["progress"], event: JournalEvent): Model["progress"] {
  if (event.type !== "step.finished" || !progress.has(event.step)) return progress;
  return new Map([...progress].filter(([step]) => step !== event.step));
}

function pressed(from: Keyboard, known: string, signal?: AbortSignal): Promise<string | undefined> {
  if (signal?.aborted) return Promise.resolve(undefined);
  return new Promise((resolve) => {
    const done = (key: string | undefined) => {
      stop();
      signal?.removeEventListener("abort", cancel);
      resolve(key);
    };
    const cancel = () => done(undefined);
    const stop = keys(from, (key) => {
      if (known.includes(key.toLowerCase())) done(key.toLowerCase());
    });
    signal?.addEventListener("abort", cancel);
  });
}
