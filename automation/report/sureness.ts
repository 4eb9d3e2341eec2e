import { odds } from "../analysis/verdict";
import { percent } from "../analysis/words";
import type { Report } from "./schema";

type Finding = NonNullable<Report["steps"][number]["verdict"]>["findings"][number];

/** How sure a judge was, in a few words each; nothing where it follows a rule of thumb. */
export function sureness({ evidence }: Finding): string[] {
  if (!evidence) return [];
  const { against, for: favour, p, intervals = {} } = evidence;
  return [
    `against it ${odds(against)}`,
    `for it ${odds(favour)}`,
    `p ${Number(p.toPrecision(2))}`,
    ...Object.entries(intervals).map(
      ([name, [low, high]]) => `${name} ${percent(low)} to ${percent(high)} (95 %)`,
    ),
  ];
}
