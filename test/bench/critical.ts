import { readdirSync, readFileSync } from "node:fs";
import type { JournalEvent } from "../../automation/core/events";
import type { Plan } from "../../automation/core/model";
import type { Sight, Watched } from "./hook";

/** A run's time, and the time that its Pulumi operations alone would take. All milliseconds. */
export interface Measure {
  wall: number;
  bound: number;
  phases: { name: string; wall: number; bound: number }[];
  operations: Map<string, { count: number; mean: number }>;
}

type Operation = Sight & { saw: "operation" };

/** A piece of work: how long it takes, and what has to be done before. */
interface Job {
  id: string;
  takes: number;
  needs: readonly string[];
}

/**
 * The critical path of a run's operations: each as long as it took in this very run, begun as soon as what it
 * needs is done and one of `machines` is free, and nothing between. First the source is asked, then each target
 * and what its first act would do, then the plan's steps with their needs.
 */
export function measure(run: Watched, journal: readonly JournalEvent[], machines: number): Measure {
  const planned = journal[0];
  if (planned?.type !== "run.planned") throw new Error("the journal has no plan");
  const { plan } = planned;
  const operations = run.sights.flatMap((s) => (s.saw === "operation" ? [s] : []));
  const early = operations.filter((o) => o.to <= planned.at);
  const isTarget = (o: Operation) => plan.targets.some(({ key }) => key === stackOf(o));
  const source = early.filter((o) => !isTarget(o));
  const aims = early.filter(isTarget);
  const asked = Math.max(...source.map((o) => o.to));
  const phase = (name: string, wall: number, jobs: readonly Job[]) => ({
    name,
    wall,
    // What ran at more than so many at a time took longer each: then the way it was done is the shorter one.
    bound: Math.min(wall, schedule(jobs, machines)),
  });
  const driven = steps(
    plan,
    journal,
    operations.filter((o) => o.to > planned.at),
  );
  const phases = [
    phase("ask the source", asked - run.began, chains(source)),
    phase("look and preview", planned.at - asked, chains(aims)),
    phase("drive", run.ended - planned.at, driven),
  ];
  const kinds = new Map<string, { count: number; mean: number }>();
  for (const o of operations) {
    const kind = o.args[0] ?? "";
    const { count, mean } = kinds.get(kind) ?? { count: 0, mean: 0 };
    kinds.set(kind, { count: count + 1, mean: mean + (o.to - o.from - mean) / (count + 1) });
  }
  return {
    wall: run.ended - run.began,
    bound: phases.reduce((sum, { bound }) => sum + bound, 0),
    phases,
    operations: kinds,
  };
}

function stackOf({ args }: Operation): string {
  return args[args.indexOf("--stack") + 1] ?? "";
}

/** Operations on one stack come one after the other. */
function chains(operations: readonly Operation[]): Job[] {
  const last = new Map<string, string>();
  return operations.map((o, i) => {
    const stack = stackOf(o);
    const before = last.get(stack);
    last.set(stack, String(i));
    return { id: String(i), takes: o.to - o.from, needs: before === undefined ? [] : [before] };
  });
}

/** The plan's steps: each takes as long as its own operations. */
function steps(plan: Plan, journal: readonly JournalEvent[], operations: readonly Operation[]): Job[] {
  const began = new Map<string, number>();
  const ended = new Map<string, number>();
  for (const e of journal) {
    if (e.type === "step.started") began.set(e.step, e.at);
    if (e.type === "step.finished") ended.set(e.step, e.at);
  }
  return plan.steps.map(({ id, target, needs }) => {
    const mine = operations.filter((o) => {
      const middle = (o.from + o.to) / 2;
      return stackOf(o) === target && middle >= (began.get(id) ?? 0) && middle <= (ended.get(id) ?? 0);
    });
    return { id, needs, takes: mine.reduce((sum, o) => sum + o.to - o.from, 0) };
  });
}

/**
 * List scheduling: of what is ready, that with the longest way behind it begins as soon as a machine is free. What
 * takes no time needs none.
 */
export function schedule(jobs: readonly Job[], machines: number): number {
  const rank = ranks(jobs);
  const done = new Set<string>();
  const running: { id: string; until: number }[] = [];
  let waiting = [...jobs].sort((a, b) => (rank.get(b.id) ?? 0) - (rank.get(a.id) ?? 0));
  let now = 0;
  while (waiting.length > 0 || running.length > 0) {
    const ready = waiting.filter(({ needs }) => needs.every((need) => done.has(need)));
    const free = ready.filter(({ takes }) => takes === 0);
    const begun = free.length > 0 ? free : ready.slice(0, machines - running.length);
    waiting = waiting.filter((job) => !begun.includes(job));
    for (const { id, takes } of begun)
      if (takes === 0) done.add(id);
      else running.push({ id, until: now + takes });
    if (free.length > 0) continue;
    running.sort((a, b) => a.until - b.until);
    const next = running.shift();
    if (!next) throw new Error(`nothing can go on: ${waiting.map(({ id }) => id).join(", ")}`);
    now = next.until;
    done.add(next.id);
  }
  return now;
}

/** The longest way from each job's begin to the end of all. */
function ranks(jobs: readonly Job[]): Map<string, number> {
  const after = new Map<string, Job[]>();
  for (const job of jobs) for (const need of job.needs) after.set(need, [...(after.get(need) ?? []), job]);
  const known = new Map<string, number>();
  const rank = ({ id, takes }: Job): number => {
    const was = known.get(id);
    if (was !== undefined) return was;
    const made = takes + Math.max(0, ...(after.get(id) ?? []).map(rank));
    known.set(id, made);
    return made;
  };
  for (const job of jobs) rank(job);
  return known;
}

/** Peaks of memory, megabytes. */
export interface Peaks {
  /** The driver's own, as the kernel keeps it. */
  driver: number;
  /** Everything the driver or the supervisor started, with both, looked at twice a second. */
  all: number;
  stop(): void;
}

/** Watches the memory of a driver, of the supervisor, and of what they started. */
export function watch(driver: number, supervisor: number): Peaks {
  const peaks: Peaks = { driver: 0, all: 0, stop: () => clearInterval(timer) };
  const timer = setInterval(() => {
    const table = processes();
    const mine = new Set([driver, supervisor]);
    // Children have greater numbers than their parents, unless the numbers wrapped: then the next look sees them.
    for (const { pid, parent } of table) if (mine.has(parent)) mine.add(pid);
    const all = table.filter(({ pid }) => mine.has(pid)).reduce((sum, { pages }) => sum + pages, 0);
    peaks.all = Math.max(peaks.all, (all * 4096) / 1e6);
    peaks.driver = Math.max(peaks.driver, highest(driver));
  }, 500);
  return peaks;
}

function processes(): { pid: number; parent: number; pages: number }[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const text = readFileSync(`/proc/${name}/stat`, "latin1");
        // Fields 4 and 24 of proc(5): ppid and rss; the name before the last bracket may hold anything.
        const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
        return [{ pid: Number(name), parent: Number(fields[1]), pages: Number(fields[21]) }];
      } catch {
        return []; // it is gone
      }
    })
    .sort((a, b) => a.pid - b.pid);
}

function highest(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    return (Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024) / 1e6;
  } catch {
    return 0;
  }
}
