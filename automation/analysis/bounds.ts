/** ln of the gamma function for positive values, to 1e-13: Lanczos' approximation with g = 7 and 9 terms. */
export function lnGamma(value: number): number {
  if (value < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * value)) - lnGamma(1 - value);
  const z = value - 1;
  const sum = LANCZOS.reduce((s, c, i) => (i === 0 ? c : s + c / (z + i)), 0);
  const t = z + 7.5;
  return 0.5 * Math.log(2 * Math.PI) + (z + 0.5) * Math.log(t) - t + Math.log(sum);
}

const LANCZOS = [
  0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
  12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
];

/** ln of the beta function. */
export function lnBeta(a: number, b: number): number {
  return lnGamma(a) + lnGamma(b) - lnGamma(a + b);
}

/**
 * The regularised incomplete beta function I_x(a, b), by Lentz's continued fraction:
 * Numerical Recipes, 3rd edition, section 6.4.
 */
export function betaShare(x: number, a: number, b: number): number {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - betaShare(1 - x, b, a);
  const front = Math.exp(a * Math.log(x) + b * Math.log(1 - x) - lnBeta(a, b)) / a;
  const safe = (value: number) => (Math.abs(value) < 1e-300 ? 1e-300 : value);
  let c = 1;
  let d = 1 / safe(1 - ((a + b) * x) / (a + 1));
  let sum = d;
  for (let m = 1; m <= 10_000; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / safe(1 + even * d);
    c = safe(1 + even / c);
    sum *= d * c;
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / safe(1 + odd * d);
    c = safe(1 + odd / c);
    sum *= d * c;
    if (Math.abs(d * c - 1) < 1e-14) break;
  }
  return front * sum;
}

/** Halves until the place where `below` turns from true to false is known to 1e-12 of its size. */
function turn(below: (x: number) => boolean, from = 0, to = 1): number {
  let [low, high] = [from, to];
  for (let i = 0; i < 100 && high - low > 1e-12 * high; i++) {
    const middle = (low + high) / 2;
    if (below(middle)) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** One-sided upper bound of a share of which `x` of `n` were seen, at 95 %: Clopper & Pearson (1934). 1 where nothing was. */
export function upper(x: number, n: number, confidence = 0.95): number {
  if (n <= 0 || x >= n) return 1;
  return turn((p) => betaShare(p, x + 1, n - x) < confidence);
}

/** One-sided lower bound: see `upper`. */
export function lower(x: number, n: number, confidence = 0.95): number {
  if (n <= 0 || x <= 0) return 0;
  return turn((p) => betaShare(p, x, n - x + 1) < 1 - confidence);
}

/** One-sided 95 % quantile of the normal distribution. */
export const Z = 1.645;

/** As `lower` at 95 %, nearly, and at once: for what is asked of each tick. Wilson (1927). */
export function roughlyLower(x: number, n: number): number {
  if (n <= 0 || x <= 0) return 0;
  const [p, z] = [x / n, Z];
  const low = p + z ** 2 / (2 * n) - z * Math.sqrt((p * (1 - p) + z ** 2 / (4 * n)) / n);
  return low / (1 + z ** 2 / n);
}

/**
 * Confidence sequence of a share: holds at every n at once with 95 %, so it may be looked at whenever one likes.
 * Inverts the Beta(1/2, 1/2) mixture e-process, E(theta) = B(x + 1/2, n - x + 1/2) / (B(1/2, 1/2) theta^x (1 - theta)^(n - x)):
 * Robbins (1970); Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting" (2024), section 2.
 */
export function interval(x: number, n: number, risk = 0.05): [low: number, high: number] {
  if (n <= 0) return [0, 1];
  const top = lnBeta(x + 0.5, n - x + 0.5) - lnBeta(0.5, 0.5) + Math.log(risk);
  const likely = (theta: number) =>
    (x > 0 ? x * Math.log(theta) : 0) + (n - x > 0 ? (n - x) * Math.log(1 - theta) : 0);
  const out = (theta: number) => likely(theta) < top;
  const best = x / n;
  const low = x <= 0 ? 0 : turn(out, 0, best);
  const high = x >= n ? 1 : turn((theta) => !out(theta), best, 1);
  return [low, high];
}
