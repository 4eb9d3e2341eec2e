import { performance } from "node:perf_hooks";
import { finds } from "./finds";
import { judging } from "./judging";
import { markdown, peers } from "./peers";
import { risks } from "./risks";
import { rollouts } from "./rollouts";
import type { Row } from "./row";

/** Seconds that all simulations together may take: the figure. */
const TOTAL = 600;

/** How sure the judges are and how soon, beside the peers' rules, in simulated rollouts; and what judging costs. */
export async function benchAnalysis(): Promise<Row[]> {
  const began = performance.now();
  // First, while nothing else is under way.
  const speed = judging();
  const figures = [...risks(), ...finds(), ...peers()];
  const told = await rollouts(figures.flatMap(({ of }) => of));
  let from = 0;
  const rows = figures.map(({ figure, target, of, read }): Row => {
    const mine = told.slice(from, from + of.length);
    from += of.length;
    return { figure, target, ...read(mine) };
  });
  const last = peers().flatMap(({ of }) => of).length;
  process.stdout.write(`\n${markdown(told.slice(-last))}\n`);
  const seconds = (performance.now() - began) / 1000;
  const count = told.flat().length.toLocaleString("en-US");
  return [
    ...rows,
    ...speed,
    {
      figure: `all of it: ${count} rollouts`,
      value: `${Math.round(seconds)} s`,
      target: `<= ${TOTAL} s on 2 cores`,
      ok: seconds <= TOTAL,
    },
  ];
}
