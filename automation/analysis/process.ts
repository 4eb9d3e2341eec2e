// The one engine of every gate: a Bernoulli e-process, mixed over a grid of alternatives. It starts at 1, and if its null
// hypothesis is true it ever reaches 1/alpha with a chance of at most alpha (Ville), however often it is looked at.
// Lindon & Malek, "Anytime-valid inference for multinomial count data" (NeurIPS 2022); Howard & Ramdas, "Sequential
// estimation of quantiles" (Bernoulli 28(3), 2022). Everything is in logarithms: l_k is kept, never E.

/** ln of `count` odds ratios, evenly spaced in logarithms. */
function ladder(from: number, to: number, count: number): number[] {
  const step = (Math.log(to) - Math.log(from)) / (count - 1);
  return Array.from({ length: count }, (_, k) => Math.log(from) + k * step);
}

/** Alternatives to "theta <= theta0", as ln of the odds ratio: 12 from 1.25 to 400. */
export const UP: readonly number[] = ladder(1.25, 400, 12);
/** Alternatives to "theta >= theta0": 9 from 1/1.25 to 1/50, and 0. */
export const DOWN: readonly number[] = [
  ...ladder(1.25, 50, 9).map((value) => -value),
  Number.NEGATIVE_INFINITY,
];
/** A likelihood of nothing: JSON knows no infinity. */
const NEVER = -1e9;

const RATIOS_UP = UP.map(Math.exp);
const RATIOS_DOWN = DOWN.map(Math.exp);

/** ln(1 - theta0 + theta0 r) of both grids for the last theta0s: that of a limit is the same for ever. */
const spreads: { theta0: number; up: readonly number[]; down: readonly number[] }[] = [];

function spreadOf(theta0: number, grid: readonly number[]): readonly number[] {
  for (let i = 0; i < spreads.length; i++) {
    const known = spreads[i]!;
    if (known.theta0 !== theta0) continue;
    // What is asked for again moves up and stays: a limit does, the share of a tick does not.
    if (i > 0) {
      spreads[i] = spreads[i - 1]!;
      spreads[i - 1] = known;
    }
    return grid === UP ? known.up : known.down;
  }
  const made = { theta0, up: spread(theta0, RATIOS_UP), down: spread(theta0, RATIOS_DOWN) };
  if (spreads.length >= 4) spreads.pop();
  spreads.push(made);
  return grid === UP ? made.up : made.down;
}

function spread(theta0: number, ratios: readonly number[]): number[] {
  const made = new Array<number>(ratios.length);
  for (let k = 0; k < ratios.length; k++) made[k] = Math.log(1 - theta0 + theta0 * ratios[k]!);
  return made;
}

/**
 * One tick: `x` of `n` were bad, where `theta0` of them may be. Adds to each l_k the ln of the likelihood ratio of
 * theta_k = theta0 r_k / (1 - theta0 + theta0 r_k) over theta0, divided by the over-dispersion `phi`. A theta0 of 0 or 1
 * says nothing. Null and grid may differ from tick to tick.
 */
export function gather(
  l: readonly number[],
  grid: readonly number[],
  x: number,
  n: number,
  theta0: number,
  phi = 1,
): number[] {
  if (n <= 0 || !(theta0 > 0 && theta0 < 1)) return l as number[];
  const spread = spreadOf(theta0, grid);
  const scale = 1 / phi;
  const next = new Array<number>(l.length);
  for (let k = 0; k < l.length; k++) {
    // ln(theta_k/theta0) = ln r - ln D and ln((1 - theta_k)/(1 - theta0)) = -ln D, with D = 1 - theta0 + theta0 r.
    const gain = x > 0 ? x * grid[k]! : 0;
    const value = l[k]! + (gain - n * spread[k]!) * scale;
    next[k] = value > NEVER ? value : NEVER;
  }
  return next;
}

/** ln of the sum of e^l, without leaving the range of numbers. */
export function sumOf(l: readonly number[]): number {
  let top = Number.NEGATIVE_INFINITY;
  for (const value of l) if (value > top) top = value;
  if (top === Number.NEGATIVE_INFINITY) return top;
  let sum = 0;
  for (const value of l) sum += Math.exp(value - top);
  return top + Math.log(sum);
}

/** The same of two. */
export function plus(a: number, b: number): number {
  const gap = a - b;
  // Beyond e^37 the smaller one is less than the last bit of the larger.
  if (gap > 37) return a;
  if (gap < -37) return b;
  return gap > 0 ? a + Math.log1p(Math.exp(-gap)) : b + Math.log1p(Math.exp(gap));
}

/** ln E of a uniform mixture. */
export function mixture(l: readonly number[]): number {
  return sumOf(l) - Math.log(l.length);
}

// Late regressions: most is staked at once, the rest later, bit by bit, so that an hour of good behaviour does not
// have to be made up for first. Shin, Ramdas, Rinaldo, "E-detectors" (2023). Three quarters, and starts every 10 s,
// find what is bad from the start earlier than a half and 30 s do, and what turns bad later no later: bench analysis.

/** Staked at the very beginning. */
const FIRST = 0.75;
/** Seconds between two starts of the mixture. */
export const RESTART_SECONDS = 10;
/** Starts among which a part of what is left is shared evenly: those of the 15 minutes that a rollout takes at most. */
const BLOCK = 90;
/** Which part: the rest is for a rollout that is held for longer. */
const PART = 0.8;

/** What is staked at the start of that number; the 0th is the very beginning. */
export function stake(start: number): number {
  if (start === 0) return FIRST;
  const block = Math.floor((start - 1) / BLOCK);
  return ((1 - FIRST) * PART * (1 - PART) ** block) / BLOCK;
}

/** What is not staked yet after that many starts beside the 0th. */
export function cash(starts: number): number {
  const blocks = Math.floor(starts / BLOCK);
  const left = (1 - FIRST) * (1 - PART) ** blocks;
  return left - (starts - blocks * BLOCK) * stake(blocks * BLOCK + 1);
}

/**
 * ln of the weights against a release: the first alternative weighs as much as two. Little more than allowed is found by it
 * alone, for the second one is too far away, and that takes longest: bench analysis.
 */
const WEIGHTS = UP.map((_, k) => Math.log((k === 0 ? 2 : 1) / (UP.length + 1)));

/** The weights l_k of a mixture that begins. */
export function begin(grid: readonly number[], share = 1): number[] {
  if (grid === UP) return WEIGHTS.map((weight) => weight + Math.log(share));
  return grid.map(() => Math.log(share / grid.length));
}

/** R_k <- R_k + w w_k. */
export function restart(l: readonly number[], share: number): number[] {
  const more = Math.log(share);
  const next = new Array<number>(l.length);
  for (let k = 0; k < l.length; k++) next[k] = plus(l[k]!, more + WEIGHTS[k]!);
  return next;
}
