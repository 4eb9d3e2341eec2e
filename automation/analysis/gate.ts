import type { Counts, Tick } from "../core/model";
import { begin, cash, DOWN, gather, plus, RESTART_SECONDS, restart, stake, sumOf, UP } from "./process";

/** Both sides of one question: the l_k against the release, restarted again and again, and those for it. */
export interface Stream {
  up: number[];
  down: number[];
}

/** A tick as a stream takes it: `x` of `n` were bad; `up` of them may be, and `down` is what it must be better than. */
export interface Seen {
  x: number;
  n: number;
  /** Share that the null "no worse than allowed" allows. */
  up: number;
  /** Share that the null "worse than allowed" begins at. @default the same */
  down?: number | undefined;
  /** Bad ones by which it is judged whether it is better, where they are counted otherwise. @default x */
  better?: number | undefined;
}

/** Nothing was seen. */
export function opened(): Stream {
  return { up: begin(UP, stake(0)), down: begin(DOWN) };
}

/** One tick more. `phi`: the over-dispersion of what is counted. */
export function fed(stream: Stream, { x, n, up, down = up, better = x }: Seen, phi: number): Stream {
  return { up: gather(stream.up, UP, x, n, up, phi), down: gather(stream.down, DOWN, better, n, down, phi) };
}

/** How many starts beside the first are due after so many seconds. */
export function startsAfter(seconds: number): number {
  return Math.floor(seconds / RESTART_SECONDS + 1e-9);
}

/** Makes the starts that are due. */
export function restarted(stream: Stream, from: number, to: number): Stream {
  let { up } = stream;
  for (let start = from + 1; start <= to; start++) up = restart(up, stake(start));
  return up === stream.up ? stream : { up, down: stream.down };
}

/** ln E against the release, after so many starts. */
export function against(stream: Stream, starts: number): number {
  return plus(sumOf(stream.up), Math.log(cash(starts)));
}

/** Whether ln E against the release is surely below: most of the time it is, and that is known without an exponential. */
export function isBelow(stream: Stream, limit: number): boolean {
  let top = Number.NEGATIVE_INFINITY;
  for (const value of stream.up) if (value > top) top = value;
  // Of K parts and the cash, which is at most 1/4 and so never more than E itself is at the beginning.
  return Math.exp(top) * stream.up.length + 0.25 < Math.exp(limit);
}

/** ln E for the release. */
export function inFavour(stream: Stream): number {
  return sumOf(stream.down);
}

/** A baseline with so many times fewer requests than the split of before lets expect has gone. */
const GONE = 3;

/**
 * Requests of both sides that show the split of a tick; with those of the tick before where it is too short to show it
 * itself. `undefined`: there is no baseline to compare with, for it has too few requests or none of a sudden.
 */
export function shown(
  n: number,
  nb: number,
  last: readonly [canary: number, baseline: number] | undefined,
  least: number,
): [canary: number, baseline: number] | undefined {
  if (nb >= least) return [n, nb];
  const [c, b] = last ?? [0, 0];
  if (b + nb < least || n * b > GONE * least * c) return undefined;
  return [c + n, b + nb];
}

/** ln of the mean of several E. */
export function meanOf(...l: number[]): number {
  return sumOf(l) - Math.log(l.length);
}

/** Whether counts are counts: a judge never makes a verdict of anything else. */
export function isSound(counts: Counts | undefined): boolean {
  if (!counts) return true;
  const { requests, errors, buckets } = counts;
  for (const value of buckets) if (!(value >= 0 && value < Number.POSITIVE_INFINITY)) return false;
  return errors >= 0 && errors <= requests + 1e-9 && requests < Number.POSITIVE_INFINITY;
}

/** The same of all that a tick has. Time goes forward, or the mixture would be started twice. */
export function isSoundTick({ canary, baseline, seconds }: Tick): boolean {
  return isSound(canary) && isSound(baseline) && seconds >= 0 && seconds < Number.POSITIVE_INFINITY;
}
