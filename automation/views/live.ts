import type { JournalEvent } from "../core/events";
import type { RunId } from "../core/model";
import { remaining } from "./expected";
import { frame, type Model } from "./frame";
import { lines, pressed } from "./lines";
import type { Manner, Printer } from "./printer";
import { type Screen, screen } from "./screen";
import { tame } from "./text";

/** Draws the run in place; the lines come when it has ended, or when the process does. */
export function live(manner: Manner): Printer {
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
