import type { Clock } from "../core/clock";
import type { Instant } from "../core/model";

/**
 * The clock's time, never going backwards: after a jump back it goes on from where it was, and from where the
 * journal was, so that no wait that was written down becomes longer by the jump.
 */
export function steady(clock: Clock, from: Instant): () => Instant {
  let last = clock.now();
  let ahead = Math.max(0, from - last);
  return () => {
    const now = clock.now();
    if (now < last) ahead += last - now;
    last = now;
    return now + ahead;
  };
}
