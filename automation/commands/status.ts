import pc from "picocolors";
import type { Handle } from "../../components/handle";
import type { RunState } from "../core/events";
import { stepOf } from "../core/events";
import type { Observed } from "../core/ports";
import { type Desk, openRun } from "../engine/carry";
import { type Holder, leaseHolder } from "../engine/lease";
import { pendingSettings } from "../engine/pending";
import { environmentOf, keyOf } from "../engine/pipeline";
import { looking } from "../engine/project";
import { environmentDirectory } from "../engine/runs";
import { label, seconds } from "../view";

/** One target as it is now. */
export interface TargetStatus {
  key: string;
  service: string;
  declared?: Handle | undefined;
  actual?: Observed["actual"];
  drift: string[];
  /** Settings that the live slot does not run with yet: `redeploy` takes them. */
  pending: boolean;
  problem?: { code: string; message: string; hint: string } | undefined;
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
  targets: TargetStatus[];
}

/** Looks at environments: what is declared, what is there, and which run is open. */
export async function status(names: readonly string[], desk: Desk): Promise<EnvironmentStatus[]> {
  const { project } = desk;
  const known = names.length > 0 ? names : project.pipeline.environments.map((e) => e.name);
  return Promise.all(
    known.map(async (name) => {
      const environment = environmentOf(project.pipeline, name);
      const open = await openRun(desk, name);
      const holder = await leaseHolder(environmentDirectory(project.root, name));
      const targets = project.pipeline.services.map(async (service): Promise<TargetStatus> => {
        const base = { key: keyOf(project.pipeline, service, name), service: service.name };
        try {
          const seen = await (await project.target(service, environment)).observe(
            looking(desk.say, desk.leave),
          );
          return {
            ...base,
            ...seen,
            pending: pendingSettings(project.root, base.key, service, seen.declared),
          };
        } catch (e) {
          const { code, message, hint } = e as { code?: string; message: string; hint?: string };
          return {
            ...base,
            drift: [],
            pending: false,
            problem: { code: code ?? "unexpected", message, hint: hint ?? "" },
          };
        }
      });
      return {
        environment: name,
        ...(open && {
          run: {
            id: open.run,
            request: open.request,
            phase: open.state.phase,
            paused: open.state.paused,
            holder,
            doing: doing(open.state),
          },
        }),
        targets: await Promise.all(targets),
      };
    }),
  );
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
  return all.flatMap((e) => [pc.bold(e.environment), ...e.targets.flatMap(targetLines), ...runLines(e)]);
}

function targetLines(t: TargetStatus): string[] {
  if (t.problem)
    return [pc.red(`  ${t.service}: ${t.problem.code}: ${t.problem.message}`), `    ${t.problem.hint}`];
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
    ...(t.pending
      ? [pc.yellow(`    settings wait: \`npm run redeploy -- ${t.key.split(".").at(-1)}\` takes them`)]
      : []),
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
