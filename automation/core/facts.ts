import type {
  Failure,
  Handle,
  Instant,
  Outcome,
  Past,
  Plan,
  RunId,
  StepId,
  TargetKey,
  Tick,
  Verdict,
} from "./model";

/** What a run did, as it is appended. `seq`, `at`, `prev` and `v` are the journal's. */
export type Fact =
  | { type: "run.planned"; run: RunId; plan: Plan; actor: string }
  | { type: "run.paused"; reason: string; diverted: TargetKey[] }
  | { type: "step.started"; step: StepId; attempt: number }
  | { type: "step.waiting"; step: StepId; reason: string; until: Instant }
  | { type: "sample.taken"; step: StepId; target: TargetKey; tick: Tick }
  /** What the judges begin with: missing where nobody knew. */
  | { type: "past.known"; target: TargetKey; past?: Past | undefined }
  /** Neither a yes nor a no in the time there was: held until then, and rolled back if nothing changes. */
  | { type: "analysis.held"; step: StepId; target: TargetKey; verdict: Verdict; until: Instant }
  | {
      type: "step.finished";
      step: StepId;
      outcome: "done" | "failed";
      /** What the stack declares now, where the act applied something. */
      handle?: Handle | undefined;
      verdict?: Verdict | undefined;
      note?: string | undefined;
      failure?: Failure | undefined;
    }
  | {
      type: "answer.given";
      answer: "approve" | "reject" | "abort";
      who: string;
      reason?: string | undefined;
      /** Hash of the plan that was looked at. */
      plan?: string | undefined;
    }
  | { type: "rollback.begun"; reason: string; step?: StepId | undefined; failure?: Failure | undefined }
  /** The target's acts have ended; `moved` where traffic was taken back, which in place it can't be. */
  | { type: "traffic.diverted"; target: TargetKey; moved?: boolean | undefined }
  | { type: "restore.failed"; target: TargetKey; attempt: number; failure: Failure; until: Instant }
  | { type: "target.restored"; target: TargetKey; handle: Handle }
  /** Somebody put it right by hand. */
  | { type: "run.resolved"; who: string; reason: string }
  | { type: "run.finished"; outcome: Outcome; reason: string };

/** Every type of fact: what another version wrote may have more. */
export const FACTS: Readonly<Record<Fact["type"], true>> = {
  "run.planned": true,
  "run.paused": true,
  "step.started": true,
  "step.waiting": true,
  "sample.taken": true,
  "past.known": true,
  "analysis.held": true,
  "step.finished": true,
  "answer.given": true,
  "rollback.begun": true,
  "traffic.diverted": true,
  "restore.failed": true,
  "target.restored": true,
  "run.resolved": true,
  "run.finished": true,
};

/** A line of the journal. `prev` is the hash of the line before, so that a change in the middle shows. */
export type JournalEvent = Fact & { v: 1; seq: number; at: Instant; prev: string };
