import { type IncomingMessage, get as overHttp } from "node:http";
import { get as overHttps } from "node:https";
import { setTimeout as pause } from "node:timers/promises";
import { BadConfig, error } from "../../components/errors";
import type { Client } from "../../components/local/client";
import { sameEdges } from "../analysis/counts";
import type { Counts, Reading, Slot } from "../core/model";
import type { Context, MetricSource, Subject } from "../core/ports";
import { number, parse, type Sample, SourceMalformed } from "../wire/exposition";

export const SourceUnreachable = error("source-unreachable", {
  message: (where: string, why: string) => `The metrics at ${where} can't be read: ${why}.`,
  hint: (where: string) =>
    where.startsWith("http")
      ? `No verdict was made of it. Look whether it answers: \`curl ${where}\`.`
      : "No verdict was made of it. Run `npm run doctor` to see whether it runs.",
});

export interface ScrapeOptions {
  /** Where the metrics are. @default what the local platform's supervisor says */
  url?: string | ((subject: Subject) => Promise<string>) | undefined;
  /** Counter of requests with the labels `service`, `slot`, `code`. @default "sluice_requests_total" */
  requests?: string | undefined;
  /** Histogram of seconds with the labels `service`, `slot`, `le`. @default "sluice_request_duration_seconds" */
  duration?: string | undefined;
  /** Value of the label `service`. @default the name the platform knows the service by */
  service?: ((subject: Subject) => string) | undefined;
  /** Milliseconds an answer may take. @default 3000 */
  timeout?: number | undefined;
  /** Largest answer in bytes. @default 4 MiB */
  maxBytes?: number | undefined;
}

/** Seconds: the longest wait for an error, and the longest past that the supervisor can be asked for. */
const [STIR_SECONDS, PAST_SECONDS] = [25, 3600];

/**
 * Reads a `/metrics` page itself, with no Prometheus between: counters per slot, codes 5xx as errors. Where the page is
 * the local platform's, its supervisor knows the past as well, and tells of each error at once.
 */
export function scrape(options: ScrapeOptions = {}): MetricSource {
  const {
    url = ask,
    requests = "sluice_requests_total",
    duration = "sluice_request_duration_seconds",
  } = options;
  const limits = { timeout: options.timeout ?? 3000, maxBytes: options.maxBytes ?? 4 * 1024 * 1024 };
  const wanted = new Set([requests, `${duration}_bucket`, `${duration}_count`]);
  const nameOf = options.service ?? ((subject) => subject.handle?.local?.name ?? subject.target);

  async function page(subject: Subject, ctx: Context): Promise<{ where: string; samples: Sample[] }> {
    const address = webAddress(typeof url === "string" ? url : await url(subject, ctx));
    const where = `${address.origin}${address.pathname}`;
    const text = await fetchText(address, where, limits, ctx.signal);
    return { where, samples: parse(text, where, (name) => wanted.has(name)) };
  }

  return {
    id: "scrape",
    async ping(subject, ctx) {
      await page(subject, ctx);
    },
    async read(subject, ctx) {
      const at = ctx.now();
      const { where, samples } = await page(subject, ctx);
      const service = nameOf(subject);
      const mine = samples.filter((sample) => sample.labels.service === service);
      return reading(at, mine, { requests, duration, where });
    },
    ...(options.url === undefined && pushed(nameOf)),
  };
}

/** What the local platform's supervisor offers beside its page. */
function pushed(nameOf: (subject: Subject) => string): Pick<MetricSource, "history" | "stir"> {
  return {
    async history(subject, { from, to }, ctx) {
      const seconds = Math.min(PAST_SECONDS, Math.ceil((ctx.now() - from) / 1000));
      if (seconds <= 0 || to < from) return [];
      const all = await supervised(subject, ctx.signal, async (client) => {
        const name = nameOf(subject);
        return (await client.service(name)) ? client.history(name, seconds) : [];
      });
      return all.filter(({ at }) => at >= from && at <= to);
    },
    async stir(subject, last, ctx) {
      const { slot } = subject;
      if (!slot) return void (await pause(STIR_SECONDS * 1000, undefined, { signal: ctx.signal }));
      const after = last.slots[slot]?.errors ?? 0;
      // Of its own: many targets wait under one signal, and each request would listen to that.
      const own = AbortSignal.any([ctx.signal]);
      await supervised(subject, ctx.signal, (client) =>
        client.errors(nameOf(subject), slot, after, STIR_SECONDS, own),
      );
    },
  };
}

interface Names {
  requests: string;
  duration: string;
  where: string;
}

function reading(at: number, samples: Sample[], names: Names): Reading | undefined {
  const slots: Partial<Record<Slot, Counts>> = {};
  let edges: number[] | undefined;
  const histograms = new Map<Slot, Histogram>();
  let mixed = false;
  for (const slot of ["blue", "green"] as const) {
    const own = samples.filter((sample) => sample.labels.slot === slot);
    const made = histogram(own, names);
    if (!made) continue;
    mixed ||= edges !== undefined && !sameEdges(edges, made.edges);
    edges = made.edges;
    histograms.set(slot, made);
  }
  // A release may measure with other buckets than the one before it: nothing to compare, and the counts stand.
  if (mixed) {
    edges = undefined;
    histograms.clear();
  }
  for (const slot of ["blue", "green"] as const) {
    const own = samples.filter((sample) => sample.labels.slot === slot && sample.name === names.requests);
    if (own.length === 0) continue;
    let requests = 0;
    let errors = 0;
    for (const sample of own) {
      const value = count(sample, names);
      const code = sample.labels.code;
      if (!code)
        throw SourceMalformed(names.where, `${names.requests} has no label code, so errors can't be told`);
      requests += value;
      if (code.startsWith("5")) errors += value;
    }
    const none = new Array<number>((edges?.length ?? 0) + 1).fill(0);
    slots[slot] = { requests, errors, buckets: histograms.get(slot)?.buckets ?? none };
  }
  if (Object.keys(slots).length === 0) return undefined;
  return { at, edges: edges ?? [], slots };
}

interface Histogram {
  edges: number[];
  buckets: number[];
}

/** Sums a slot's series by edge and takes the cumulative counts apart. */
function histogram(samples: Sample[], names: Names): Histogram | undefined {
  const byEdge = new Map<number, number>();
  let counted: number | undefined;
  for (const sample of samples) {
    if (sample.name === `${names.duration}_count`) counted = (counted ?? 0) + count(sample, names);
    if (sample.name !== `${names.duration}_bucket`) continue;
    const edge = number(sample.labels.le ?? "");
    if (edge === undefined || Number.isNaN(edge))
      throw SourceMalformed(names.where, `${sample.name} has no number as its label le`);
    byEdge.set(edge, (byEdge.get(edge) ?? 0) + count(sample, names));
  }
  if (byEdge.size === 0 && counted === undefined) return undefined;
  const all = [...byEdge].sort(([a], [b]) => a - b);
  const last = all.at(-1);
  if (!last || last[0] !== Number.POSITIVE_INFINITY || counted !== last[1])
    throw SourceMalformed(names.where, `the histogram ${names.duration} is not complete`);
  const buckets = all.map(([, value], i) => value - (all[i - 1]?.[1] ?? 0));
  if (buckets.some((value) => value < 0))
    throw SourceMalformed(names.where, `the buckets of ${names.duration} don't grow`);
  return { edges: all.slice(0, -1).map(([edge]) => edge), buckets };
}

function count(sample: Sample, names: Names): number {
  if (Number.isFinite(sample.value) && sample.value >= 0) return sample.value;
  throw SourceMalformed(names.where, `${sample.name} has the value ${sample.value}`);
}

function webAddress(text: string): URL {
  const address = URL.canParse(text) ? new URL(text) : undefined;
  if (address?.protocol === "http:" || address?.protocol === "https:") return address;
  throw BadConfig("scrape url", "it is no http or https address.");
}

async function fetchText(
  address: URL,
  where: string,
  limits: { timeout: number; maxBytes: number },
  signal: AbortSignal,
): Promise<string> {
  signal.throwIfAborted();
  // Over the whole exchange: a server that sends a byte a second hangs too.
  const deadline = AbortSignal.timeout(limits.timeout);
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = address.protocol === "https:" ? overHttps : overHttp;
      request(
        address,
        {
          agent: false,
          signal: AbortSignal.any([signal, deadline]),
          headers: { accept: "text/plain; version=0.0.4" },
        },
        resolve,
      ).on("error", reject);
    });
    if (response.statusCode !== 200) {
      response.destroy();
      throw SourceUnreachable(where, `it answered ${response.statusCode}`);
    }
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > limits.maxBytes) throw SourceMalformed(where, `it is larger than ${limits.maxBytes} bytes`);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString("utf8");
  } catch (thrown) {
    signal.throwIfAborted();
    if (SourceUnreachable.is(thrown) || SourceMalformed.is(thrown)) throw thrown;
    if (deadline.aborted) throw SourceUnreachable(where, `no answer within ${limits.timeout} ms`);
    throw SourceUnreachable(where, thrown instanceof Error ? thrown.message : String(thrown));
  }
}

/** Asks the supervisor of the local platform where its metrics are. */
async function ask(subject: Subject, ctx: Context): Promise<string> {
  return supervised(subject, ctx.signal, async (client) => (await client.info()).metrics);
}

/** Asks the supervisor that runs the subject. */
async function supervised<T>(
  subject: Subject,
  signal: AbortSignal,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const directory = subject.handle?.local?.directory;
  if (!directory)
    throw BadConfig(
      "scrape url",
      `${subject.target} is not on the local platform, so the address must be given.`,
    );
  const { connect } = await import("../../components/local/client.js");
  signal.throwIfAborted();
  try {
    // A supervisor that is not there is started by who steers it: a reader changes nothing.
    const client = await connect(directory, { start: false });
    try {
      return await work(client);
    } finally {
      client.close();
    }
  } catch (thrown) {
    signal.throwIfAborted();
    throw SourceUnreachable("the supervisor", thrown instanceof Error ? thrown.message : String(thrown));
  }
}
