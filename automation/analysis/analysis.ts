import { BadConfig } from "../../components/errors";
import type { Analysis, Judge, MetricSource } from "../core/ports";
import { followsSplit } from "./split";
import { type Duration, type Share, seconds, share, within } from "./units";

/** A span of time: seconds, or as text: `"60s"`, `"15m"`. */
export type Time = number | Duration;

/** How an environment judges a release, as a user writes it. */
export interface AnalysisOptions {
  source: MetricSource;
  /** What must be true. Their ids must differ. */
  judges: readonly Judge[];
  /** Between two readings; where the platform pushes, an error is looked at as it comes. @default "5s" */
  every?: Time | undefined;
  /** Each weight is watched at least that long. @default "60s" */
  stepBake?: Time | undefined;
  /** The whole rollout is watched at least that long before it goes above `probe`. @default "60s" */
  minBake?: Time | undefined;
  /** After that a rollout that is neither good nor bad is inconclusive. @default "15m" */
  maxDuration?: Time | undefined;
  /** An inconclusive rollout is held that long. @default "1h" */
  holdFor?: Time | undefined;
  /** What becomes of it: `hold` rolls back after `holdFor`, `rollback` at once, `promote` takes it. @default "hold" */
  onInconclusive?: Analysis["onInconclusive"] | undefined;
  /** Percent up to which a weight passes when it does not fail; more takes evidence for the release. @default 10 */
  probe?: number | undefined;
  /** Chance of rolling back a release that keeps its limits, over the whole rollout. @default "5%" */
  risk?: Share | undefined;
  /** Chance of promoting one that breaks them, by error. @default "5%" */
  promoteRisk?: Share | undefined;
  /** Whether traffic that does not follow the declared split is an error. Turn it off for sticky sessions. @default true */
  checkSplit?: boolean | undefined;
}

const NAMES: readonly (keyof AnalysisOptions)[] = [
  "source",
  "judges",
  "every",
  "stepBake",
  "minBake",
  "maxDuration",
  "holdFor",
  "onInconclusive",
  "probe",
  "risk",
  "promoteRisk",
  "checkSplit",
];

/** Checks the options, and fills in what they leave out. Throws `bad-config`. */
export function analysis(options: AnalysisOptions): Analysis {
  const at = (name: keyof AnalysisOptions) => `analysis ${name}`;
  // What is run is not type-checked, and a limit that is misspelt would be no limit.
  const stray = Object.keys(options).find((name) => !NAMES.includes(name as keyof AnalysisOptions));
  if (stray !== undefined)
    throw BadConfig("analysis", `there is no option "${stray}". Known: ${NAMES.join(", ")}.`);
  if (typeof options.source?.read !== "function")
    throw BadConfig(at("source"), "it is no source of metrics, such as `scrape()`.");
  for (const judge of options.judges ?? [])
    if (typeof judge?.id !== "string" || typeof judge.start !== "function")
      throw BadConfig(
        at("judges"),
        `${JSON.stringify(judge)} is no judge, such as \`errorRate({ max: "1%" })\`.`,
      );
  const { source, onInconclusive = "hold", checkSplit = true } = options;
  const known = ["hold", "rollback", "promote"];
  if (!known.includes(onInconclusive))
    throw BadConfig(
      at("onInconclusive"),
      `${JSON.stringify(onInconclusive)} is none of ${known.join(", ")}.`,
    );
  if (!options.judges?.length) throw BadConfig("analysis", "one without judges never says yes.");
  const judges = [...options.judges, ...(checkSplit ? [followsSplit() as Judge] : [])];
  const twice = judges.find(({ id }, i) => judges.findIndex((j) => j.id === id) !== i);
  if (twice) throw BadConfig("analysis judges", `two are called "${twice.id}".`);
  const asking = judges.find((j) => j.query !== undefined);
  if (asking && !source.value)
    throw BadConfig("analysis judges", `"${asking.id}" has a query, but the source ${source.id} takes none.`);
  const every = span(at("every"), options.every ?? 5);
  if (every < 0.1) throw BadConfig(at("every"), `${every} s is too often; at least 0.1 s.`);
  const maxDuration = span(at("maxDuration"), options.maxDuration ?? 900);
  const [stepBake, minBake] = (["stepBake", "minBake"] as const).map((name) => {
    const value = span(at(name), options[name] ?? Math.min(60, maxDuration));
    if (value > maxDuration)
      throw BadConfig(at(name), `${value} s are more than the ${maxDuration} s (maxDuration) there are.`);
    return value;
  }) as [number, number];
  return {
    source,
    judges,
    every,
    stepBake,
    minBake,
    maxDuration,
    holdFor: span(at("holdFor"), options.holdFor ?? 3600),
    onInconclusive,
    probe: within(at("probe"), options.probe ?? 10, 0, 100),
    risk: chance(at("risk"), options.risk ?? 0.05),
    promoteRisk: chance(at("promoteRisk"), options.promoteRisk ?? 0.05),
    checkSplit,
  };
}

function span(where: string, value: Time): number {
  if (typeof value === "number" && value >= 0 && Number.isFinite(value)) return value;
  return seconds(where, value);
}

function chance(where: string, value: Share): number {
  const read = share(where, value);
  if (read > 0 && read <= 0.5) return read;
  throw BadConfig(where, `${JSON.stringify(value)} must be more than 0 % and at most 50 %.`);
}
