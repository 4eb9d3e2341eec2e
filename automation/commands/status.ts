import pc from "picocolors";
import type { Handle } from "../../components/handle";
import type { Service } from "../../components/release";
import type { RunState } from "../core/events";
import { stepOf } from "../core/events";
import type { Observed } from "../core/ports";
import { type Desk, openRun } from "../engine/carry";
import { type Holder, leaseHolder } from "../engine/lease";
import { pendingSettings } from "../engine/pending";
import { environmentOf, keyOf } from "../engine/pipeline";
import { looking } from "../engine/project";
import type { Environment } from "../engine/run";
import { environmentDirectory } from "../engine/runs";
import { label, seconds } from "../view";

/** What looking takes of a desk. */
type Looker = Pick<Desk, "project" | "say" | "leave">;

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
        paused?: string | undefined;
        holder?: Holder | undefined;
        doing: string[];
      }
    | undefined;
  /** Why nothing is known of its run: a damaged journal must not hide the other environments. */
  problem?: Problem | undefined;
  targets: TargetStatus[];
}

/** Looks at environments: what is declared, what is there, and which run is open. */
export async function status(names: readonly string[], desk: Looker): Promise<EnvironmentStatus[]> {
  const { pipeline } = desk.project;
  const known = names.length > 0 ? names : pipeline.environments.map((e) => e.name);
  const environments = known.map((name) => environmentOf(pipeline, name));
  return Promise.all(
    environments.map(async (environment) => {
      const targets = pipeline.services.map((service) => targetOf(desk, service, environment));
      return {
        environment: environment.name,
        ...(await runOf(desk, environment.name)),
        targets: await Promise.all(targets),
      };
    }),
  );
}

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

async function runOf(desk: Looker, name: string): Promise<Pick<EnvironmentStatus, "run" | "problem">> {
  try {
    const open = await openRun(desk, name);
    if (!open) return {};
    const holder = await leaseHolder(environmentDirectory(desk.project.root, name));
    const { run: id, request, state } = open;
    return {
      run: { id, request, phase: state.phase, paused: state.paused, holder, doing: doing(state) },
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
  return [
    pc.yellow(
      `  run ${run.id} (\`npm run ${run.request}\`) is open, going ${run.phase}, ${by}${run.paused ? `; paused: ${run.paused}` : ""}`,
    ),
    ...run.doing.map((d) => `    ${d}`),
    ...(run.holder
      ? []
      : [`    go on: \`npm run ${run.request}\`    end it: \`npm run abort -- ${e.environment}\``]),
  ];
}
