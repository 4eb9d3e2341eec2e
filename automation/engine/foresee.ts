import { BadConfig } from "../../components/errors";
import type { Service } from "../../components/release";
import { advice, span } from "../analysis/advice";
import { tick } from "../analysis/counts";
import type { Plan, PlanTarget } from "../core/model";
import type { Analysis, Context, Subject } from "../core/ports";
import { pool } from "./pool";
import type { Environment } from "./run";
import { failureOf } from "./scene";

/** Seconds of traffic that are taken for what is to come. */
const LOOK_BACK = 300;

/**
 * Looks whether the analysis can come to an end in its time, before anything moves. Throws `bad-config` where it can't,
 * whatever is seen; says so in a sentence where traffic is too slow for it.
 */
export async function foresee(
  made: Plan,
  environment: Environment,
  services: readonly Service[],
  about: (place: PlanTarget) => Subject,
  ctx: Context,
): Promise<string[]> {
  const { analysis, traffic } = environment;
  if (!analysis) return [];
  // What no source needs to be asked for comes first; then each is asked, some at a time.
  for (const place of made.targets) {
    bakes(made, place, analysis, environment.name);
    if (analysis.checkSplit && services.find((s) => s.name === place.service)?.local?.sticky)
      throw BadConfig(
        `automation/pipeline.ts, environment ${environment.name}`,
        `${place.service} is sticky: who is on a slot stays there, so traffic can't follow the split. Give its analysis \`checkSplit: false\`.`,
      );
  }
  // Where requests are made for the rollout, nobody knows yet how many.
  if (traffic) return [];
  const said = await pool(made.targets, made.maxParallel, async (place) => {
    const text = place.from
      ? await tooSlow(made, place, analysis, about(place), ctx)
      : unseen(made, place, analysis);
    return text === undefined ? [] : [`${place.key}: ${text}`];
  });
  return said.flat();
}

function unseen(made: Plan, { key }: PlanTarget, { maxDuration, holdFor }: Analysis): string | undefined {
  if (!made.steps.some((s) => s.target === key && s.act === "analyse")) return undefined;
  return (
    "a first release is judged by what its users meet. Without any requests it is held, and taken back " +
    `after ${span(maxDuration + holdFor)}: \`traffic: load({ rps })\` makes some.`
  );
}

function bakes(made: Plan, { key }: PlanTarget, { stepBake, maxDuration }: Analysis, name: string): void {
  const weights = made.steps.filter((s) => s.target === key && s.act === "analyse").length;
  if (weights * stepBake > maxDuration)
    throw BadConfig(
      `automation/pipeline.ts, environment ${name}`,
      `${weights} weights of ${stepBake} s each (stepBake) take longer than the ${maxDuration} s (maxDuration) there are.`,
    );
}

async function tooSlow(
  made: Plan,
  place: PlanTarget,
  { source, judges, probe, maxDuration, promoteRisk }: Analysis,
  about: Subject,
  ctx: Context,
): Promise<string | undefined> {
  const max = Math.min(...judges.flatMap((j) => (j.allows === undefined ? [] : [j.allows])));
  if (!place.from || place.mode !== "slots" || !source.history || !Number.isFinite(max)) return undefined;
  const weights = made.steps.flatMap((s) => (s.target === place.key && s.act === "shift" ? [s.to] : []));
  const weight = weights.filter((w) => w <= probe).at(-1) ?? weights[0];
  if (weight === undefined) return undefined;
  const to = ctx.now();
  try {
    const span = { from: to - LOOK_BACK * 1000, to };
    const read = await source.history({ ...about, slot: place.from }, span, ctx);
    const last = read.at(-1);
    const seen = last && tick(read[0], last, place.from, undefined);
    if (!seen) return undefined;
    return advice({ rps: seen.canary.requests / seen.seconds, weight, max, maxDuration, promoteRisk });
  } catch (e) {
    ctx.signal.throwIfAborted();
    ctx.log(`no traffic of ${place.key} is known: ${failureOf(e).message}`);
    return undefined;
  }
}
