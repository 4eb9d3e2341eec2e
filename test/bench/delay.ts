import { drill } from "./drill";
import { watched } from "./hook";
import { median, type Row } from "./row";

/** Milliseconds that each sync takes more, and what that may cost: the figures. */
const DELAY = 10;
const COST = 0.05;
/** Pairs of promotions, one slow, the other not. */
const PAIRS = 4;

/**
 * Real promotions in turns: every sync of the driver takes longer, or none does. Nothing is judged on the way, so
 * that no waiting hides a delay.
 */
export async function benchDelay(): Promise<Row[]> {
  const d = await drill();
  try {
    const seconds = { fast: [] as number[], slow: [] as number[] };
    const ratios: number[] = [];
    let syncs = 0;
    for (let i = 0; i < PAIRS; i++) {
      // Which of the two comes first changes, for the neighbours' load does too.
      const order = i % 2 === 0 ? (["fast", "slow"] as const) : (["slow", "fast"] as const);
      for (const [j, speed] of order.entries()) {
        const run = await watched(d.project, ["promote", j === 0 ? "b" : "a", "spare"], {
          syncDelay: speed === "slow" ? DELAY : 0,
        });
        if (run.code !== 0) throw new Error(run.stdout + run.stderr);
        seconds[speed].push((run.ended - run.began) / 1000);
        if (speed === "slow") syncs = Math.max(syncs, run.sights.filter((s) => s.saw === "sync").length);
      }
      ratios.push((seconds.slow.at(-1) ?? 0) / (seconds.fast.at(-1) ?? 1));
      process.stderr.write(`delay ${i + 1}: ${seconds.slow.at(-1)} s against ${seconds.fast.at(-1)} s\n`);
    }
    const [fast, late, ratio] = [median(seconds.fast), median(seconds.slow), median(ratios)];
    const most = (syncs * DELAY) / 1000 / fast;
    return [
      {
        figure: `delay: a promotion, every sync takes ${DELAY} ms more against not, median of ${PAIRS} pairs`,
        value: `${percent(ratio - 1)} (${late.toFixed(1)} s against ${fast.toFixed(1)} s)`,
        target: `<= ${COST * 100} %`,
        ok: ratio <= 1 + COST,
      },
      {
        figure: `delay: its ${syncs} syncs, each ${DELAY} ms later, if it had to wait for every one`,
        value: percent(most),
        target: `<= ${COST * 100} %`,
        ok: most <= COST,
      },
    ];
  } finally {
    await d.dispose();
  }
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
