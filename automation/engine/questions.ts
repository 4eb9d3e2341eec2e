import { type RunState, stepOf } from "../core/events";
import { person, type StepId } from "../core/model";
import { planId } from "../core/plan";
import { actor, type Desk } from "./carry";
import { drop } from "./inbox";
import type { Environment } from "./run";

/** A question that a run has for people. */
export interface Question {
  step: StepId;
  /** What is waited for, in words. */
  reason: string;
  /** Whether who began the run may say yes. */
  requester: boolean;
}

/** What a run waits for people to say. */
export function questions(state: RunState, environment: Environment): Question[] {
  if (state.phase !== "up") return [];
  const found: Question[] = [];
  for (const id of state.ready) {
    const step = stepOf(state.plan, id);
    const now = state.targets[step.target]?.steps[id];
    const gate = step.act === "gate" ? environment.gates?.find((g) => g.id === step.gate) : undefined;
    if (gate?.people && now?.status === "waiting")
      found.push({ step: id, reason: now.note ?? id, requester: gate.people.requester });
    if (now?.held !== undefined && now.status === "started") {
      const end = new Date(now.held.until).toISOString();
      const reason = `${step.target} is neither good nor bad enough to be sure; it is rolled back at ${end} unless somebody says go on`;
      found.push({ step: id, reason, requester: true });
    } else if (step.act === "hold" && step.seconds === undefined && now?.status === "started")
      found.push({ step: id, reason: `${step.target} is held until somebody says go on`, requester: true });
  }
  return found;
}

/** Puts a run's questions to who sits at the terminal, and what they say into its inbox, as `approve` would. */
export function prompter(desk: Desk, environment: Environment, directory: string) {
  // Once asked, a question is not asked again: who left it open answers from elsewhere.
  const asked = new Set<StepId>();
  let asking: AbortController | undefined;
  let about: StepId[] = [];

  async function put(open: Question[], state: RunState, signal: AbortSignal): Promise<void> {
    const own = person(actor()) === person(state.actor);
    const may = !own || open.some((q) => q.requester);
    const reasons = [...new Set(open.map((q) => q.reason))].join("; ");
    const keys = may ? "[a]pprove, [r]eject" : "[r]eject";
    const key = await desk.ask?.(`${reasons}. ${keys}?`, may ? "ar" : "r", signal);
    if (key === undefined || signal.aborted) return;
    const kind = key === "a" ? "approve" : "reject";
    await drop(directory, { kind, who: actor(), at: Date.now(), plan: planId(state.plan) });
  }

  return {
    look(state: RunState): void {
      const open = questions(state, environment);
      // Answered meanwhile, by somebody else or because the run goes down.
      if (asking && about.every((id) => !open.some((q) => q.step === id))) asking.abort();
      const fresh = open.filter((q) => !asked.has(q.step));
      if (fresh.length === 0 || (asking && !asking.signal.aborted)) return;
      for (const { step } of fresh) asked.add(step);
      about = fresh.map((q) => q.step);
      const mine = new AbortController();
      asking = mine;
      put(fresh, state, mine.signal)
        .catch((e) => desk.say(`the answer was not taken: ${e instanceof Error ? e.message : e}`))
        .finally(() => {
          if (asking === mine) asking = undefined;
        });
    },
    end(): void {
      asking?.abort();
    },
  };
}
