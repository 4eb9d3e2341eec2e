import type { Told } from "../../automation/analysis/simulate";
import { TRAFFIC, tenth } from "./risks";
import type { Batch, JudgeName } from "./rollouts";
import { atMost, brief, delays, ended, type Figure, percent, rank, runs } from "./shares";

/** Who judges the same traffic, by which rule. `pushed`: on each error, not only on each tick of 5 s. */
const SIDES: { name: string; rule: string; judge: JudgeName; pushed: boolean }[] = [
  { name: "Argo Rollouts", rule: "errors > 1 %, 60 s, failureLimit 0", judge: "argo", pushed: false },
  { name: "Flagger", rule: "success < 99 %, 60 s, threshold 5", judge: "flagger", pushed: false },
  { name: "Kayenta", rule: "Mann-Whitney, 15 points of 60 s", judge: "kayenta", pushed: false },
  { name: "Sluice", rule: "looked at every 5 s", judge: "default", pushed: false },
  { name: "Sluice", rule: "looked at on each error too", judge: "default", pushed: true },
];

const named = ({ name, rule }: (typeof SIDES)[number]) => `${name}, ${rule}`;

function batches(side: (typeof SIDES)[number], baseline: number, canary: number): Batch[] {
  return TRAFFIC.map((rps) => {
    const scenario = tenth({ rps, baseline, canary, pushed: side.pushed });
    return { judge: side.judge, runs: runs(500), scenario };
  });
}

/** The rules of the peers beside ours, on the same simulated traffic. */
export function peers(): Figure[] {
  const ours = (judge: JudgeName) => judge === "default";
  const healthy = SIDES.flatMap((side) =>
    [0.005, 0.001].map((rate): Figure => {
      return {
        figure: `rolled back wrongly at 10/100/1000 rps, both ${percent(rate)} %: ${named(side)}`,
        target: ours(side.judge) ? "<= 1 %" : "to compare",
        of: batches(side, rate, rate),
        read: atMost(ours(side.judge) ? 0.01 : 1, "fail"),
      };
    }),
  );
  const bad = SIDES.map((side): Figure => {
    return {
      figure: `5 % errors on a 0.5 % base at 10/100/1000 rps: ${named(side)}`,
      target: "to compare",
      of: batches(side, 0.005, 0.05),
      read: (told) => ({ value: `${told.map(fate).join("; ")}`, ok: true }),
    };
  });
  return [...healthy, ...bad];
}

/** Medians of the time to the rollback, and of the canary's requests that failed until then. */
function fate(told: readonly Told[]): string {
  const median = rank(delays(told), 0.5);
  const failed = rank(
    told.map((t) => t.failed),
    0.5,
  );
  return `${Number.isFinite(median) ? `${brief(median)} s` : "never"}, ${failed} failed`;
}

/** The tables for people, from what became of the batches of `peers()`, in that order. */
export function markdown(told: readonly Told[][]): string {
  const at = (figure: number) => told.slice(figure * TRAFFIC.length, (figure + 1) * TRAFFIC.length);
  const shares = (figure: number) =>
    at(figure)
      .map((batch) => percent(ended(batch, "fail") / batch.length))
      .join(" / ");
  const fates = (figure: number) => at(figure).map(fate).join(" | ");
  const count = told[0]?.length ?? 0;
  return [
    `10 % canary, watched for 15 min, limit 1 %, at 10 / 100 / 1,000 rps in all; ${count} seeded rollouts each (\`npm run bench -- analysis\`).`,
    "",
    "| healthy canary rolled back, % | base error rate 0.5 % | 0.1 % |",
    "|---|---|---|",
    ...SIDES.map((side, i) => `| ${named(side)} | ${shares(2 * i)} | ${shares(2 * i + 1)} |`),
    "",
    "| 5 % errors on a 0.5 % base: time to the rollback, canary requests failed until then (medians) | 10 rps | 100 rps | 1,000 rps |",
    "|---|---|---|---|",
    ...SIDES.map((side, i) => `| ${named(side)} | ${fates(2 * SIDES.length + i)} |`),
    "",
  ].join("\n");
}
