import { createHash } from "node:crypto";
import { BadConfig } from "../../components/errors";
import { canonical, other } from "../../components/handle";
import {
  type Act,
  type Filled,
  fills,
  type Handle,
  type Has,
  type Pin,
  type Plan,
  type PlanTarget,
  type Release,
  type Step,
  type StepId,
  type Strategy,
} from "./model";

/** What is asked of one target: the pin to take, and the settings where they are not the service's own of today. */
export interface Aim {
  key: string;
  service: string;
  platform: string;
  declared?: Handle | undefined;
  pin: Pin;
  /** Frozen settings to bring back with the pin: a rollback. */
  settings?: Pick<Filled, "settings" | "hash"> | undefined;
}

/** What a plan is made from. */
export interface Ask {
  request: string;
  environment: string;
  source?: string | undefined;
  unproven?: string | undefined;
  release: Release;
  strategy: Strategy;
  has: Has;
  /** Operations and tasks at a time. @default 4 */
  maxParallel?: number | undefined;
  /** Services of each wave, in order; each service is in one. @default one wave */
  waves?: readonly (readonly string[])[] | undefined;
  /** A rollback. @default false */
  direct?: boolean | undefined;
  /** @default "all" */
  onFailure?: Plan["onFailure"] | undefined;
  aims: readonly Aim[];
}

/** Operations at a time where nobody says. */
export const PARALLEL = 4;

/** Names pins that travel together: sha256 over the sorted `service=artifact` lines. */
export function release(pins: Record<string, Pin>): Release {
  const lines = Object.entries(pins).map(([service, pin]) => `${service}=${pin.artifact}`);
  return { id: createHash("sha256").update(lines.sort().join("\n")).digest("hex"), pins };
}

/**
 * Makes the plan: for each target its strategy's acts in order. A wave begins when the one before has come
 * through; settles are last of all, or last of their wave where a failure takes only that back. Pure.
 */
export function plan(ask: Ask): Plan {
  const targets = ask.aims.map((aim) => place(aim, ask));
  const alone = ask.onFailure === "wave";
  const joins = joiner();
  const chains = ask.aims.map((aim, i) => chain(aim, targets[i]!, ask));
  const steps: Step[] = [];
  const last: Step[] = [];
  const several = chains.length > 1;
  // Before anything moves anywhere, every gate has been asked.
  let gate: StepId | undefined;
  if (several) {
    const asked = chains.map((acts) =>
      acts.splice(
        0,
        acts.findIndex((s) => s.act !== "gate"),
      ),
    );
    steps.push(...asked.flat());
    gate = joins.meet(asked.flatMap((acts) => acts.slice(-1)));
    for (const [first] of chains) if (first) first.needs = [];
    steps.push(...joins.take());
  }
  const waves = [...new Set(targets.map((t) => t.wave ?? 0))].sort((a, b) => a - b);
  for (const wave of waves) {
    const mine = chains.filter((_, i) => (targets[i]!.wave ?? 0) === wave);
    const heads = mine.map((acts) => after(acts.slice(0, -1), gate));
    const settles = mine.map((acts) => acts.at(-1)!);
    steps.push(...heads.flat());
    gate = joins.meet(heads.map((acts) => acts.at(-1)!));
    steps.push(...joins.take());
    const due = alone ? mine : wave === waves.at(-1) ? chains : [];
    if (several && due.length > 0) {
      // One that came through may have died while it waited for the others, and settling is for good.
      const looks = due.map((acts) => lookAgain(acts.at(-1)!, gate, ask));
      gate = joins.meet(looks);
      steps.push(...looks, ...joins.take());
    }
    if (!alone) last.push(...settles);
    else {
      const done = settles.map((settle) => ({ ...settle, needs: gate ? [gate] : [] }));
      steps.push(...done);
      // Nothing waits for the last ones.
      if (wave !== waves.at(-1)) gate = joins.meet(done);
      steps.push(...joins.take());
    }
  }
  const settles = last.map((settle) => ({ ...settle, needs: gate ? [gate] : [] }));
  return {
    version: 1,
    request: ask.request,
    environment: ask.environment,
    source: ask.source,
    release: ask.release.id,
    pins: ask.release.pins,
    unproven: ask.unproven,
    ...(ask.direct && { direct: true }),
    maxParallel: ask.maxParallel ?? PARALLEL,
    onFailure: ask.onFailure ?? "all",
    targets,
    steps: [...steps, ...settles],
  };
}

const names = new WeakMap<Plan, string>();

/** Names a plan: sha256 of its canonical JSON, hex. What people approve, and what a plan file is checked by. */
export function planId(made: Plan): string {
  const known = names.get(made);
  if (known) return known;
  const name = createHash("sha256").update(canonical(made)).digest("hex");
  names.set(made, name);
  return name;
}

function lookAgain(settle: Step, gate: StepId | undefined, ask: Ask): Step {
  const needs = gate ? [gate] : [];
  const { target } = settle;
  return {
    act: "verify",
    checks: ask.has.checks ?? "none",
    where: "live",
    id: `${target}/verify-again`,
    target,
    needs,
  };
}

function after(acts: readonly Step[], gate: StepId | undefined): Step[] {
  return acts.map((step, i) => (i === 0 && gate ? { ...step, needs: [gate] } : step));
}

function place(aim: Aim, ask: Ask): PlanTarget {
  const from = aim.declared?.live;
  const mode = ask.strategy.mode ?? "slots";
  const wave = ask.waves?.findIndex((services) => services.includes(aim.service)) ?? -1;
  return {
    key: aim.key,
    service: aim.service,
    mode,
    platform: aim.platform,
    from,
    to: !from ? "blue" : mode === "in-place" ? from : other(from),
    base: aim.declared,
    pin: aim.pin,
    // A service that no wave names comes last.
    ...(ask.waves && { wave: wave < 0 ? ask.waves.length : wave }),
  };
}

function chain(aim: Aim, target: PlanTarget, ask: Ask): Step[] {
  let last: StepId | undefined;
  return sound(ask.strategy.steps(target, ask.has), target, ask.strategy.name).map((act, i) => {
    const id = `${aim.key}/${String(i + 1).padStart(2, "0")}-${label(act)}`;
    const step: Step = { ...act, id, target: aim.key, needs: last ? [last] : [] };
    if (fills(step)) step.settings = aim.settings;
    last = id;
    return step;
  });
}

/** The acts, if they keep what every plan relies on. Throws `bad-config`: a strategy may be anybody's. */
function sound(acts: readonly Act[], { mode, key }: PlanTarget, name: string): readonly Act[] {
  const at = (act: Act["act"]) => acts.findIndex((a) => a.act === act);
  const times = (act: Act["act"]) => acts.filter((a) => a.act === act).length;
  const filling = mode === "slots" ? "deploy" : "replace";
  const other = mode === "slots" ? ["replace", "await"] : ["deploy", "shift", "adopt"];
  const stray = acts.find((a) => other.includes(a.act));
  const shifts = acts.flatMap((a, i) => (a.act === "shift" ? [{ to: a.to, i }] : []));
  const last = shifts.at(-1);
  const wrong = [
    [times("settle") !== 1 || acts.at(-1)?.act !== "settle", "must end in its only `settle`"],
    [times(filling) !== 1, `must have one \`${filling}\``],
    [stray !== undefined, `can't have \`${stray?.act}\`, for its mode is ${mode}`],
    [mode === "slots" && times("adopt") !== 1, "must have one `adopt`"],
    [mode === "slots" && (last?.to !== 100 || last.i > at("adopt")), "must shift to 100 before it adopts"],
    [shifts.some(({ i }) => i < at("deploy")), "must not shift before it deploys"],
    [shifts.some(({ to }) => !(Number.isInteger(to) && to > 0 && to <= 100)), "shifts to no percent"],
  ].find(([is]) => is);
  if (wrong) throw BadConfig(`strategy ${name} for ${key}`, `It ${wrong[1]}.`);
  return acts;
}

function label(act: Act): string {
  switch (act.act) {
    case "shift":
      return `shift-${act.to}`;
    case "verify":
      return `verify-${act.where}`;
    case "gate":
      return `gate-${act.gate}`;
    case "run":
      return `run-${act.task}`;
    default:
      return act.act;
  }
}

/** Makes trees of joins, three needs at most each, so that a wave of any size meets in one step. */
function joiner(): { meet(ends: readonly Step[]): StepId | undefined; take(): Step[] } {
  let made = 0;
  let steps: Step[] = [];
  return {
    meet(ends) {
      let level = ends.map((step) => ({ id: step.id, target: step.target }));
      while (level.length > 1) {
        const next: typeof level = [];
        for (let i = 0; i < level.length; i += 3) {
          const group = level.slice(i, i + 3);
          const id = `join-${++made}`;
          steps.push({ act: "join", id, target: group[0]!.target, needs: group.map((g) => g.id) });
          next.push({ id, target: group[0]!.target });
        }
        level = next;
      }
      return level[0]?.id;
    },
    take() {
      const taken = steps;
      steps = [];
      return taken;
    },
  };
}
