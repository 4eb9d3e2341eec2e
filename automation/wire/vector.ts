import { z } from "zod";
import { BadConfig } from "../../components/errors";
import { SourceUnreachable } from "../metrics/scrape";
import { failed, poster, type Server } from "./exchange";
import { SourceMalformed } from "./exposition";
import type { Series } from "./points";
import { retry, retryAfter } from "./retry";
import { json, type Reply } from "./transport";

const envelope = z.object({
  status: z.literal("success"),
  data: z.object({ resultType: z.string(), result: z.unknown() }),
  warnings: z.array(z.string()).nullish(),
  // VictoriaMetrics, where some of its storage did not answer.
  isPartial: z.boolean().nullish(),
});
const failure = z.object({ status: z.literal("error"), errorType: z.string(), error: z.string() });

const sample = z.tuple([z.number(), z.string()]);
const bucket = z.tuple([z.number(), z.string(), z.string(), z.string()]);
const native = z.tuple([z.number(), z.object({ count: z.string(), buckets: z.array(bucket).nullish() })]);
const labels = z.record(z.string(), z.string());
const vector = z.array(z.object({ metric: labels, value: sample.optional(), histogram: native.optional() }));
const matrix = z.array(
  z.object({ metric: labels, values: z.array(sample).optional(), histograms: z.array(native).optional() }),
);

/** Answers that another try may better: too many at once, and a server or what is before it that is not ready. */
const PASSING: ReadonlySet<number> = new Set([429, 502, 503, 504]);

/** What a query gives for one moment. */
export type Instantly = { series: Series[] } | { scalar: [at: number, value: string] };

/**
 * Evaluates a query now: https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
 * Throws `source-unreachable`, `source-malformed`, and `bad-config` for a query that nobody can answer.
 */
export async function instant(server: Server, query: string, signal: AbortSignal): Promise<Instantly> {
  const { resultType, result } = await ask(server, "/api/v1/query", { query }, signal);
  if (resultType === "scalar") return { scalar: parsed(sample, result, server) };
  if (resultType === "vector") return { series: parsed(vector, result, server) as Series[] };
  throw BadConfig(
    `prometheus at ${server.where}`,
    `the query gives a ${resultType}, not an instant vector: ${query}`,
  );
}

/**
 * Evaluates a query at each step from `from` to `to`, all in milliseconds; gives the series of each step that has any:
 * https://prometheus.io/docs/prometheus/latest/querying/api/#range-queries. Throws what `instant` throws.
 */
export async function range(
  server: Server,
  query: string,
  { from, to, step }: { from: number; to: number; step: number },
  signal: AbortSignal,
): Promise<Series[][]> {
  const seconds = (milliseconds: number) => (milliseconds / 1000).toFixed(3);
  const form = { query, start: seconds(from), end: seconds(to), step: seconds(step) };
  const { resultType, result } = await ask(server, "/api/v1/query_range", form, signal);
  if (resultType !== "matrix")
    throw SourceMalformed(server.where, `it answers a range query with a ${resultType}`);
  const steps = new Map<number, Series[]>();
  const add = (at: number, series: Series) => {
    const there = steps.get(at);
    if (there) there.push(series);
    else steps.set(at, [series]);
  };
  for (const { metric, values = [], histograms = [] } of parsed(matrix, result, server)) {
    for (const value of values) add(value[0], { metric, value });
    for (const histogram of histograms) add(histogram[0], { metric, histogram } as Series);
  }
  return [...steps].sort(([a], [b]) => a - b).map(([, series]) => series);
}

/** One number of a schema's form, or `source-malformed`. */
function parsed<T>(schema: z.ZodType<T>, result: unknown, { where }: Server): T {
  const { data, success } = schema.safeParse(result);
  if (!success) throw SourceMalformed(where, "its series have no form that is known");
  return data;
}

/** Asks, again where that may help, and all of it within the time-out. */
async function ask(server: Server, path: string, form: Record<string, string>, signal: AbortSignal) {
  const { where, access } = server;
  const { timeout = 5000 } = access;
  signal.throwIfAborted();
  const post = await poster(server, path, { ...form, timeout: `${timeout}ms` });
  const transient = new Map<unknown, boolean | number>();
  return retry(
    async (within) => {
      const reply = await post(within).catch((thrown: unknown) => {
        const { error, passing } = failed(thrown, where);
        transient.set(error, passing);
        throw error;
      });
      try {
        return understood(reply, where, form.query ?? "");
      } catch (thrown) {
        if (PASSING.has(reply.status))
          transient.set(thrown, retryAfter(reply.headers["retry-after"], Date.now()) ?? true);
        throw thrown;
      }
    },
    {
      signal,
      deadlineMs: timeout,
      transient: (thrown) => transient.get(thrown) ?? false,
      late: () => SourceUnreachable(where, `no answer within ${timeout} ms`),
    },
  );
}

function understood({ status, text }: Reply, where: string, query: string) {
  const body = json(text);
  const refused = failure.safeParse(body).data;
  // bad_data and execution: nobody can answer this, today or tomorrow.
  if (refused && (status === 400 || status === 422))
    throw BadConfig(
      `prometheus at ${where}`,
      `it refuses the query ${query}: ${refused.error.slice(0, 500)}`,
    );
  if (status !== 200) {
    const hint =
      status === 401 || status === 403 ? "; look at `bearer`, `basic`, `headers` and `tenant`" : "";
    const said = refused
      ? ` (${refused.error.slice(0, 200)})`
      : status < 400 && status >= 300
        ? ", and no redirect is followed"
        : "";
    throw SourceUnreachable(where, `it answered ${status}${said}${hint}`);
  }
  const answer = envelope.safeParse(body);
  if (!answer.success) throw SourceMalformed(where, "it is no answer of Prometheus's HTTP API");
  const { data, warnings, isPartial } = answer.data;
  // Part of the data is missing, and nobody knows which: a sum of it is no count.
  if (warnings?.length || isPartial)
    throw SourceUnreachable(
      where,
      `its answer is not whole: ${warnings?.[0]?.slice(0, 200) ?? "it is partial"}`,
    );
  return data;
}
