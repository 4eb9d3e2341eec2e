import { BadConfig } from "../../components/errors";
import type { Judge } from "../core/ports";
import { limit, looks } from "./scalar";
import { measuring, type ThresholdState, type Timing } from "./threshold";

export interface MetricOptions {
  /** In the language of the source: PromQL for `prometheus()`. */
  query: string;
  /** What reports and journals call it. @default the query */
  name?: string | undefined;
  /** @default no upper limit */
  max?: number | undefined;
  /** @default no lower limit */
  min?: number | undefined;
  /** Between two measurements. @default "30s" */
  interval?: Timing["interval"];
  /** Measurements out of bounds that are put up with, over the whole rollout. @default 2 */
  failureLimit?: number | undefined;
  /** Measurements that it takes to pass. @default 3 */
  count?: number | undefined;
}

/**
 * Judges anything that a source can say in one number: a queue's length, a cache's hit rate, orders a minute. More than
 * `failureLimit` measurements out of bounds fail; it passes with `count` measurements, the last of them within bounds, and
 * goes on measuring as long as the rollout goes on. No data is neither good nor bad: it waits, and after five measurements
 * without any it is the verdict `error`, which never rolls back.
 */
export function metric(options: MetricOptions): Judge<ThresholdState> {
  const of = looks("metric query", { query: options.query });
  const { name = of.query, count = 3 } = options;
  const read = (where: "min" | "max") =>
    options[where] === undefined ? undefined : limit(`metric ${where}`, of, options[where]);
  const [min, max] = [read("min"), read("max")];
  if (min === undefined && max === undefined)
    throw BadConfig("metric max", "without `max` or `min` there is nothing to judge by.");
  if (min !== undefined && max !== undefined && min > max)
    throw BadConfig("metric max", `${max} is less than the min of ${min}.`);
  return measuring({
    id: `metric-${name}`,
    where: "metric",
    of,
    min,
    max,
    timing: { ...options, count },
    interval: "30s",
    failureLimit: 2,
    ends: false,
  });
}
