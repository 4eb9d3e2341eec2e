import { cpus, loadavg } from "node:os";
import { drill } from "./drill";
import type { Watched } from "./hook";
import { median, type Row } from "./row";

/** Killed runs that are gone on with. */
const TRIALS = 9;
/** Seconds from the start of the process to its next act: the figure. */
const LIMIT = 3;

/**
 * From the start of the process that goes on with a killed run to its first `step.started`, without the time that
 * it waits for orphans. Each run is killed in the midst of an apply, where there is the most to look after: the
 * lock, and a refresh.
 */
export async function benchResume(): Promise<Row[]> {
  const d = await drill();
  try {
    await d.trial("bluegreen", "a");
    const calm = await d.trial("bluegreen", "b");
    const applies = appends(calm.first).flatMap((e, i) =>
      e.type === "step.started" && /-(deploy|shift-\d+|adopt|settle)$/.test(e.step ?? "") ? [i + 1] : [],
    );
    const seconds: number[] = [];
    const waits: number[] = [];
    const costs: number[] = [];
    for (let i = 0; i < TRIALS; i++) {
      const append = applies[i % applies.length]!;
      // Half a second into an `up` the engine is at work, and the driver dies without it.
      const { second } = await d.trial("bluegreen", i % 2 === 0 ? "a" : "b", {
        kill: { append, delay: 500 },
      });
      if (second?.code !== 0) throw new Error(`it was not gone on with: ${second?.stderr}`);
      const { took, waited, cost, parts } = next(second);
      process.stderr.write(
        `resume ${i + 1}: ${took.toFixed(2)} s beside ${waited.toFixed(2)} s for orphans: ${parts}\n`,
      );
      seconds.push(took);
      waits.push(waited);
      costs.push(cost);
    }
    const [mid, max] = [median(seconds), Math.max(...seconds)];
    return [
      {
        figure: `resume: start to the next act, without the wait for orphans (median ${median(waits).toFixed(2)} s), ${TRIALS} kills in an apply`,
        value: `median ${mid.toFixed(2)} s, max ${max.toFixed(2)} s`,
        target: `<= ${LIMIT} s`,
        ok: max <= LIMIT,
      },
      {
        figure:
          "resume: processor time until then, of the driver and its three CLIs: what a neighbour does not change",
        value: `median ${median(costs).toFixed(2)} s, max ${Math.max(...costs).toFixed(2)} s; load average ${loadavg()[0]?.toFixed(1)} on ${cpus().length} cores`,
        target: "for information",
        ok: true,
      },
    ];
  } finally {
    await d.dispose();
  }
}

function appends(run: Watched) {
  return run.sights.flatMap((s) => (s.saw === "append" ? [s] : []));
}

/** Seconds to the first act, those that it waited for orphans, and what the rest was. */
function next(run: Watched): { took: number; waited: number; cost: number; parts: string } {
  const act = appends(run).find((s) => s.type === "step.started");
  if (!act) throw new Error("no act was begun");
  const orphans = run.sights.flatMap((s) => (s.saw === "orphans" ? [s] : []));
  const waited = orphans.reduce((sum, s) => sum + s.to - s.from, 0);
  const operations = run.sights.flatMap((s) => (s.saw === "operation" && s.to <= act.at ? [s] : []));
  const parts = operations.map((s) => `${s.args[0]} ${s.to - s.from} ms`).join(", ");
  const { own, children } = act.cpu;
  return {
    took: (act.at - run.began - waited) / 1000,
    waited: waited / 1000,
    cost: (own + children) / 1000,
    parts: `${parts}; processor time: driver ${own} ms, CLIs ${children} ms`,
  };
}
