import { createHash } from "node:crypto";
import { other } from "../../components/handle";
import type {
  Act,
  Filled,
  Handle,
  Has,
  Pin,
  Plan,
  PlanTarget,
  Release,
  Step,
  StepId,
  Strategy,
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
  /** Acts in flight at a time. @default 4 */
  maxParallel?: number;
  aims: readonly Aim[];
}

/** Names pins that travel together: sha256 over the sorted `service=artifact` lines. */
export function release(pins: Record<string, Pin>): Release {
  const lines = Object.entries(pins).map(([service, pin]) => `${service}=${pin.artifact}`);
  return { id: createHash("sha256").update(lines.sort().join("\n")).digest("hex"), pins };
}

/** Makes the plan: for each target its strategy's acts in order, joined before the first settle. Pure. */
export function plan(ask: Ask): Plan {
  const targets = ask.aims.map(place);
  const chains = ask.aims.map((aim, i) => chain(aim, targets[i]!, ask));
  const heads = chains.map((steps) => steps.slice(0, -1));
  const joins = join(heads.map((steps) => steps.at(-1)!));
  const settles = chains.map((steps) => ({ ...steps.at(-1)!, needs: joins.root ? [joins.root] : [] }));
  return {
    version: 1,
    request: ask.request,
    environment: ask.environment,
    source: ask.source,
    release: ask.release.id,
    pins: ask.release.pins,
    unproven: ask.unproven,
    maxParallel: ask.maxParallel ?? 4,
    onFailure: "all",
    targets,
    steps: [...heads.flat(), ...joins.steps, ...settles],
  };
}

function place(aim: Aim): PlanTarget {
  const from = aim.declared?.live;
  return {
    key: aim.key,
    service: aim.service,
    mode: "slots",
    platform: aim.platform,
    from,
    to: from ? other(from) : "blue",
    base: aim.declared,
    pin: aim.pin,
  };
}

function chain(aim: Aim, target: PlanTarget, ask: Ask): Step[] {
  let last: StepId | undefined;
  return ask.strategy.steps(target, ask.has).map((act, i) => {
    const id = `${aim.key}/${String(i + 1).padStart(2, "0")}-${label(act)}`;
    const step: Step = { ...act, id, target: aim.key, needs: last ? [last] : [] };
    if (step.act === "deploy") step.settings = aim.settings;
    last = id;
    return step;
  });
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

/** A tree of joins, three needs at most each, so that a wave of any size meets in one step. */
function join(ends: readonly Step[]): { root?: StepId; steps: Step[] } {
  const steps: Step[] = [];
  let level = ends.map((step) => ({ id: step.id, target: step.target }));
  while (level.length > 1) {
    const next: typeof level = [];
    for (let i = 0; i < level.length; i += 3) {
      const group = level.slice(i, i + 3);
      const id = `join-${steps.length + 1}`;
      steps.push({ act: "join", id, target: group[0]!.target, needs: group.map((g) => g.id) });
      next.push({ id, target: group[0]!.target });
    }
    level = next;
  }
  return level[0] ? { root: level[0].id, steps } : { steps };
}
