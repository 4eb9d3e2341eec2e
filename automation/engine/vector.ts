import { readFileSync } from "node:fs";
import { type IncomingMessage, request as overHttp } from "node:http";
import { request as overHttps, type RequestOptions } from "node:https";
import { z } from "zod";
import { BadConfig } from "../../components/errors";
import { SourceMalformed } from "../analysis/exposition";
import { SourceUnreachable } from "../metrics/scrape";
import { resolveSecret, type SecretRef } from "./secret";

/** One series of an instant vector. */
export interface Series {
  metric: Record<string, string>;
  value?: [number, string] | undefined;
  histogram?: unknown;
}

const vector = z.object({
  status: z.literal("success"),
  data: z.object({
    resultType: z.string(),
    result: z.unknown(),
  }),
  warnings: z.array(z.string()).optional(),
});
const result = z.array(
  z.object({
    metric: z.record(z.string(), z.string()),
    value: z.tuple([z.number(), z.string()]).optional(),
    histogram: z.unknown().optional(),
  }),
);
const failure = z.object({ status: z.literal("error"), errorType: z.string(), error: z.string() });

/** Whom to ask, and how. */
export interface Access {
  /** Token for `Authorization: Bearer`. @default none */
  bearer?: SecretRef | undefined;
  /** User and password. @default none */
  basic?: { user: string; password: SecretRef } | undefined;
  /** Sent as X-Scope-OrgID, for Mimir, Cortex and Thanos with many tenants. @default none */
  tenant?: string | undefined;
  /** Path of a PEM file with the authority that signed the server's certificate. @default those Node trusts */
  ca?: string | undefined;
  /** Milliseconds an answer may take. @default 5000 */
  timeout?: number | undefined;
  /** Largest answer in bytes. @default 4 MiB */
  maxBytes?: number | undefined;
}

/**
 * Evaluates a query now: https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
 * Throws `source-unreachable`, `source-malformed`, and `bad-config` for a query that nobody can answer.
 */
export async function instantVector(
  base: URL,
  where: string,
  query: string,
  options: Access,
  signal: AbortSignal,
): Promise<Series[]> {
  const { status, text } = await exchange(base, where, query, options, signal);
  const body = json(text);
  const failed = failure.safeParse(body).data;
  // bad_data and execution: nobody can answer this, today or tomorrow.
  if (failed && (status === 400 || status === 422))
    throw BadConfig(`prometheus at ${where}`, `it refuses the query ${query}: ${failed.error.slice(0, 500)}`);
  if (status !== 200) {
    const hint = status === 401 || status === 403 ? "; look at `bearer`, `basic` and `tenant`" : "";
    const said = failed
      ? ` (${failed.error.slice(0, 200)})`
      : status < 400 && status >= 300
        ? ", and no redirect is followed"
        : "";
    throw SourceUnreachable(where, `it answered ${status}${said}${hint}`);
  }
  const answer = vector.safeParse(body);
  if (!answer.success) throw SourceMalformed(where, "it is no answer of Prometheus's HTTP API");
  const { data, warnings } = answer.data;
  // Part of the data is missing, and nobody knows which: a sum of it is no count.
  if (warnings?.length)
    throw SourceUnreachable(where, `its answer is not whole: ${warnings[0]?.slice(0, 200)}`);
  if (data.resultType !== "vector")
    throw BadConfig(
      `prometheus at ${where}`,
      `the query gives a ${data.resultType}, not an instant vector: ${query}`,
    );
  const series = result.safeParse(data.result);
  if (!series.success) throw SourceMalformed(where, "its series have no form that is known");
  return series.data;
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function exchange(
  base: URL,
  where: string,
  query: string,
  options: Access,
  signal: AbortSignal,
): Promise<{ status: number; text: string }> {
  signal.throwIfAborted();
  const { timeout = 5000, maxBytes = 4 * 1024 * 1024, tenant, ca } = options;
  const authorization = await credentials(options);
  const body = new URLSearchParams({ query, timeout: `${timeout}ms` }).toString();
  // Over the whole exchange: a server that sends a byte a second hangs too.
  const deadline = AbortSignal.timeout(timeout);
  const how: RequestOptions = {
    method: "POST",
    agent: false,
    signal: AbortSignal.any([signal, deadline]),
    headers: {
      accept: "application/json",
      "content-type": "application/x-www-form-urlencoded",
      "content-length": Buffer.byteLength(body),
      ...(authorization && { authorization }),
      ...(tenant && { "x-scope-orgid": tenant }),
    },
    ...(ca && { ca: certificate(ca) }),
  };
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = base.protocol === "https:" ? overHttps : overHttp;
      const address = new URL(`${base.pathname.replace(/\/$/, "")}/api/v1/query`, base);
      request(address, how, resolve).on("error", reject).end(body);
    });
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > maxBytes) throw SourceMalformed(where, `it is larger than ${maxBytes} bytes`);
      chunks.push(chunk);
    }
    return { status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") };
  } catch (thrown) {
    signal.throwIfAborted();
    if (SourceMalformed.is(thrown)) throw thrown;
    if (deadline.aborted) throw SourceUnreachable(where, `no answer within ${timeout} ms`);
    throw SourceUnreachable(where, thrown instanceof Error ? thrown.message : String(thrown));
  }
}

async function credentials({ bearer, basic }: Access): Promise<string | undefined> {
  if (bearer) return `Bearer ${await resolveSecret(bearer)}`;
  if (!basic) return undefined;
  return `Basic ${Buffer.from(`${basic.user}:${await resolveSecret(basic.password)}`).toString("base64")}`;
}

function certificate(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (thrown) {
    throw BadConfig("prometheus ca", `${file} can't be read: ${(thrown as NodeJS.ErrnoException).code}.`);
  }
}
