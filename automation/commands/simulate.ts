import { setImmediate } from "node:timers/promises";
import { advice, span } from "../analysis/advice";
import { NAMES, type Name, named } from "../analysis/named";
import { DEFAULTS } from "../analysis/replay";
import { simulate as rollout, type Scenario, type Told } from "../analysis/simulate";
import { seconds, within } from "../analysis/units";
import { figure, percent } from "../analysis/words";
import { WrongUse } from "../core/errors";
import { columns } from "../views/columns";
import { portion } from "./portion";

/** The options as they are typed. */
export interface Asked {
  rps: number;
  rate?: string | undefined;
  bad?: string | undefined;
  weights?: string | undefined;
  max?: string | undefined;
  worseThan?: number | undefined;
  maxDuration?: string | undefined;
  /** Ours looks at each error as it comes, as it does where the platform pushes. @default false: every 5 s */
  pushed?: boolean | undefined;
  runs?: number | undefined;
  seed?: number | undefined;
}

/** What is estimated: shares from 0 to 1, seconds. */
export interface Simulation {
  rps: number;
  weights: number[];
  rate: number;
  bad: number;
  max: number;
  worseThan: number;
  maxDuration: number;
  pushed: boolean;
  runs: number;
  seed: number;
  judges: Estimate[];
  /** What it means for this traffic. */
  says: string;
}

/** What one judge makes of healthy releases, and of bad ones. */
export interface Estimate {
  judge: Name;
  healthy: Outcomes;
  bad: Outcomes;
}

interface Outcomes {
  rolledBack: number;
  promoted: number;
  /** Neither, when time was over. */
  undecided: number;
  /** Median of the seconds until it was promoted or rolled back; missing where none was. */
  promotedAfter?: number;
  rolledBackAfter?: number;
  /** The release's requests that failed until then. */
  failed: { median: number; p90: number };
}

/** Milliseconds after which a Ctrl-C is heard. */
const BREATH = 50;
/** Seconds after which the others are given up: they know no end. */
const PATIENCE = 3600;

/** A share of undecided rollouts that should be said. */
const MANY = 0.05;

/** Lets rollouts happen by chance, and says what each judge makes of them. Throws `bad-config`, `wrong-use`. */
export async function simulate(asked: Asked, leave: AbortSignal): Promise<Simulation> {
  const of = read(asked);
  let breath = Date.now();
  const tell = async (name: Name, canary: number): Promise<Told[]> => {
    const judges = named(name, { max: of.max, worseThan: of.worseThan });
    // The peers know no horizon: they go on until they have said something.
    const horizon = name === "sluice" ? of.maxDuration : Math.max(PATIENCE, of.maxDuration);
    const scenario: Scenario = {
      rps: of.rps,
      weights: of.weights,
      baseline: of.rate,
      canary,
      seconds: horizon,
      pushed: of.pushed && name === "sluice",
    };
    const told: Told[] = [];
    for (let i = 0; i < of.runs; i++) {
      // The same traffic for each of them.
      told.push(rollout(scenario, { ...DEFAULTS, judges }, of.seed + i));
      if (Date.now() - breath < BREATH) continue;
      await setImmediate();
      leave.throwIfAborted();
      breath = Date.now();
    }
    return told;
  };
  const judges: Estimate[] = [];
  for (const judge of NAMES)
    judges.push({
      judge,
      healthy: outcomes(await tell(judge, of.rate)),
      bad: outcomes(await tell(judge, of.bad)),
    });
  return { ...of, judges, says: says(of, judges[0]!) };
}

type Terms = Omit<Simulation, "judges" | "says">;

function read(asked: Asked): Terms {
  const { rps, runs = 200, seed = 1, worseThan = 1.5 } = asked;
  if (!(rps > 0)) throw WrongUse("--rps takes the requests a second of both slots together, more than 0.");
  const max = portion("--max", asked.max ?? "1%");
  if (max === 0 || max === 1)
    throw WrongUse("--max must lie between 0 % and 100 %: nobody can be that sure.");
  return {
    rps: within("--rps", rps, 0, 1e6),
    weights: weightsOf(asked.weights ?? "5,10,25,50,100"),
    rate: portion("--rate", asked.rate ?? "0.1%"),
    bad: portion("--bad", asked.bad ?? "5%"),
    max,
    worseThan: within("--worse-than", worseThan, 1, 1000),
    pushed: asked.pushed ?? false,
    maxDuration: asked.maxDuration === undefined ? 900 : seconds("--max-duration", asked.maxDuration),
    runs: within("--runs", runs, 1, 10_000, true),
    seed: within("--seed", seed, 0, 2 ** 31, true),
  };
}

function weightsOf(text: string): number[] {
  const weights = text.split(",").map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
  const grow = weights.every((w, i) => Number.isInteger(w) && w > (weights[i - 1] ?? 0) && w <= 100);
  if (!grow)
    throw WrongUse(`--weights takes whole numbers that grow up to 100, as in 5,25,100; not ${text}.`);
  return weights.at(-1) === 100 ? weights : [...weights, 100];
}

function outcomes(told: readonly Told[]): Outcomes {
  const part = (verdict: Told["verdict"]) => told.filter((t) => t.verdict === verdict);
  const after = (of: readonly Told[]) =>
    quantile(
      of.map((t) => t.seconds),
      0.5,
    );
  const [passed, failed] = [part("pass"), part("fail")];
  const counts = told.map((t) => t.failed);
  return {
    rolledBack: failed.length / told.length,
    promoted: passed.length / told.length,
    undecided: part("inconclusive").length / told.length,
    ...(passed.length > 0 && { promotedAfter: after(passed) }),
    ...(failed.length > 0 && { rolledBackAfter: after(failed) }),
    failed: { median: quantile(counts, 0.5), p90: quantile(counts, 0.9) },
  };
}

/** Of the values themselves, none in between. */
function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? 0;
}

/** Percent up to which a weight passes when it does not fail: what comes next must be proved there. */
function proving(weights: readonly number[]): number {
  return weights.find((_, i) => (weights[i + 1] ?? 100) > DEFAULTS.probe) ?? 100;
}

function says(of: Terms, { healthy, bad }: Estimate): string {
  const { rps, rate, max, maxDuration, weights } = of;
  const slow = advice({ rps, max, maxDuration, weight: proving(weights) });
  if (slow) return slow;
  const [first = 100] = weights;
  const begin = `At ${figure(first)} % of ${figure(rps)} rps the release gets ${figure((rps * first) / 100)} requests a second`;
  const good =
    healthy.promotedAfter === undefined
      ? `a release with ${percent(rate)} of errors is not promoted within ${span(maxDuration)}`
      : `a release with ${percent(rate)} of errors is promoted after ${span(healthy.promotedAfter)}`;
  const found =
    bad.rolledBackAfter === undefined
      ? `one with ${percent(of.bad)} is not found`
      : `one with ${percent(of.bad)} is rolled back after ${span(bad.rolledBackAfter)} and ${figure(bad.failed.median)} failed requests`;
  const open =
    healthy.undecided >= MANY
      ? ` After ${span(maxDuration)} ${percent(healthy.undecided)} of the healthy ones are undecided, and held: raise \`maxDuration\`, \`max\` or the first weights.`
      : "";
  return `${begin}: ${good}, ${found} (medians, by Sluice's own judge).${open}`;
}

/** The table, and what it means. */
export function simulateLines(of: Simulation): string[] {
  const { rps, weights, max, worseThan, rate, bad, runs, judges } = of;
  const each = runs === 1 ? "one rollout" : `${figure(runs)} rollouts`;
  const rows = judges.map(({ judge, healthy: h, bad: b }) => [
    judge,
    percent(h.rolledBack),
    percent(h.undecided),
    h.promotedAfter === undefined ? "-" : span(h.promotedAfter),
    percent(b.rolledBack),
    percent(b.undecided),
    percent(b.promoted),
    b.rolledBackAfter === undefined ? "-" : span(b.rolledBackAfter),
    `${figure(b.failed.median)} (${figure(b.failed.p90)})`,
  ]);
  const heads = ["", "rolled", "un-", "promoted", "rolled", "un-", "", "", "failed requests"];
  const heads2 = [
    "judge",
    "back",
    "decided",
    "after",
    "back",
    "decided",
    "promoted",
    "after",
    "median (p90)",
  ];
  const table = columns([heads, heads2, ...rows]);
  const split = table.at[4] ?? 0;
  return [
    `${figure(rps)} rps, weights ${weights.join(", ")} %, limit ${percent(max)} and ${figure(worseThan)} times the baseline: ${each} of each kind`,
    "",
    `${" ".repeat(table.at[1] ?? 0)}${`healthy: ${percent(rate)} fail`.padEnd(split - (table.at[1] ?? 0))}bad: ${percent(bad)} fail, baseline ${percent(rate)}`,
    ...table.lines,
    "",
    of.says,
  ];
}
