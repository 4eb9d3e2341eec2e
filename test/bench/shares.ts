import { lower, upper } from "../../automation/analysis/bounds";
import type { Told } from "../../automation/analysis/simulate";
import type { Batch } from "./rollouts";

/** A row of the table, and the rollouts it is read from. */
export interface Figure {
  figure: string;
  target: string;
  of: readonly Batch[];
  /** What became of each batch. */
  read(told: readonly Told[][]): { value: string; ok: boolean };
}

/** Runs of one batch, scaled by SLUICE_BENCH_RUNS: 0.1 makes a tenth of them, 20 at least. */
export function runs(count: number): number {
  return Math.max(20, Math.round(count * Number(process.env.SLUICE_BENCH_RUNS ?? 1)));
}

/** The `q`-th of the values in order: 0.5 is the median, an actual value. */
export function rank(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN;
}

/** How many of them ended so. */
export function ended(told: readonly Told[], verdict: Told["verdict"]): number {
  return told.filter((t) => t.verdict === verdict).length;
}

/** A share as percent: two digits. */
export function percent(share: number): string {
  const value = 100 * share;
  return String(value >= 10 ? Math.round(value) : Number(value.toPrecision(2)));
}

/** A share with its 95 % confidence interval: Clopper & Pearson (1934), two-sided. */
export function sure(x: number, n: number): string {
  const [low, high] = [lower(x, n, 0.975), upper(x, n, 0.975)];
  return `${percent(x / n)} % (${percent(low)} to ${percent(high)}, ${x} of ${n})`;
}

/** Seconds to the rollback; endless where there was none. */
export function delays(told: readonly Told[]): number[] {
  return told.map(({ verdict, seconds }) => (verdict === "fail" ? seconds : Number.POSITIVE_INFINITY));
}

/** One digit after the point, if it says anything. */
export function brief(value: number): string {
  return value >= 10 || Number.isInteger(value) ? String(Math.round(value)) : value.toFixed(1);
}

/** Reads the share of rollouts that ended so in the worst of the batches: at most `most` of them may. */
export function atMost(most: number, verdict: Told["verdict"]): Figure["read"] {
  return (told) => {
    const shares = told.map((batch) => ended(batch, verdict) / batch.length);
    const worst = told[shares.indexOf(Math.max(...shares))] ?? [];
    const all = told.length > 1 ? `${shares.map(percent).join("/")} %, worst ` : "";
    return {
      value: `${all}${sure(ended(worst, verdict), worst.length)}`,
      ok: Math.max(...shares) <= most,
    };
  };
}
