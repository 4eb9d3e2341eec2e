import pc from "picocolors";
import type { Handle } from "../../components/handle";
import type { Service } from "../../components/release";
import { JournalElsewhere } from "../core/errors";
import type { RunState } from "../core/events";
import { stepOf, stuckBy } from "../core/events";
import type { Observed } from "../core/ports";
import { type Desk, openRun } from "../engine/carry";
import { type Holder, leaseHolder } from "../engine/lease";
import { pendingSettings } from "../engine/pending";
import { environmentOf, keyOf } from "../engine/pipeline";
import { looking } from "../engine/project";
import { type Question, questions } from "../engine/questions";
import type { Environment } from "../engine/run";
import { environmentDirectory } from "../engine/runs";
import { label, seconds } from "../view";

/** How the reason of a pause begins where nobody but a person can go on. */

/** What looking takes of a desk. */
export type Looker = Pick<Desk, "project" | "say" | "leave">;

/** One target as it is now. */
export interface TargetStatus {
  key: string;
  service: string;
  declared?: Handle | undefined;
  actual?: Observed["actual"];
  drift: string[];
  /** Settings that the live slot does not run with yet: `redeploy` takes them. */
  pending: boolean;
  problem?: Problem | undefined;
}

/** Why something could not be looked at. */
export interface Problem {
  code: string;
  message: string;
  hint: string;
}

/** One environment as it is now. */
export interface EnvironmentStatus {
  environment: string;
  run?:
    | {
        id: string;
        request: string;
        phase: string;
        /** Who began it. */
        actor: string;
        paused?: string | undefined;
        /** Why it can't go on by itself. */
        stuck?: string | undefined;
        holder?: Holder | undefined;
        doing: string[];
        /** What people are asked, and whether who began the run may answer. */
        questions: Pick<Question, "reason" | "requester">[];
      }
    | undefined;
  /** Why nothing is known of its run: a damaged journal must not hide the other environments. */
  problem?: Problem | undefined;
  targets: TargetStatus[];
}

/**
 * Looks at environments: what is declared, what is there, and which run is open. What `kept` has of an environment's
 * targets is not looked at again: a stack is asked in seconds, a journal in milliseconds.
 */
export async function status(
  names: readonly string[],
  desk: Looker,
  kept: ReadonlyMap<string, TargetStatus[]> = new Map(),
): Promise<EnvironmentStatus[]> {
  const { pipeline } = desk.project;
  const known = names.length > 0 ? names : pipeline.environments.map((e) => e.name);
  const environments = known.map((name) => environmentOf(pipeline, name));
  return Promise.all(
    environments.map(async (environment) => {
      const { name } = environment;
      const look = () => Promise.all(pipeline.services.map((s) => targetOf(desk, s, environment)));
      const run = await runOf(desk, environment);
      const targets = kept.get(name) ?? (await look());
      return { environment: name, ...(await strayed(targets, run, desk, environment)), targets };
    }),
  );
}

/** A run that only the stacks still know of: its journal is elsewhere, or was moved away. */
async function strayed(
  targets: readonly TargetStatus[],
  run: RunStatus,
  desk: Looker,
  environment: Environment,
) {
  const taken = targets.find((t) => t.declared?.run);
  if (!taken?.declared?.run || run.run || run.problem) return run;
  // It may have begun since it was looked for.
  const again = await runOf(desk, environment);
  if (again.run || again.problem) return again;
  return { problem: problemOf(JournalElsewhere(taken.key, taken.declared.run, environment.name)) };
}

type RunStatus = Pick<EnvironmentStatus, "run" | "problem">;

async function targetOf(desk: Looker, service: Service, environment: Environment): Promise<TargetStatus> {
  const { project } = desk;
  const base = { key: keyOf(project.pipeline, service, environment.name), service: service.name };
  try {
    const seen = await (await project.target(service, environment)).observe(looking(desk.say, desk.leave));
    return {
      ...base,
      ...seen,
      pending: pendingSettings(project.root, base.key, service, seen.declared),
    };
  } catch (e) {
    return { ...base, drift: [], pending: false, problem: problemOf(e) };
  }
}

async function runOf(desk: Looker, environment: Environment): Promise<RunStatus> {
  try {
    const open = await openRun(desk, environment.name);
    if (!open) return {};
    const holder = await leaseHolder(environmentDirectory(desk.project.root, environment.name));
    const { run: id, request, state } = open;
    const { phase, paused, actor } = state;
    const asked = questions(state, environment).map(({ reason, requester }) => ({ reason, requester }));
    const stuck = stuckBy(state);
    return {
      run: { id, request, phase, actor, paused, stuck, holder, doing: doing(state), questions: asked },
    };
  } catch (e) {
    return { problem: problemOf(e) };
  }
}

function problemOf(e: unknown): Problem {
  const { code, message, hint } = e as { code?: string; message: string; hint?: string };
  return { code: code ?? "unexpected", message, hint: hint ?? "" };
}

function doing(state: RunState): string[] {
  return Object.values(state.targets).flatMap((t) =>
    Object.entries(t.steps)
      .filter(([, s]) => s.status === "started" || s.status === "waiting")
      .map(
        ([id, s]) =>
          `${label(stepOf(state.plan, id))} of ${stepOf(state.plan, id).target}, for ${seconds(Date.now() - s.startedAt)}`,
      ),
  );
}

/** The status for people. */
export function statusLines(all: readonly EnvironmentStatus[]): string[] {
  return all.flatMap((e) => [
    pc.bold(e.environment),
    ...e.targets.flatMap((t) => targetLines(t, e.environment)),
    ...(e.problem ? problemLines("run", e.problem) : runLines(e)),
  ]);
}

function problemLines(of: string, { code, message, hint }: Problem): string[] {
  return [pc.red(`  ${of}: ${code}: ${message}`), ...(hint ? [`    ${hint}`] : [])];
}

function targetLines(t: TargetStatus, environment: string): string[] {
  if (t.problem) return problemLines(t.service, t.problem);
  const { declared } = t;
  const live = declared?.live && declared.slots[declared.live];
  if (!declared || !live) return [`  ${t.service}: nothing is live`];
  const split = t.actual?.split ?? declared.split;
  const proof =
    declared.proved?.artifact === live.pin.artifact ? `proved ${declared.proved.at}` : "not proved here";
  return [
    `  ${t.service}: ${live.pin.artifact}`,
    `    ${declared.live} is live, blue ${split.blue} % green ${split.green} %, ${proof}${declared.local ? `, ${declared.local.url}` : ""}`,
    ...(declared.previous ? [`    before: ${declared.previous.pin.artifact}`] : []),
    ...t.drift.map((d) => pc.yellow(`    drift: ${d}`)),
    ...(t.pending ? [pc.yellow(`    settings wait: \`npm run redeploy -- ${environment}\` takes them`)] : []),
  ];
}

function runLines(e: EnvironmentStatus): string[] {
  const { run } = e;
  if (!run) return [];
  const by = run.holder
    ? `driven by ${run.holder.user} on ${run.holder.host} (pid ${run.holder.pid})`
    : "driven by nobody";
  const paused = run.paused && !run.stuck ? `; paused: ${run.paused}` : "";
  return [
    pc.yellow(
      `  run ${run.id} (\`npm run ${run.request}\`) is open, going ${run.phase}, begun by ${run.actor}, ${by}${paused}`,
    ),
    ...run.doing.map((d) => `    ${d}`),
    ...askedLines(run, e.environment),
    ...(run.stuck ? stuckLines(run.stuck, run.request, e) : []),
    ...(run.holder || run.stuck
      ? []
      : [`    go on: \`npm run ${run.request}\`    end it: \`npm run abort -- ${e.environment}\``]),
  ];
}

function askedLines(run: NonNullable<EnvironmentStatus["run"]>, environment: string): string[] {
  if (run.questions.length === 0) return [];
  const who = run.questions.every((q) => q.requester) ? "" : `, not by ${run.actor}`;
  return [
    ...run.questions.map((q) => pc.yellow(`    asks: ${q.reason}`)),
    `    say yes${who}: \`npm run approve -- ${environment}\`    say no: \`npm run reject -- ${environment}\``,
  ];
}

/** What a hand can do, from the least to the most. */
function stuckLines(why: string, request: string, { environment, targets }: EnvironmentStatus): string[] {
  const urls = targets.flatMap((t) => (t.declared?.local ? [t.declared.local.url] : []));
  return [
    pc.red(`    STUCK, a hand is needed: ${why}`),
    `    1. See that users are served${urls.length > 0 ? `: ${urls.join(", ")}` : ""}.`,
    `    2. Mend the cause, and let it go on by itself: \`npm run ${request}\``,
    `    3. Or put it right by hand (\`npm run pulumi -- stack -s ${targets[0]?.key ?? environment}\` shows what is declared), and close the run with what is live then:`,
    `       \`npm run resolve -- ${environment} --reason "what was done"\``,
  ];
}

/** What a change is seen by: a line for each target and for the run, without times. */
export function statusChanges(all: readonly EnvironmentStatus[]): string[] {
  return all.flatMap(({ environment, targets, run, problem }) => [
    ...targets.map((t) => {
      const { declared } = t;
      const live = declared?.live && declared.slots[declared.live];
      const split = t.actual?.split ?? declared?.split;
      if (t.problem) return `${environment}: ${t.service}: ${t.problem.code}`;
      if (!live || !split) return `${environment}: ${t.service}: nothing is live`;
      return `${environment}: ${t.service}: ${declared.live} is live, blue ${split.blue} % green ${split.green} %, ${live.pin.artifact}${t.drift.length > 0 ? ", drifted" : ""}${t.pending ? ", settings wait" : ""}`;
    }),
    ...(problem ? [`${environment}: run: ${problem.code}`] : []),
    ...(run
      ? [
          `${environment}: run ${run.id}, going ${run.phase}${run.paused ? `, paused: ${run.paused}` : ""}${run.holder ? "" : ", driven by nobody"}`,
          ...run.doing.map((d) => `${environment}: ${d.replace(/, for [^,]*$/, "")}`),
          ...run.questions.map((q) => `${environment}: asks: ${q.reason}`),
        ]
      : [`${environment}: no run is open`]),
  ]);
}
