import { analysis } from "../../automation/analysis/analysis";
import type { Clock } from "../../automation/core/clock";
import { fold, type JournalEvent } from "../../automation/core/events";
import type { Outcome, Plan, Strategy, TargetKey, Tick } from "../../automation/core/model";
import { plan, planId, release } from "../../automation/core/plan";
import type { Analysis, Judge, MetricSource } from "../../automation/core/ports";
import { blueGreen, canary, rolling } from "../../automation/core/strategies";
import { drive, type Ending } from "../../automation/engine/drive";
import type { Environment, Message } from "../../automation/engine/run";
import type { Slot } from "../../components/handle";
import { type Cut, journal, read, type Tape, type Witness } from "./tape";
import { artifact, type Faults, filled, type Life, type Start, type World, world } from "./world";

/** Canary requests that a judge here wants before it says anything. */
export const ENOUGH = 100;
/** Seconds that each weight is watched. */
export const BAKE = 10;
const HORIZON = 60;

/** What is told: targets, what the environment has, what goes wrong. */
export interface Tale {
  seed: number;
  /** Whether each target is a first release. */
  targets: readonly { first: boolean }[];
  /** Canary weights; none: blue-green. */
  weights?: readonly number[] | undefined;
  /** In place instead. */
  rolling?: boolean | undefined;
  /** Seconds that it is watched once it is live. */
  guard?: number | undefined;
  /** Seconds that each weight is held. */
  soak?: number | undefined;
  /** Targets per wave. @default all */
  wave?: number | undefined;
  onFailure?: Plan["onFailure"] | undefined;
  gates: number;
  tasks: number;
  checks: boolean;
  analysis: boolean;
  /** The way back: planned without an analysis, in an environment that has one. @default false */
  direct?: boolean | undefined;
  /** How it is judged instead. */
  judged?: ((source: MetricSource) => Analysis) | undefined;
  maxParallel: number;
  faults: Partial<Faults>;
  /** `<target>/idle` and `<target>/live` whose check fails. */
  failing?: readonly string[] | undefined;
  /** Targets whose last gate is closed. */
  closed?: readonly TargetKey[] | undefined;
  /** How often a gate says wait first. */
  waits?: number | undefined;
  /** Targets whose gates do that. @default all */
  waiting?: readonly TargetKey[] | undefined;
  /** Targets whose last task fails. */
  broken?: readonly TargetKey[] | undefined;
}

/** How the first process is disturbed. */
export interface Disturbance {
  cut?: Cut | undefined;
  /** Milliseconds after which it is asked to leave, and asked again. */
  leave?: number | undefined;
  leaveAgain?: number | undefined;
  /** Milliseconds between a crash and the next process. */
  pause?: number | undefined;
  /** Milliseconds that the clock jumps, after so many. */
  jump?: { after: number; by: number } | undefined;
  /** The append of the first process at which it is asked to leave. */
  leaveAt?: number | undefined;
  /** The append of the first process at which somebody aborts the run. */
  abortAt?: number | undefined;
  patience?: number | undefined;
  /** Somebody's answer, once that was written. */
  say?: { kind: "approve" | "reject"; on: JournalEvent["type"] } | undefined;
  /** Hears every event. */
  heard?: (() => void) | undefined;
  /** Called before the first process. */
  before?: ((world: World) => void) | undefined;
  /** Called between two processes. */
  between?: ((world: World, events: JournalEvent[], ending: Ending | "crash" | Error) => void) | undefined;
}

export interface Story {
  world: World;
  plan: Plan;
  events: JournalEvent[];
  outcome?: Outcome | undefined;
  endings: (Ending | "crash" | Error)[];
  /** Every time a task took effect. */
  effects: string[];
  wrongs: string[];
  milliseconds: number;
}

/** Says yes to at most 1 % of errors in at least 100 requests. */
export const judge: Judge<{ requests: number; errors: number }> = {
  id: "errors",
  rule: "at most 1 %",
  start: () => ({ requests: 0, errors: 0 }),
  update: (s, t: Tick) => ({ requests: s.requests + t.canary.requests, errors: s.errors + t.canary.errors }),
  finding(s) {
    const over = s.errors > 0.01 * s.requests;
    const verdict = s.requests < ENOUGH ? "running" : over ? "fail" : "pass";
    return { judge: "errors", verdict, reason: `${s.errors} of ${s.requests}`, figures: { ...s } };
  },
};

/** The world before, and the plan, as the tale has them. */
export function begin(tale: Tale): { world: World; plan: Plan; strategy: Strategy } {
  const starts: Start[] = tale.targets.map(({ first }, i) => ({
    key: `t${i}`,
    inPlace: tale.rolling,
    handle: first
      ? undefined
      : {
          version: 1,
          platform: "memory",
          service: `t${i}`,
          live: "blue",
          slots: { blue: filled(`old${i}`) },
          split: { blue: 100, green: 0 },
          generation: 7,
        },
  }));
  const faults = structuredClone({
    applies: {},
    policy: [],
    diverts: {},
    down: {},
    nonsense: {},
    swallowed: {},
    mute: [],
    lame: [],
    bad: [],
    ...tale.faults,
  });
  const made = world(starts, tale.seed, faults);
  const strategy = tale.rolling
    ? rolling()
    : tale.weights
      ? canary({ weights: tale.weights, soak: tale.soak ?? 0, guard: tale.guard ?? 0 })
      : blueGreen();
  const size = tale.wave;
  const keys = starts.map(({ key }) => key);
  const waves = size ? keys.flatMap((_, i) => (i % size === 0 ? [keys.slice(i, i + size)] : [])) : undefined;
  const pins = Object.fromEntries(starts.map(({ key }, i) => [key, { artifact: artifact(`new${i}`) }]));
  const p = plan({
    request: "promote staging prod",
    environment: "prod",
    release: release(pins),
    strategy,
    maxParallel: tale.maxParallel,
    direct: tale.direct,
    waves,
    onFailure: tale.onFailure,
    has: {
      gates: Array.from({ length: tale.gates }, (_, i) => `g${i}`),
      tasks: Array.from({ length: tale.tasks }, (_, i) => `m${i}`),
      checks: tale.checks ? "checks" : undefined,
      analysis: tale.analysis && !tale.direct ? "analysis" : undefined,
    },
    aims: starts.map(({ key, handle }) => ({
      key,
      service: key,
      platform: "memory",
      declared: handle,
      pin: pins[key]!,
    })),
  });
  return { world: made, plan: p, strategy };
}

function environment(tale: Tale, w: World, life: Life, strategy: Strategy, effects: string[]): Environment {
  const asked = new Map<string, number>();
  return {
    name: "prod",
    strategy,
    gates: Array.from({ length: tale.gates }, (_, i) => ({
      id: `g${i}`,
      ask: (subject) =>
        w.later(life, 20, () => {
          const key = `${subject.target}/${i}`;
          const count = asked.get(key) ?? 0;
          asked.set(key, count + 1);
          if (count < (tale.waits ?? 0) && (tale.waiting?.includes(subject.target) ?? true))
            return { answer: "wait", reason: "not yet", retryAfter: 30_000 };
          if (i === tale.gates - 1 && tale.closed?.includes(subject.target))
            return { answer: "closed", reason: "frozen" };
          return { answer: "open" };
        }),
    })),
    tasks: Array.from({ length: tale.tasks }, (_, i) => ({
      id: `m${i}`,
      run: (subject, ctx) => {
        if (ctx.signal.aborted) w.wrongs.push(`m${i} was begun although it had been called off`);
        return w.later(life, 700, () => {
          if (ctx.signal.aborted) throw new Error("aborted");
          if (i === tale.tasks - 1 && tale.broken?.includes(subject.target))
            return { ok: false, reason: "no such table" };
          effects.push(`${subject.release}/${subject.target}/m${i}`);
          return { ok: true };
        });
      },
    })),
    checks: [
      {
        id: "smoke",
        run: (subject) =>
          w.later(life, 50, () => {
            const where = subject.url?.startsWith("http://public") ? "live" : "idle";
            return tale.failing?.includes(`${subject.target}/${where}`)
              ? { ok: false, reason: "404" }
              : { ok: true, note: "200" };
          }),
      },
    ],
    ...(tale.analysis && {
      analysis:
        tale.judged?.(w.source(life)) ??
        analysis({
          source: w.source(life),
          judges: [judge as Judge],
          every: 2,
          stepBake: BAKE,
          minBake: BAKE,
          maxDuration: HORIZON,
          // Every weight needs its evidence.
          probe: 0,
        }),
    }),
  };
}

/** Tells it to its end, one process after the other, and watches the laws that can be seen from outside. */
export async function tell(tale: Tale, disturbed: Disturbance = {}): Promise<Story> {
  const { world: w, plan: p, strategy } = begin(tale);
  const { time } = w;
  disturbed.before?.(w);
  const tape: Tape = [];
  const began = time.now();
  const planned = { v: 1, seq: 0, at: began, prev: "", type: "run.planned", run: "r1", plan: p, actor: "me" };
  tape.push(JSON.stringify(planned));
  const story: Story = {
    world: w,
    plan: p,
    events: [],
    endings: [],
    effects: [],
    wrongs: w.wrongs,
    milliseconds: 0,
  };
  const stage: Stage = { w, tape, strategy, story, skew: 0, done: new Set() };
  for (let token = 1; token <= 20; token++) {
    const ending = await live(tale, token, token === 1 ? disturbed : {}, stage);
    story.endings.push(ending);
    if (ending === "crash") {
      await time.pass(disturbed.pause ?? 1000);
      w.endOrphans();
      const next: Life = { alive: true, token: token + 1 };
      for (const target of w.targets(next).values())
        await time.until(
          target.recover({
            signal: new AbortController().signal,
            now: time.now,
            log: () => {},
            fence: { run: "r1", token },
          }),
        );
    } else if (ending instanceof Error) {
      if (ending.message.includes("memory can't grow")) left(w, tape, "the disk was full");
    } else {
      if (ending.left === "finished") {
        story.outcome = ending.outcome;
        break;
      }
      left(w, tape, "it was left");
      await time.pass(60_000);
      left(w, tape, "it was left for a minute");
    }
    disturbed.between?.(w, read(tape), ending);
  }
  story.events = read(tape);
  story.milliseconds = time.now() - began;
  return story;
}

/** After a run was left, no unproven slot has traffic. */
function left(w: World, tape: Tape, when: string): void {
  const state = fold(read(tape))!;
  if (state.settling) return;
  if (state.failed && state.phase === "up" && !when.includes("full")) w.wrongs.push(`failed, but ${when}`);
  for (const { key, to } of state.plan.targets) {
    const percent = w.stacks.get(key)!.platform.now().split[to];
    const { shifted, settled } = state.targets[key]!;
    if (shifted && !settled && percent > 0) w.wrongs.push(`${key}: ${percent} % to ${to} once ${when}`);
  }
}

interface Stage {
  w: World;
  tape: Tape;
  strategy: Strategy;
  story: Story;
  /** Milliseconds by which the clock is wrong. */
  skew: number;
  /** The ledger's keys: they outlive every driver. */
  done: Set<string>;
}

async function live(
  tale: Tale,
  token: number,
  d: Disturbance,
  stage: Stage,
): Promise<Ending | "crash" | Error> {
  const { w, tape, strategy, story } = stage;
  const { time } = w;
  const life: Life = { alive: true, token };
  let crashed: (how: "crash") => void = () => {};
  const crash = new Promise<"crash">((resolve) => {
    crashed = resolve;
  });
  const crashNow = () => {
    w.kill(life);
    crashed("crash");
  };
  const leave = new AbortController();
  const now = new AbortController();
  const inbox: { name: string; message: Message }[] = [];
  const abort = () => inbox.push({ name: "1", message: { kind: "abort", who: "ann" } });
  const witness: Witness = {
    ...watch(stage),
    asked(append) {
      if (append === d.leaveAt) leave.abort();
      if (append === d.abortAt) abort();
    },
  };
  const log = journal(tape, w, life, d.cut, crashNow, witness);
  const clock: Clock = {
    now: () => time.now() + stage.skew,
    sleep: (milliseconds, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted) return resolve();
        const wake = () => {
          cancel();
          signal?.removeEventListener("abort", wake);
          if (life.alive) resolve();
        };
        const cancel = time.after(milliseconds, wake);
        signal?.addEventListener("abort", wake, { once: true });
      }),
  };
  const timers = [
    d.leave !== undefined && time.after(d.leave, () => leave.abort()),
    d.leaveAgain !== undefined && time.after(d.leaveAgain, () => now.abort()),
    d.jump &&
      time.after(d.jump.after, () => {
        stage.skew += d.jump?.by ?? 0;
      }),
  ];
  const ending = drive({
    plan: story.plan,
    environment: environment(tale, w, life, strategy, story.effects),
    targets: w.targets(life),
    journal: log,
    clock,
    fence: { run: "r1", token },
    log: () => {},
    heard: (event) => {
      if (event.type === d.say?.on)
        inbox.push({ name: event.type, message: { kind: d.say.kind, who: "ann", plan: planId(story.plan) } });
      d.heard?.();
    },
    progress: () => {},
    inbox: {
      read: async () => [...inbox],
      drop: async (name) =>
        void inbox.splice(
          inbox.findIndex((m) => m.name === name),
          1,
        ),
    },
    ledger: {
      has: async (key) => stage.done.has(key),
      add: async (key) => void stage.done.add(key),
    },
    keep: async () => {},
    leave: leave.signal,
    now: now.signal,
    patience: d.patience ?? Number.POSITIVE_INFINITY,
    previewed: new Set(),
  }).catch((e: Error) => e);
  const how = await time.until(Promise.race([ending, crash]));
  for (const cancel of timers) if (cancel) cancel();
  life.alive = false;
  return how;
}

/** Once a divert is on record, nothing gives the new slot traffic again; whoever leaves has diverted before. */
function watch(stage: Stage): Witness {
  const { w, story, tape } = stage;
  const diverted = new Set(
    read(tape).flatMap((event) => (event.type === "traffic.diverted" ? [event.target] : [])),
  );
  const percent = (key: TargetKey, to: Slot) => w.stacks.get(key)!.platform.now().split[to];
  // In place there is nothing that traffic could be taken back to.
  for (const { key, to, mode } of story.plan.targets)
    if (mode === "slots")
      w.stacks.get(key)!.platform.heard = (split) => {
        if (split[to] > 0 && diverted.has(key))
          w.wrongs.push(`${key}: ${split[to]} % to ${to} after its divert`);
      };
  return {
    wrote(event) {
      if (event.type === "run.paused") left(w, tape, "the journal says it was left");
      if (event.type !== "traffic.diverted") return;
      const { to, mode } = story.plan.targets.find(({ key }) => key === event.target)!;
      if (mode !== "slots") return;
      diverted.add(event.target);
      if (percent(event.target, to) > 0) w.wrongs.push(`${event.target}: recorded a divert that was not`);
    },
  };
}
