import type { Service } from "../components/release";
import { abort } from "./commands/abort";
import { OtherRunOpen, WrongUse } from "./core/errors";
import type { Outcome, Release } from "./core/model";
import { planId } from "./core/plan";
import { type Carried, carry, type Desk, openRun, resume } from "./engine/carry";
import { environmentOf, servicesOf } from "./engine/pipeline";
import type { PlanFile } from "./engine/planfile";
import { looking } from "./engine/project";
import { build, type Declared, declaredIn, proved } from "./engine/source";

/** What `promote` was asked. */
export interface Promotion {
  /** Environments in order: the first has the release, each following one gets it. At least two. */
  chain: readonly string[];
  /** Makes the release from the sources, and takes it through the first environment too. */
  build?: boolean;
  service?: string | undefined;
  dryRun?: boolean;
  /** Takes what the source runs although nothing proved it there; with the name of who says so. */
  unproven?: string | undefined;
  /** Rolls back an open run that asks for something else, and takes its place. */
  supersede?: boolean;
  /** A plan that was kept with --out: drives that very plan, or refuses. */
  plan?: PlanFile | undefined;
}

/** Takes a release from environment to environment, and stops at the first that does not take it. */
export async function promote(ask: Promotion, desk: Desk): Promise<Carried[]> {
  const { pipeline } = desk.project;
  if (ask.chain.length < 2)
    throw WrongUse("promote needs a source and a target, for example: promote staging prod");
  const twice = ask.chain.find((name, i) => ask.chain.indexOf(name) !== i);
  if (twice) throw WrongUse(`${twice} is named twice: a release goes from one environment to another`);
  const environments = ask.chain.map((name) => environmentOf(pipeline, name));
  const services = servicesOf(pipeline, ask.service);
  const request = requestOf(ask);
  const results: Carried[] = [];

  // A run of this very request that was cut off: go on with it, and with what comes after it.
  let next = 1;
  for (const [i, environment] of environments.entries()) {
    const open = await openRun(desk, environment.name);
    if (!open) continue;
    const other = open.request !== request || (ask.plan && planId(open.state.plan) !== ask.plan.id);
    // The source of what is asked for is not this run's to clear.
    const mayEnd = ask.supersede && !ask.dryRun && (i > 0 || ask.build);
    if ((other || ask.dryRun) && !mayEnd) throw OtherRunOpen(environment.name, open.run, open.request);
    if (other) {
      // Nothing is ended for a release that would be refused after.
      if (!ask.build) proved(ask.chain[0]!, await look(desk, ask.chain[0]!, services), !!ask.unproven);
      const ended = await abort(environment.name, desk, `superseded by \`${request}\``);
      const free = ended.left === "finished" && ended.outcome !== "stuck";
      if (!free) return [...results, ended];
      continue;
    }
    results.push(await resume(desk, environment, open.run));
    if (!went(results)) return results;
    next = i + 1;
  }

  let release: Release | undefined;
  // What the source declares holds until a run changes it, so it is asked once.
  let source = results.length === 0 && !ask.build ? await look(desk, ask.chain[0]!, services) : undefined;
  if (results.length === 0 && (!source || isEmpty(source))) {
    if (!ask.build) desk.say(`Nothing runs in ${ask.chain[0]} yet, so a first release is built.`);
    release = await build(services, desk.project.root, { signal: desk.leave, log: desk.say });
    source = undefined;
    next = 0;
  }
  for (; next < environments.length; next++) {
    const to = environments[next]!;
    const from = next > 0 ? ask.chain[next - 1]! : undefined;
    // In a dry run the environment before has not proved it, so the same release is planned on.
    const taken =
      from === undefined || (ask.dryRun && release)
        ? release
        : proved(from, source ?? (await look(desk, from, services)), !!ask.unproven);
    source = undefined;
    if (!taken) throw WrongUse("there is no release to take");
    if (ask.dryRun) release = taken;
    results.push(
      await carry(desk, to, {
        request,
        release: taken,
        services,
        source: from,
        unproven: ask.unproven,
        dryRun: ask.dryRun ?? false,
        expect: ask.plan,
      }),
    );
    if (!went(results)) break;
  }
  return results;
}

/** The same words for the same request, so that giving it again goes on with it. */
function requestOf(ask: Promotion): string {
  return [
    "promote --",
    ...ask.chain,
    ...(ask.build ? ["--build"] : []),
    ...(ask.service ? [`--service ${ask.service}`] : []),
    ...(ask.unproven ? ["--unproven"] : []),
  ].join(" ");
}

function went(results: readonly Carried[]): boolean {
  const last = results.at(-1);
  return (
    last?.left === "nothing" ||
    last?.left === "planned" ||
    (last?.left === "finished" && last.outcome === ("promoted" satisfies Outcome))
  );
}

function look(desk: Desk, name: string, services: readonly Service[]): Promise<Declared> {
  const environment = environmentOf(desk.project.pipeline, name);
  return declaredIn(desk.project, environment, services, looking(desk.say, desk.leave));
}

function isEmpty(declared: Declared): boolean {
  return [...declared.values()].every((handle) => !handle?.live);
}
