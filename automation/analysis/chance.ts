/** Chance from a seed: mulberry32, uniform on [0, 1). */
export function chance(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Above this mean a normal distribution is as good, to a part in a hundred. */
const MANY = 200;

/** How many come in a time in which `mean` are expected: Poisson. */
export function poisson(mean: number, random: () => number): number {
  if (mean > MANY) return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal(random)));
  // Knuth's product of uniforms, in parts so that it does not underflow.
  let count = 0;
  for (let left = mean; left > 0; left -= 30) {
    const limit = Math.exp(-Math.min(left, 30));
    for (let product = random(); product > limit; product *= random()) count++;
  }
  return count;
}

/** Which of `n` are bad, each with a chance of `p`: their places, ascending. Exact: gaps are geometric. */
export function places(n: number, p: number, random: () => number): number[] {
  const found: number[] = [];
  if (p <= 0) return found;
  const ln = Math.log1p(-Math.min(p, 1 - 1e-12));
  for (let at = -1; ; ) {
    at += 1 + Math.floor(Math.log(1 - random()) / ln);
    if (!(at < n)) return found;
    found.push(at);
  }
}

/** Standard normal: Box & Muller (1958). */
export function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** Share of a normal distribution below `x`: Abramowitz & Stegun 26.2.17, to 7.5e-8. */
export function below(x: number): number {
  const t = 1 / (1 + 0.2316419 * Math.abs(x));
  const tail =
    (Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI)) *
    t *
    (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  return x > 0 ? 1 - tail : tail;
}
