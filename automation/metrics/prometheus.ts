import { BadConfig } from "../../components/errors";
import type { Reading, Slot } from "../core/model";
import type { Context, MetricSource, Subject } from "../core/ports";
import { type Access, checkHeaders, type Server } from "../wire/exchange";
import { number, SourceMalformed } from "../wire/exposition";
import { webAddress } from "../wire/json";
import { apart } from "../wire/placeholders";
import { AHEAD, checkSeries, PART, type Reader, readingOf, type Series } from "../wire/points";
import { type Template, template } from "../wire/promql";
import { type Queries, queries } from "../wire/queries";
import { type Ledger, ledger } from "../wire/series";
import { type Instantly, instant, range } from "../wire/vector";

export { queries };

/** Where to ask, what, and with which credentials. */
export interface PrometheusOptions extends Access {
  /** Where Prometheus answers, with its path prefix if it has one: `https://prometheus.example.org`. */
  url: string;
  /** @default queries.sluice */
  queries?: Queries | undefined;
  /** Label that names the slot, `blue` or `green`. @default "slot" */
  slotLabel?: string | undefined;
}

const NAMES = ["service", "environment", "target", "name", "slot", "version"];
const SLOTS: readonly Slot[] = ["blue", "green"];
/** Milliseconds between the readings of a history, and steps asked for at once: Prometheus gives 11,000 at most. */
const STEP = 15_000;
const STEPS = 240;

/** Part of the whole query: what it counts, one of its selections, and the label that tells it from the others. */
interface Part {
  part: "requests" | "errors" | "latency";
  made: Template;
  which: string;
}

/** Asks a Prometheus, or what speaks its HTTP API, for the counters of both slots. */
export function prometheus(options: PrometheusOptions): MetricSource {
  const base = webAddress(options.url, "prometheus url", "give secrets by `bearer`, `basic` or `headers`");
  const where = `${base.origin}${base.pathname}`;
  checkHeaders(options.headers);
  const server: Server = { base, where, access: options };
  const wanted: Queries = options.queries ?? queries.sluice;
  const parts = partsOf(wanted);
  const reader = (ctx: Context): Reader => ({
    where,
    slotLabel: options.slotLabel ?? "slot",
    scale: wanted.unit === "ms" ? 1000 : 1,
    now: ctx.now(),
  });
  // One query: what it answers was there at one moment, while of three the last may see a newer scrape.
  const whole = (subject: Subject) => parts.flatMap((part) => combined(part, subject)).join("\nor\n");
  const ledgers = new Map<string, Ledger>();
  const own = new Map<string, Template>();

  return {
    id: "prometheus",
    async ping(subject, ctx) {
      for (const { part, made } of parts) {
        const text = expressions(made, subject).map(([, query]) => query);
        const found = (await Promise.all(text.map((query) => vectorOf(server, query, ctx)))).flat();
        for (const series of found) checkSeries(series, where);
        ctx.log(`${where}: ${found.length || "no"} series for ${part}: ${text.join("  ")}`);
      }
    },
    async read(subject, ctx) {
      const found = await vectorOf(server, whole(subject), ctx);
      const key = JSON.stringify([subject.target, subject.service, subject.environment]);
      const account = ledgers.get(key) ?? ledger();
      ledgers.set(key, account);
      return readingOf(found, account, reader(ctx));
    },
    async history(subject, { from, to }, ctx) {
      const query = whole(subject);
      const account = ledger();
      const readings: Reading[] = [];
      for (let begin = from; begin <= to; begin += STEPS * STEP) {
        const end = Math.min(to, begin + (STEPS - 1) * STEP);
        for (const found of await range(server, query, { from: begin, to: end, step: STEP }, ctx.signal)) {
          const reading = readingOf(found, account, reader(ctx));
          // With a scrape interval longer than the step, samples come more than once.
          if (reading && reading.at > (readings.at(-1)?.at ?? Number.NEGATIVE_INFINITY))
            readings.push(reading);
        }
      }
      return readings;
    },
    async value(query, subject, ctx) {
      const made = own.get(query) ?? template(query, "metric query", NAMES);
      own.set(query, made);
      const text = made.fill(placeholders(made, subject, subject.slot));
      return scalarOf(await instant(server, text, ctx.signal), text, where, ctx);
    },
  };
}

function partsOf(wanted: Queries): Part[] {
  return (["requests", "errors", "latency"] as const).flatMap((part) => {
    const selections = [wanted[part] ?? []].flat();
    return selections.map((text, i) => ({
      part,
      made: template(text, `prometheus ${part}`, NAMES),
      which: selections.length > 1 ? String(i) : "",
    }));
  });
}

async function vectorOf(server: Server, query: string, ctx: Context): Promise<Series[]> {
  const answer = await instant(server, query, ctx.signal);
  if ("series" in answer) return answer.series;
  throw BadConfig(
    `prometheus at ${server.where}`,
    `the query gives a scalar, not an instant vector: ${query}`,
  );
}

/** The one number of an answer; `undefined` where it has none. */
function scalarOf(answer: Instantly, query: string, where: string, ctx: Context): number | undefined {
  const wrong = (why: string) => BadConfig(`prometheus at ${where}`, `${why}: ${query}`);
  if ("series" in answer && answer.series.length === 0) return undefined;
  if ("series" in answer && answer.series.length > 1)
    throw wrong(
      `the query gives ${answer.series.length} series where one number is wanted; take the sum or max`,
    );
  const sample = "scalar" in answer ? answer.scalar : answer.series[0]?.value;
  if (!sample) throw wrong("the query gives a native histogram where a number is wanted");
  const value = number(sample[1]);
  if (value === undefined || Math.abs(value) === Number.POSITIVE_INFINITY)
    throw SourceMalformed(where, `the query ${query} has the value ${sample[1]}`);
  if (sample[0] * 1000 > ctx.now() + AHEAD)
    throw SourceMalformed(where, "its clock is more than a minute ahead of this machine's");
  if (!Number.isNaN(value)) return value;
  // 0/0 of a rate without requests: nothing is known.
  ctx.log(`${where}: NaN, which is no data: ${query}`);
  return undefined;
}

/** What stands in a template's place. Throws `bad-config` where it uses what is not there. */
function placeholders(made: Template, subject: Subject, slot: Slot | undefined): Record<string, string> {
  const { environment, target, service, handle } = subject;
  const values = { environment, target, service, name: handle?.local?.name ?? target };
  if (made.uses.has("slot") && !slot)
    throw BadConfig("prometheus", "a query uses {{slot}} where no slot is in question.");
  const version = (slot && handle?.slots[slot]?.pin.version) ?? subject.pin.version;
  // Empty, it would match series without the label.
  if (made.uses.has("version") && !version)
    throw BadConfig("prometheus", "a query uses {{version}}, and the release has none.");
  return { ...values, slot: slot ?? "", version: version ?? "" };
}

/** What a template asks for this subject: once, or once per slot. */
function expressions(made: Template, subject: Subject): [Slot | undefined, string][] {
  if (!made.uses.has("slot") && !made.uses.has("version"))
    return [[undefined, made.fill(placeholders(made, subject, undefined))]];
  const asked = SLOTS.flatMap((slot): [Slot, string][] => {
    // A slot that is empty has no version.
    if (made.uses.has("version") && !subject.handle?.slots[slot]?.pin.version) return [];
    return [[slot, made.fill(placeholders(made, subject, slot))]];
  });
  apart(asked, "prometheus queries");
  return asked;
}

/** Each part gets a label that names it; of the requests, the time of each sample comes along. */
function combined({ part, made, which }: Part, subject: Subject): string[] {
  return expressions(made, subject).flatMap(([slot, query]) => {
    const named = (value: string, expression: string) => {
      // A line break before what follows: the query may end in a comment.
      const label = (inner: string, name: string, text: string) =>
        `label_replace(${inner}\n, "${name}", "${text}", "", "")`;
      const labelled = label(expression, PART, value);
      // `or` leaves out what has the same labels under another name.
      const told = which ? label(labelled, `${PART}_of`, which) : labelled;
      return slot ? label(told, `${PART}_slot`, slot) : told;
    };
    // In Prometheus 2.42 label_replace makes zeros of native histograms (seen): what needs no label goes without.
    if (part === "latency" && !which && !slot) return [`(${query}\n)`];
    const own = named(part, query);
    return part === "requests" ? [own, named("time", `timestamp(${query}\n)`)] : [own];
  });
}
