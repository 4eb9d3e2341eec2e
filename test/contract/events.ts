import { evolve, type Fact, type JournalEvent, type RunState } from "../../automation/core/events";
import type { Plan } from "../../automation/core/model";
import { subject } from "./world";

const { pin, release } = subject();
const plan: Plan = {
  version: 1,
  request: "promote staging prod",
  environment: "prod",
  source: "staging",
  release,
  pins: { shop: pin },
  maxParallel: 1,
  onFailure: "all",
  targets: [],
  steps: [],
};

/** A fact as the journal has it. */
export function entry(fact: Fact): JournalEvent {
  return { ...fact, v: 1, seq: 0, at: 1000, prev: "" };
}

/** The first event of a run, and the state after it. */
export function planned(): [JournalEvent, RunState] {
  const event = entry({ type: "run.planned", run: "run-1", plan, actor: "ada" });
  return [event, evolve(undefined, event)];
}
