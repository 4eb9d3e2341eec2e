import { pipeline, Readable, Transform } from "node:stream";
import { z } from "zod";
import { BadConfig } from "../../components/errors";
import { SourceUnreachable } from "../metrics/scrape";
import { SourceMalformed } from "./exposition";
import type { Bounds } from "./json";
import type { Span } from "./periods";
import { retry } from "./retry";

/** Whom to ask. Credentials are found as the AWS CLI finds them: environment, profile, role. */
export interface CloudWatchAccess extends Bounds {
  /** @default the one of AWS_REGION or of the profile */
  region?: string | undefined;
  /** Where its API answers, for a VPC endpoint or a test. @default that of the region */
  endpoint?: string | undefined;
}

/** Points by query: when the period begins, in milliseconds, and the value. */
type Points = Map<string, [at: number, value: number][]>;

/** The package may be missing, so its types are not ours to import. */
interface Sdk {
  CloudWatchClient: new (config: object) => Client;
  GetMetricDataCommand: new (input: object) => object;
}
interface Client {
  send(command: object, options: { abortSignal: AbortSignal }): Promise<unknown>;
  middlewareStack: { add(middleware: Middleware, options: object): void };
}
type Handler = (args: unknown) => Promise<{ response: { body?: unknown } }>;
type Middleware = (next: Handler) => Handler;

const PACKAGE: string = "@aws-sdk/client-cloudwatch";
/** More pages than any question of ours has: then the token goes in a circle. */
const PAGES = 100;

// https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html
const page = z.object({
  NextToken: z.string().optional(),
  Messages: z.array(z.object({ Code: z.string().optional(), Value: z.string().optional() })).optional(),
  MetricDataResults: z.array(
    z.object({
      Id: z.string(),
      StatusCode: z.string().optional(),
      Timestamps: z.array(z.date()).optional(),
      // Those that are no numbers are told apart by who counts them.
      Values: z.array(z.union([z.number(), z.nan(), z.literal([Infinity, -Infinity])])).optional(),
    }),
  ),
});

/** Asks GetMetricData for whole answers; the SDK is loaded with the first question. */
export function metricData(access: CloudWatchAccess): {
  where: string;
  ask(queries: readonly object[], span: Span, signal: AbortSignal): Promise<Points>;
} {
  const { region, endpoint, timeout = 10_000, maxBytes = 4 * 1024 * 1024 } = access;
  const where = endpoint ?? (region ? `https://monitoring.${region}.amazonaws.com` : "CloudWatch");
  let loaded: Promise<{ sdk: Sdk; client: Client }> | undefined;
  const load = async () => {
    const sdk = await library();
    const client = new sdk.CloudWatchClient({ ...(region && { region }), ...(endpoint && { endpoint }) });
    client.middlewareStack.add(bounded(maxBytes, where), {
      step: "deserialize",
      priority: "low",
      name: "sluiceBound",
    });
    return { sdk, client };
  };
  return {
    where,
    ask: (queries, span, signal) =>
      retry(
        async (both) => {
          loaded ??= load();
          const { sdk, client } = await loaded;
          return pages(where, both, (NextToken) =>
            client.send(
              new sdk.GetMetricDataCommand({
                MetricDataQueries: queries,
                StartTime: new Date(span.from),
                EndTime: new Date(span.to),
                ScanBy: "TimestampAscending",
                ...(NextToken && { NextToken }),
              }),
              { abortSignal: both },
            ),
          );
        },
        {
          signal,
          deadlineMs: timeout,
          // What the network and the service do wrong the SDK tries again by itself.
          transient: (thrown) => thrown instanceof Incomplete,
          late: (milliseconds) => SourceUnreachable(where, `no answer within ${milliseconds} ms`),
        },
      ).catch((thrown: unknown) => {
        throw thrown instanceof Incomplete ? SourceUnreachable(where, thrown.message) : thrown;
      }),
  };
}

/** An answer of which a part is still missing. */
class Incomplete extends Error {}

async function library(): Promise<Sdk> {
  try {
    return (await import(PACKAGE)) as Sdk;
  } catch (thrown) {
    const code = (thrown as NodeJS.ErrnoException).code;
    if (code !== "ERR_MODULE_NOT_FOUND" && code !== "MODULE_NOT_FOUND") throw thrown;
    throw BadConfig("cloudwatch", `it needs the AWS SDK: run \`npm install ${PACKAGE}\`.`);
  }
}

async function pages(
  where: string,
  signal: AbortSignal,
  send: (token: string | undefined) => Promise<unknown>,
): Promise<Points> {
  const points: Points = new Map();
  const states = new Map<string, string | undefined>();
  let token: string | undefined;
  for (let turn = 0; turn < PAGES; turn++) {
    const answer = await send(token).catch((thrown: unknown) => {
      signal.throwIfAborted();
      throw named(thrown, where);
    });
    const found = page.safeParse(answer);
    if (!found.success) throw SourceMalformed(where, "it is no answer of GetMetricData");
    for (const { Id, StatusCode, Timestamps = [], Values = [] } of found.data.MetricDataResults) {
      if (Timestamps.length !== Values.length)
        throw SourceMalformed(where, `it has ${Timestamps.length} times for ${Values.length} values`);
      const own = points.get(Id) ?? [];
      own.push(...Timestamps.map((at, i): [number, number] => [at.getTime(), Values[i]!]));
      points.set(Id, own);
      // A later page says how it is now.
      states.set(Id, StatusCode);
    }
    token = found.data.NextToken;
    if (token) continue;
    for (const state of states.values())
      if (state === "Forbidden")
        throw SourceUnreachable(
          where,
          "it forbids a metric; look at the permission cloudwatch:GetMetricData",
        );
      // Part of the data is missing, and nobody knows which: a sum of it is no count.
      else if (state !== "Complete") throw new Incomplete(`its answer is not whole: ${state ?? "no status"}`);
    return points;
  }
  throw SourceMalformed(where, `it has more than ${PAGES} pages`);
}

/** Nobody can answer these, today or tomorrow. */
const WRONG =
  /^(Validation|InvalidParameter|MissingRequiredParameter|MissingParameter|InvalidFormat|CredentialsProvider)/;
/** These are about who asks. */
const DENIED = /AccessDenied|UnrecognizedClient|InvalidClientTokenId|ExpiredToken|Signature|AuthFailure/;

/** The SDK's errors in our words. */
function named(thrown: unknown, where: string): Error {
  if (SourceMalformed.is(thrown)) return thrown;
  if (!(thrown instanceof Error)) return SourceUnreachable(where, String(thrown));
  const { name, message } = thrown;
  const status = (thrown as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
  const text = message.slice(0, 300);
  if (WRONG.test(name) || /Region is missing/i.test(message)) return BadConfig("cloudwatch", text);
  if (status !== undefined && status >= 300 && status < 400)
    return SourceUnreachable(where, `it answered ${status}, and no redirect is followed`);
  // With a code it is the connection's, also where the SDK was reading.
  const parsing = /Deserialization error/i.test(message) && !("code" in thrown);
  if (parsing || thrown instanceof SyntaxError)
    return status === undefined || status < 300
      ? SourceMalformed(where, "it is no answer of the CloudWatch API")
      : SourceUnreachable(where, `it answered ${status}`);
  const hint = DENIED.test(name) || status === 403 ? "; look at the AWS credentials" : "";
  return SourceUnreachable(where, `${status ? `it answered ${status} ` : ""}${name}: ${text}${hint}`);
}

/** Ends an answer that grows too large while it is being read. */
function bounded(maxBytes: number, where: string): Middleware {
  return (next) => async (args) => {
    const result = await next(args);
    const { response } = result;
    if (!(response.body instanceof Readable)) return result;
    let size = 0;
    const counted = new Transform({
      transform(chunk: Buffer, _, done) {
        size += chunk.length;
        if (size > maxBytes) done(SourceMalformed(where, `it is larger than ${maxBytes} bytes`));
        else done(null, chunk);
      },
    });
    // Who reads it is told of an error, and so is the connection.
    pipeline(response.body, counted, () => undefined);
    response.body = counted;
    return result;
  };
}
