import { type ChildProcess, fork } from "node:child_process";
import { availableParallelism } from "node:os";
import { errorRate } from "../../automation/analysis/errors";
import { latency } from "../../automation/analysis/latency";
import { thresholdRange } from "../../automation/analysis/range";
import { type Scenario, simulate, type Told } from "../../automation/analysis/simulate";
import { threshold } from "../../automation/analysis/threshold";
import { mannWhitney } from "../../automation/analysis/whitney";
import type { Judge } from "../../automation/core/ports";

/** The judges that are compared, as a user would write them. */
const JUDGES = {
  /** What is proposed to everybody. */
  default: () => errorRate({ max: "1%", worseThan: 1.5 }),
  /** One arm, and two. */
  absolute: () => errorRate({ max: "1%" }),
  relative: () => errorRate({ worseThan: 1 }),
  /** One arm without the floor of three errors: the engine alone. */
  bare: () => errorRate({ max: "1%", minErrors: 1 }),
  latency: () => latency(),
  argo: () => threshold({ of: "errors", max: "1%" }),
  flagger: () => thresholdRange({ of: "success", min: "99%" }),
  kayenta: () => mannWhitney({ of: "errors" }),
};

/** A judge by its name. */
export type JudgeName = keyof typeof JUDGES;

/** One rollout, again and again: traffic, who judges it, and how often. */
export interface Batch {
  scenario: Scenario;
  judge: JudgeName;
  runs: number;
}

/** A part of a batch: runs `from` … `to - 1` of it. */
interface Part {
  batch: number;
  scenario: Scenario;
  judge: JudgeName;
  from: number;
  to: number;
}

/** Runs of a part: some seconds at most. */
const PART = 20;
/** Of the golden ratio, odd: seeds that lie far from each other. The same run of two judges has the same traffic. */
const STRIDE = 0x9e3779b1;

function run({ scenario, judge, from, to }: Part): Told[] {
  const judges = [JUDGES[judge]() as Judge];
  const rules = { judges, stepBake: 60, minBake: 60, probe: 10, risk: 0.05, promoteRisk: 0.05 };
  return Array.from({ length: to - from }, (_, i) =>
    simulate(scenario, rules, Math.imul(from + i + 1, STRIDE)),
  );
}

/** Lets every rollout happen, on all cores: what each came to, by batch, in the order of the seeds. */
export async function rollouts(batches: readonly Batch[]): Promise<Told[][]> {
  const parts = batches.flatMap(({ scenario, judge, runs }, batch) =>
    Array.from({ length: Math.ceil(runs / PART) }, (_, i): Part => {
      return { batch, scenario, judge, from: i * PART, to: Math.min(runs, (i + 1) * PART) };
    }),
  );
  const told = batches.map(({ runs }) => new Array<Told>(runs));
  let [next, done] = [0, 0];
  const work = async () => {
    const child = fork(__filename, ["rollouts"], { execArgv: ["--import", "tsx"] });
    try {
      for (let part = parts[next++]; part; part = parts[next++]) {
        const { batch, from } = part;
        for (const [i, one] of (await asked(child, part)).entries()) told[batch]![from + i] = one;
        done++;
        if (done % Math.ceil(parts.length / 10) === 0)
          process.stderr.write(`analysis: ${Math.round((100 * done) / parts.length)} % of the rollouts\n`);
      }
    } finally {
      child.kill();
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  return told;
}

function asked(child: ChildProcess, part: Part): Promise<Told[]> {
  return new Promise((resolve, reject) => {
    const died = (code: number | null) => reject(new Error(`a child that simulates ended with ${code}`));
    child.once("exit", died);
    child.once("message", (told: Told[]) => {
      child.off("exit", died);
      resolve(told);
    });
    child.send(part);
  });
}

if (process.argv[2] === "rollouts" && process.send)
  process.on("message", (part: Part) => process.send?.(run(part)));
