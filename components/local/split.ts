import { randomInt } from "node:crypto";
import type { Slot, Split } from "../handle";

/** Chooses the slot of one request, independently of every other request; undefined where nothing is live. */
export type Chooser = (split: Split) => Slot | undefined;

/** Makes a chooser: the same seed gives the same choices. @default seed random */
export function createChooser(seed: number = randomInt(2 ** 32)): Chooser {
  const random = sfc32(seed);
  return ({ blue, green }) => {
    if (blue <= 0) return green > 0 ? "green" : undefined;
    if (green <= 0) return "blue";
    return random() * (blue + green) < blue * 2 ** 32 ? "blue" : "green";
  };
}

/** sfc32, Chris Doty-Humphrey's Small Fast Counter generator (PractRand 0.95): whole numbers below 2 ** 32. */
function sfc32(seed: number): () => number {
  let a = 0;
  let b = seed >>> 0;
  let c = Math.floor(seed / 2 ** 32) >>> 0;
  let counter = 1;
  const next = (): number => {
    const result = (a + b + counter++) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + result;
    return result >>> 0;
  };
  // Seeds that are close give alike first numbers; the author discards the first 12 to 18.
  for (let i = 0; i < 18; i++) next();
  return next;
}
