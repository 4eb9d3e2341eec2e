// The library: what a pipeline is written with.
export { type AnalysisOptions, analysis } from "./analysis/analysis";
export { type ErrorRateOptions, errorRate } from "./analysis/errors";
export { type LatencyOptions, latency } from "./analysis/latency";
export { type MetricOptions, metric } from "./analysis/metric";
export { type ThresholdRangeOptions, thresholdRange } from "./analysis/range";
export { type ThresholdOptions, threshold } from "./analysis/threshold";
export { mannWhitney, type WhitneyOptions } from "./analysis/whitney";
export { command } from "./checks/command";
export { health, smoke } from "./checks/http";
export type { Act, Pin, Plan, PlanTarget, Strategy } from "./core/model";
export type {
  Analysis,
  Check,
  Context,
  Gate,
  Judge,
  MetricSource,
  Notifier,
  Subject,
  Task,
  Traffic,
} from "./core/ports";
export { blueGreen, canary, rolling } from "./core/strategies";
export { type Pipeline, pipeline } from "./engine/pipeline";
export type { Environment } from "./engine/run";
export { type ApprovalOptions, approval } from "./gates/approval";
export { command as commandGate } from "./gates/command";
export { cloudwatch, cloudwatchQueries } from "./metrics/cloudwatch";
export { datadog, datadogQueries } from "./metrics/datadog";
export { cloudMonitoring, cloudMonitoringQueries } from "./metrics/monitoring";
export { prometheus, queries } from "./metrics/prometheus";
export { scrape } from "./metrics/scrape";
export { slack } from "./notify/slack";
export { task } from "./tasks/command";
export { load } from "./traffic/load";
