import { command as commandCheck } from "../../automation/checks/command";
import { health, smoke } from "../../automation/checks/http";
import type { Context } from "../../automation/core/ports";
import { approval } from "../../automation/gates/approval";
import { command as commandGate } from "../../automation/gates/command";
import { cloudwatch, cloudwatchQueries } from "../../automation/metrics/cloudwatch";
import { datadog } from "../../automation/metrics/datadog";
import { cloudMonitoring } from "../../automation/metrics/monitoring";
import { prometheus } from "../../automation/metrics/prometheus";
import { scrape } from "../../automation/metrics/scrape";
import { slack } from "../../automation/notify/slack";
import { task } from "../../automation/tasks/command";
import { load } from "../../automation/traffic/load";
import { planned } from "./events";
import { subject } from "./world";

/** The folders of which each file is one plugin. */
export const FOLDERS = ["metrics", "gates", "tasks", "notify", "checks", "traffic"] as const;

/** One plugin in the contract that all of them keep. */
export interface Row {
  folder: (typeof FOLDERS)[number];
  /** File name without its ending. */
  file: string;
  id: string;
  /**
   * Uses it once, in a world where nothing ever answers: `silent` is a server, `sleep` a command. Missing where it
   * asks nobody outside.
   */
  use?(world: { silent: string; sleep: readonly string[] }, ctx: Context): Promise<unknown>;
}

const WEBHOOK = "SLUICE_TEST_WEBHOOK";
const KEY = { env: "SLUICE_TEST_KEY" };

/** With these in the environment. */
async function among<T>(values: Readonly<Record<string, string>>, use: () => Promise<T>): Promise<T> {
  Object.assign(process.env, values);
  try {
    return await use();
  } finally {
    for (const name of Object.keys(values)) delete process.env[name];
  }
}

const alb = cloudwatchQueries.alb({ loadBalancer: "app/shop/1", targetGroups: { blue: "b", green: "g" } });

export const ROWS: readonly Row[] = [
  {
    folder: "metrics",
    file: "scrape",
    id: scrape().id,
    use: ({ silent }, ctx) => scrape({ url: silent, timeout: 60_000 }).read(subject(), ctx),
  },
  { folder: "gates", file: "approval", id: approval().id },
  {
    folder: "metrics",
    file: "prometheus",
    id: prometheus({ url: "http://127.0.0.1" }).id,
    use: ({ silent }, ctx) => prometheus({ url: silent, timeout: 60_000 }).read(subject(), ctx),
  },
  {
    folder: "metrics",
    file: "cloudwatch",
    id: cloudwatch({ queries: alb }).id,
    use: ({ silent }, ctx) =>
      among({ AWS_ACCESS_KEY_ID: "a", AWS_SECRET_ACCESS_KEY: "s" }, () =>
        cloudwatch({ endpoint: silent, region: "eu-central-1", timeout: 60_000, queries: alb }).read(
          subject(),
          ctx,
        ),
      ),
  },
  {
    folder: "metrics",
    file: "monitoring",
    id: cloudMonitoring({ project: "p" }).id,
    use: ({ silent }, ctx) =>
      among({ [KEY.env]: "token" }, () =>
        cloudMonitoring({ project: "p", url: silent, token: KEY, timeout: 60_000 }).read(subject(), ctx),
      ),
  },
  {
    folder: "metrics",
    file: "datadog",
    id: datadog({ apiKey: KEY, appKey: KEY }).id,
    use: ({ silent }, ctx) =>
      among({ [KEY.env]: "key" }, () => {
        const queries = { requests: "sum:hits{slot:{{slot}}}", errors: "sum:errors{slot:{{slot}}}" };
        const own = { apiKey: KEY, appKey: KEY, queries, url: silent, timeout: 60_000 };
        return datadog(own).read(subject(), ctx);
      }),
  },
  {
    folder: "gates",
    file: "command",
    id: commandGate({ id: "g", run: [] }).id,
    use: ({ sleep }, ctx) => commandGate({ id: "g", run: sleep }).ask(subject(), ctx),
  },
  {
    folder: "tasks",
    file: "command",
    id: task({ id: "t", run: [] }).id,
    use: ({ sleep }, ctx) => task({ id: "t", run: sleep, retries: 3 }).run(subject(), ctx),
  },
  {
    folder: "checks",
    file: "command",
    id: commandCheck({ id: "c", run: [] }).id,
    use: ({ sleep }, ctx) => commandCheck({ id: "c", run: sleep }).run(subject(), ctx),
  },
  {
    folder: "checks",
    file: "http",
    id: health().id,
    use: ({ silent }, ctx) => health({ timeout: "1m" }).run(subject({ url: silent }), ctx),
  },
  {
    folder: "checks",
    file: "http",
    id: smoke({ path: "/" }).id,
    use: ({ silent }, ctx) => smoke({ path: "/", timeout: "1m" }).run(subject({ url: silent }), ctx),
  },
  {
    folder: "traffic",
    file: "load",
    id: load({ rps: 1 }).id,
    async use({ silent }, ctx) {
      const stop = await load({ rps: 100 }).start(silent, ctx);
      await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
      await stop();
      throw ctx.signal.reason;
    },
  },
  {
    folder: "notify",
    file: "slack",
    id: slack({ webhook: { env: WEBHOOK } }).id,
    async use({ silent }, ctx) {
      process.env[WEBHOOK] = silent;
      try {
        await slack({ webhook: { env: WEBHOOK } }).notify(...planned(), ctx);
      } finally {
        delete process.env[WEBHOOK];
      }
    },
  },
];
