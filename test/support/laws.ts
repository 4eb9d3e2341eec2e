import { fold, type JournalEvent, stepOf } from "../../automation/core/events";
import type { Plan, Step, TargetKey } from "../../automation/core/model";
import { canonical, type Handle } from "../../components/handle";
import { BAKE, begin, ENOUGH, type Story, type Tale } from "./story";

/** Every law that the story breaks, a sentence each: what went wrong in the world, and what the journal tells. */
export function broken(story: Story, tale: Tale): string[] {
  const found = [...new Set(story.wrongs)];
  const { events, plan } = story;
  found.push(...order(events, plan), ...evidence(events, plan, tale), ...effects(story));
  for (const ending of story.endings) if (ending instanceof Error) found.push(`it threw ${ending.message}`);
  const state = fold(events);
  if (story.outcome === undefined) found.push(`it never ended: ${state?.phase}`);
  else if (state?.phase !== "done") found.push("the journal does not say that it ended");
  if (story.outcome === "rolled-back" || story.outcome === "refused") found.push(...asBefore(story, tale));
  const through = story.plan.targets.filter(({ key }) => state?.targets[key]?.settled);
  if (story.outcome === "promoted" || through.length > 0)
    found.push(...promoted(story, story.outcome === "promoted" ? story.plan.targets : through));
  return found;
}

/** Settles come last of all and for good; a rollback is never rolled back; steps wait for their needs. */
function order(events: JournalEvent[], plan: Plan): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const settling = new Set<string>();
  let down = false;
  for (const event of events) {
    if (event.type === "step.started") {
      const step = stepOf(plan, event.step);
      if (down) found.push(`${event.step} was started in a rollback`);
      for (const need of step.needs)
        if (!done.has(need)) found.push(`${event.step} did not wait for ${need}`);
      if (done.has(event.step)) found.push(`${event.step} was done, and started again`);
      if (step.act === "settle") {
        settling.add(event.step);
        const alone = plan.onFailure === "wave";
        // A join can't fail, and a later wave has one of its own target's.
        const counts = (s: Step) => !alone || (s.act !== "join" && waveOf(plan, s) <= waveOf(plan, step));
        for (const s of plan.steps)
          if (s.act !== "settle" && !done.has(s.id) && counts(s))
            found.push(`${event.step} while ${s.id} could still fail`);
      }
    } else if (event.type === "step.finished" && event.outcome === "done") done.add(event.step);
    else if (event.type === "rollback.begun") {
      const half = plan.steps.some(
        (s) =>
          s.act === "settle" &&
          !done.has(s.id) &&
          [...settling].some((id) => waveOf(plan, stepOf(plan, id)) === waveOf(plan, s)),
      );
      if (half || (plan.onFailure === "all" && settling.size > 0))
        found.push("it was rolled back past the point of no return");
      if (down) found.push("it was rolled back twice");
      down = true;
    } else if (event.type === "run.finished") {
      if (event.outcome === "promoted" && done.size < plan.steps.length)
        found.push("promoted with steps left");
    }
  }
  if (events.filter((e) => e.type === "run.finished").length > 1) found.push("it finished twice");
  return found;
}

function waveOf(plan: Plan, step: { target: TargetKey }): number {
  return plan.targets.find((t) => t.key === step.target)?.wave ?? 0;
}

/** No weight is passed without enough data, seen for long enough. */
function evidence(events: JournalEvent[], plan: Plan, tale: Tale): string[] {
  const found: string[] = [];
  for (const event of events) {
    const place = event.type === "sample.taken" && plan.targets.find((t) => t.key === event.target);
    if (place && place.mode === "in-place" && event.tick.baseline)
      found.push(`${place.key} is compared with itself`);
    if (event.type !== "step.finished" || event.outcome !== "done") continue;
    const step = stepOf(plan, event.step);
    const { act, target } = step;
    const least = step.act === "hold" ? (step.seconds ?? 0) : BAKE;
    if (act !== "analyse" && !(act === "hold" && tale.analysis)) continue;
    let requests = 0;
    let seconds = 0;
    for (const e of events.slice(0, events.indexOf(event))) {
      if (e.type !== "sample.taken" || e.target !== target) continue;
      requests += e.tick.canary.requests;
      if (e.step === event.step) seconds += e.tick.seconds;
    }
    if (requests < ENOUGH) found.push(`${event.step} passed with ${requests} requests`);
    if (seconds < least - 1e-6) found.push(`${event.step} passed after ${seconds} s`);
    const bad = plan.pins[target] && tale.faults.bad?.includes(plan.pins[target].artifact);
    if (bad) found.push(`${event.step} passed although a fifth failed`);
  }
  return found;
}

/** A task is done once, or as often as it was cut off. */
function effects({ events, plan, effects: all }: Story): string[] {
  const found: string[] = [];
  for (const step of plan.steps) {
    if (step.act !== "run") continue;
    const count = all.filter((e) => e === `${plan.release}/${step.target}/${step.task}`).length;
    const starts = events.filter((e) => e.type === "step.started" && e.step === step.id).length;
    if (count > starts) found.push(`${step.id} took effect ${count} times in ${starts} starts`);
  }
  return found;
}

/** What is there of a target, without what may differ. */
export function still(handle: Handle | undefined): string {
  const { generation: _g, by: _b, proved, local: _l, ...rest } = handle ?? { generation: 0 };
  // An empty stack that says so is as empty as one that says nothing.
  if (Object.keys(handle?.slots ?? {}).length === 0) return "empty";
  return canonical({ ...rest, proved: proved && { ...proved, at: "" } });
}

/** The whole world without what may differ: what two tellings of a tale must have in common. */
export function world(story: Story): Record<TargetKey, string> {
  return Object.fromEntries(
    [...story.world.stacks].map(([key, stack]) => {
      const { slots, split, live, run } = stack.platform.now();
      return [key, `${still(stack.handle)} ${canonical({ slots, split, live, run })}`];
    }),
  );
}

function asBefore(story: Story, tale: Tale): string[] {
  const before = world({ ...story, world: begin(tale).world });
  const after = world(story);
  const state = fold(story.events);
  // A wave that is through stays as it is.
  const kept = (key: TargetKey) => state?.targets[key]?.settled;
  return Object.keys(before)
    .filter((key) => before[key] !== after[key] && !kept(key))
    .map((key) => `${key} is not as before: ${before[key]} → ${after[key]}`);
}

function promoted({ world: w }: Story, targets: Plan["targets"]): string[] {
  const found: string[] = [];
  for (const { key, to, pin } of targets) {
    const { handle, platform } = w.stacks.get(key)!;
    const there = platform.now();
    if (handle?.live !== to || there.split[to] !== 100 || there.live !== to) found.push(`${key} is not live`);
    if (Object.keys(there.slots).join() !== to) found.push(`${key} keeps ${Object.keys(there.slots)}`);
    if (handle?.run || there.run) found.push(`${key} is still taken`);
    if (handle?.proved?.artifact !== pin.artifact) found.push(`${key} is not proved`);
  }
  return found;
}
