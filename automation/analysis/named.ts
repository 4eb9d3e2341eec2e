import { BadConfig } from "../../components/errors";
import type { Judge } from "../core/ports";
import { errorRate } from "./errors";
import { latency } from "./latency";
import { thresholdRange } from "./range";
import { threshold } from "./threshold";
import { type Duration, type Share, share } from "./units";
import { mannWhitney } from "./whitney";

/** Whose rules can be asked what they say: ours, and those of Flagger, Argo Rollouts and Kayenta. */
export const NAMES = ["sluice", "flagger", "argo", "kayenta"] as const;
export type Name = (typeof NAMES)[number];

/** What each of them shall hold a release to. */
export interface Limits {
  /** Share of requests that may fail. */
  max: Share;
  /** Times the baseline's share; only ours compares so. @default 1.5 */
  worseThan?: number | undefined;
  /** Limit of the P99. @default latencies are not judged */
  p99?: Duration | undefined;
}

/** The judges of that name, with their own defaults: five checks of a minute, none too many, or 15 points. */
export function named(name: Name, { max, worseThan = 1.5, p99 }: Limits): Judge[] {
  switch (name) {
    case "sluice":
      return made(errorRate({ max, worseThan }), p99 && latency({ max: p99 }));
    case "flagger": {
      const min = 1 - share("max", max);
      return made(thresholdRange({ of: "success", min }), p99 && thresholdRange({ of: "p99", max: p99 }));
    }
    case "argo":
      return made(threshold({ of: "errors", max }), p99 && threshold({ of: "p99", max: p99 }));
    case "kayenta":
      return made(mannWhitney({ of: "errors" }), p99 && mannWhitney({ of: "p99" }));
    default:
      name satisfies never;
      throw BadConfig("judge", `${JSON.stringify(name)} is none of ${NAMES.join(", ")}.`);
  }
}

function made(...judges: (Judge | "" | undefined)[]): Judge[] {
  return judges.filter((judge) => judge !== undefined && judge !== "");
}
