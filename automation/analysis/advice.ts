import { inFavour, meanOf, opened } from "./gate";
import { DOWN, gather } from "./process";
import { figure, percent } from "./words";

/** More requests than this nobody waits for. */
const MOST = 1e7;
/** What nobody would allow, and nobody wait for, is not worth proposing: a share of errors, and seconds. */
const MAX = 0.2;
const DAY = 86_400;

/** How far the evidence for a release is, and how far it must come. */
export interface Standing {
  /** The l_k for the release against its limit. @default nothing was seen */
  down?: readonly number[] | undefined;
  /** ln E for the release against the baseline; the mean of both counts. @default nothing speaks for it yet */
  beside?: number | undefined;
  max: number;
  promoteRisk: number;
  /** Over-dispersion of errors. @default 1 */
  phi?: number | undefined;
}

/**
 * Requests without an error that it takes until the evidence for a release is enough, by the very engine that judges
 * it. `undefined`: more than anybody waits for.
 */
export function clean({ down, beside = 0, max, promoteRisk, phi = 1 }: Standing): number | undefined {
  const stream = opened();
  const from = down ?? stream.down;
  const enough = (n: number) => {
    const now = inFavour({ ...stream, down: gather(from, DOWN, 0, n, max, phi) });
    return meanOf(now, beside) >= -Math.log(promoteRisk);
  };
  if (enough(0)) return 0;
  let high = 1;
  while (!enough(high)) {
    high *= 2;
    if (high > MOST) return undefined;
  }
  for (let low = high / 2; high - low > 1; ) {
    const middle = Math.floor((low + high) / 2);
    if (enough(middle)) high = middle;
    else low = middle;
  }
  return high;
}

/** Traffic, and what a release is held to. */
export interface Expected {
  /** Requests a second of both slots together. */
  rps: number;
  /** Percent for the release where it must first be proved: the last weight up to `probe`. */
  weight: number;
  /** Share of requests that may fail. */
  max: number;
  /** Seconds. @default 900 */
  maxDuration?: number | undefined;
  /** @default 0.05 */
  promoteRisk?: number | undefined;
}

/**
 * What is to be said of a service that is too slow for its limits: even without any error it takes more than half of
 * the time there is to be sure of it. `undefined`: nothing.
 */
export function advice(expected: Expected): string | undefined {
  const { rps, weight, max, maxDuration = 900, promoteRisk = 0.05 } = expected;
  const own = (rps * weight) / 100;
  const n = clean({ max, promoteRisk });
  const head = `At ${figure(weight)} % of ${figure(rps)} rps the release gets ${brief(own)} requests a second`;
  if (n === undefined || !(own > 0))
    return `${head}: it can't be proved that at most ${percent(max)} of them fail. Raise the weight or \`max\`.`;
  const takes = n / own;
  // Half: a healthy release has errors too, and each of them costs more requests.
  const room = maxDuration / 2;
  if (takes <= room) return undefined;
  const raised = Math.ceil((100 * n) / (rps * room));
  const looser = loosened(own * room, promoteRisk);
  const ways = [
    raised <= 100 && `the weight to ${figure(raised)} %`,
    looser <= MAX && `\`max\` to ${percent(looser)}`,
    2 * takes <= DAY && `\`maxDuration\` to ${span(upwards(2 * takes))}`,
  ].filter((way) => way !== false);
  const [last, ...others] = ways.toReversed();
  const raise = [others.toReversed().join(", "), last].filter(Boolean).join(" or ");
  return (
    `${head}, and it takes ${figure(n)} without an error to be sure that at most ${percent(max)} fail: ` +
    `${span(takes)} at best, of the ${span(maxDuration)} there are. ${raise ? `Raise ${raise}.` : "It is too slow to be judged by its errors."}`
  );
}

/** The least limit that so many requests without an error are enough for, in tenths of a percent. */
function loosened(requests: number, promoteRisk: number): number {
  let permille = 1;
  while (permille < 1000 && !((clean({ max: permille / 1000, promoteRisk }) ?? MOST) <= requests)) permille++;
  return permille / 1000;
}

/** What `span` rounds must be enough. */
function upwards(seconds: number): number {
  const unit = seconds < 120 ? 1 : seconds < 7200 ? 60 : 360;
  return Math.ceil(seconds / unit - 1e-9) * unit;
}

function brief(value: number): string {
  return value >= 0.1 ? figure(value) : String(Number(value.toPrecision(1)));
}

/** Seconds for people, where minutes count: `45 s`, `12 min`, `1.5 h`. */
export function span(seconds: number): string {
  if (seconds < 120) return `${figure(Math.round(seconds))} s`;
  if (seconds < 7200) return `${figure(Math.round(seconds / 60))} min`;
  return `${figure(Math.round(seconds / 360) / 10)} h`;
}
