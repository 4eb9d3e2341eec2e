import { type Drill, drill, type EndState, STRATEGY_NAMES, type StrategyName, type Trial } from "./drill";
import type { Row } from "./row";

/** Milliseconds after the append at which the driver is killed, in turn: at once, and in the midst of the act. */
const DELAYS = [0, 60, 500, 0, 200, 1000];

/**
 * SIGKILL at every append of the journal, a good release and a bad one, then the same command once more: it
 * must end as if nobody had been killed. SLUICE_BENCH_POINTS takes so many points of each run instead of all,
 * SLUICE_BENCH_STRATEGIES names some of the strategies.
 */
export async function benchKill(): Promise<Row[]> {
  const d = await drill();
  try {
    const rows: Row[] = [];
    const asked = process.env.SLUICE_BENCH_STRATEGIES?.split(",");
    for (const name of STRATEGY_NAMES.filter((n) => !asked || asked.includes(n)))
      rows.push(...(await sweep(d, name)));
    return rows;
  } finally {
    await d.dispose();
  }
}

/** What is counted over the points of one sweep. */
interface Tally {
  points: number;
  resumed: number;
  identical: number;
  repeated: number;
  again: number;
  sent: number;
  failed: number;
}

async function sweep(d: Drill, strategy: StrategyName): Promise<Row[]> {
  // The first release of all has no baseline, so it is no measure; the two after it are.
  await d.trial(strategy, "a");
  const b = await calm(d, strategy, "b", 0);
  const a = await calm(d, strategy, "a", 0);
  const bad = await calm(d, strategy, "bad", 1);
  const whole = { a, b };
  const good = tally();
  let live: "a" | "b" = "a";
  for (const [i, append] of pointsOf(a.events).entries()) {
    const release: "a" | "b" = live === "a" ? "b" : "a";
    const trial = await d.trial(strategy, release, { kill: { append, delay: DELAYS[i % DELAYS.length]! } });
    live = release;
    const isSame = same(trial.end, whole[release].end) && trial.generations === whole[release].generations;
    count(good, `${strategy}, append ${append}`, trial, isSame && trial.code === 0, whole[release]);
  }
  const regression = tally();
  const before = whole[live].end;
  for (const [i, append] of pointsOf(bad.events).entries()) {
    const trial = await d.trial(strategy, "bad", { kill: { append, delay: DELAYS[i % DELAYS.length]! } });
    const isSame = same(trial.end, before);
    count(regression, `${strategy}, regression, append ${append}`, trial, isSame && trial.code === 1, {
      ...bad,
      end: before,
    });
  }
  return [row(strategy, good), row(`${strategy}, regression`, regression)];
}

/** A run that nobody disturbs: the measure for the others. */
async function calm(
  d: Drill,
  strategy: StrategyName,
  release: "a" | "b" | "bad",
  code: number,
): Promise<Trial> {
  const trial = await d.trial(strategy, release);
  const { first, met, effects } = trial;
  if (first.code === code && met.failed.length === 0 && effects === 1) return trial;
  throw new Error(
    `undisturbed, ${strategy} of ${release} ended with ${first.code}, ${effects} effects, ` +
      `${met.failed.length} requests failed: ${met.failed[0] ?? ""}\n${first.stdout}${first.stderr}`,
  );
}

function same(one: EndState, other: EndState): boolean {
  return one.text === other.text;
}

/** All appends of a run, or as many of them as were asked for, spread evenly. */
function pointsOf(events: number): number[] {
  const asked = Number(process.env.SLUICE_BENCH_POINTS ?? events);
  const count = Math.max(1, Math.min(events, asked));
  return Array.from({ length: count }, (_, i) => Math.floor(((i + 0.5) * events) / count) + 1);
}

function tally(): Tally {
  return { points: 0, resumed: 0, identical: 0, repeated: 0, again: 0, sent: 0, failed: 0 };
}

function count(sum: Tally, where: string, trial: Trial, isSame: boolean, whole: Trial): void {
  const { met, effects, begun, twice } = trial;
  sum.points++;
  if (trial.second) sum.resumed++;
  if (isSame) sum.identical++;
  // Killed before the task, or at the very end of a run that never got to it, there is one effect all the same.
  sum.repeated += Math.max(0, effects - 1) + twice.length;
  sum.again += Math.max(0, begun - 1);
  sum.sent += met.sent;
  sum.failed += met.failed.length;
  const wrong = [
    ...(isSame ? [] : [`ended with ${trial.code} as\n${trial.end.text}\nnot as\n${whole.end.text}`]),
    ...(isSame || trial.generations === whole.generations
      ? []
      : [`${trial.generations} generations, not ${whole.generations}`]),
    ...(effects === 1 ? [] : [`${effects} effects`]),
    ...twice.map((step) => `${step} was finished twice`),
    ...(met.failed.length > 0
      ? [`${met.failed.length} requests failed: ${[...new Set(met.failed)].join("; ")}`]
      : []),
  ];
  const told =
    wrong.length > 0
      ? `${wrong.join("\n")}\n${trial.second?.stdout}${trial.second?.stderr}`
      : "as undisturbed";
  process.stderr.write(`${where}: ${told}\n`);
}

function row(what: string, sum: Tally): Row {
  return {
    figure: `kill: ${what}`,
    value:
      `${sum.identical} of ${sum.points} ends identical (${sum.resumed} resumed); effects repeated ${sum.repeated} ` +
      `(task asked again ${sum.again}); ${sum.failed} of ${sum.sent.toLocaleString("en")} requests failed by us`,
    target: "all identical; 0 repeated; 0 failed",
    ok: sum.identical === sum.points && sum.repeated === 0 && sum.failed === 0,
  };
}
