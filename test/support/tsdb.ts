import assert from "node:assert/strict";
import type { IncomingMessage, RequestListener } from "node:http";

type Labels = Record<string, string>;
/** A native histogram in the form of the HTTP API. */
export interface Native {
  count: string;
  sum: string;
  buckets?: [number, string, string, string][];
}
/** What was scraped: text as Prometheus writes numbers, a histogram, or null where the series ended. */
type Sample = readonly [seconds: number, value: string | Native | null];
export interface Stored {
  labels: Labels;
  samples: readonly Sample[];
}

interface Element {
  labels: Labels;
  value: string | Native;
}

/** Seconds: https://prometheus.io/docs/prometheus/latest/querying/basics/#staleness */
const LOOKBACK = 300;
const MOST = 11_000;

/**
 * Answers queries over samples as Prometheus does, of its language what can be asked of plain counters: selections,
 * `timestamp`, `label_replace` with constants, and `or`. Written from
 * https://prometheus.io/docs/prometheus/latest/querying/ (api, functions, operators); the real one is in test/e2e.
 */
export function tsdb(
  stored: readonly Stored[],
  asked: { path: string; form: URLSearchParams }[] = [],
): RequestListener {
  return async (request, response) => {
    const form = new URLSearchParams(await bodyOf(request));
    const path = request.url ?? "";
    asked.push({ path, form });
    const send = (status: number, body: unknown) =>
      void response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    const refuse = (error: string) => send(400, { status: "error", errorType: "bad_data", error });
    const query = form.get("query") ?? "";
    if (path === "/api/v1/query") {
      const at = Number(form.get("time") ?? Date.now() / 1000);
      const result = evaluate(stored, query, at).map((element) => instantly(element, at));
      return send(200, { status: "success", data: { resultType: "vector", result } });
    }
    if (path !== "/api/v1/query_range") return send(404, "404 page not found");
    const [start, end, step] = ["start", "end", "step"].map((name) => Number(form.get(name) ?? Number.NaN));
    if (!(end! >= start!)) return refuse("end timestamp must not be before start time");
    if (!(step! > 0)) return refuse("zero or negative query resolution step widths are not accepted");
    if ((end! - start!) / step! > MOST)
      return refuse("exceeded maximum resolution of 11,000 points per timeseries");
    const rows = new Map<string, { metric: Labels; values: unknown[]; histograms: unknown[] }>();
    for (let k = 0; start! + k * step! <= end! + 1e-9; k++) {
      const at = start! + k * step!;
      for (const { labels, value } of evaluate(stored, query, at)) {
        const key = JSON.stringify(Object.entries(labels).sort());
        const row = rows.get(key) ?? { metric: labels, values: [], histograms: [] };
        rows.set(key, row);
        (typeof value === "string" ? row.values : row.histograms).push([at, value]);
      }
    }
    const result = [...rows.values()].map(({ metric, values, histograms }) => ({
      metric,
      ...(values.length > 0 && { values }),
      ...(histograms.length > 0 && { histograms }),
    }));
    return send(200, { status: "success", data: { resultType: "matrix", result } });
  };
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let body = "";
  for await (const chunk of request) body += chunk;
  return body;
}

function instantly({ labels, value }: Element, at: number) {
  return typeof value === "string"
    ? { metric: labels, value: [at, value] }
    : { metric: labels, histogram: [at, value] };
}

function evaluate(stored: readonly Stored[], query: string, at: number): Element[] {
  const text = query.replace(/#[^\n]*/g, "");
  let next = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    const sticky = new RegExp(`\\s*(?:${pattern.source})`, "y");
    sticky.lastIndex = next;
    const found = sticky.exec(text);
    if (found) next = sticky.lastIndex;
    return found;
  };
  const need = (pattern: RegExp) => {
    const found = take(pattern);
    assert.ok(found, `${pattern} expected at ${text.slice(next, next + 40)}`);
    return found;
  };
  const term = (): Element[] => {
    if (take(/timestamp\(/)) {
      const selector = need(SELECTOR);
      need(/\)/);
      return select(stored, selector, at).map(({ labels, time }) => ({
        labels: nameless(labels),
        value: String(time),
      }));
    }
    if (take(/\(/)) {
      const inner = either();
      need(/\)/);
      return inner;
    }
    if (!take(/label_replace\(/)) return select(stored, need(SELECTOR), at);
    const inner = term();
    const [label, value, source, pattern] = [1, 2, 3, 4].map(() =>
      JSON.parse(need(/,\s*("(?:[^"\\]|\\.)*")/)[1]!),
    );
    need(/\)/);
    assert.deepEqual([source, pattern], ["", ""]);
    return inner.map((element) => ({ ...element, labels: { ...element.labels, [label]: value } }));
  };
  const either = (): Element[] => {
    const all = term();
    while (take(/or\b/)) {
      // Of what has the same labels, the name left out, the left side stands.
      const there = new Set(all.map(({ labels }) => keyOf(labels)));
      all.push(...term().filter(({ labels }) => !there.has(keyOf(labels))));
    }
    return all;
  };
  const all = either();
  assert.match(text.slice(next), /^\s*$/);
  return all;
}

const SELECTOR = /(\w+)\{((?:[^{}"]|"(?:[^"\\]|\\.)*")*)\}/;

function select(stored: readonly Stored[], [, name, inside]: RegExpExecArray, at: number) {
  const matchers = [...inside!.matchAll(/(\w+)\s*(=~|=|!=)\s*("(?:[^"\\]|\\.)*")/g)];
  return stored.flatMap(({ labels, samples }) => {
    const fits = matchers.every(([, label, operator, quoted]) => {
      const value = labels[label!] ?? "";
      const wanted = JSON.parse(quoted!) as string;
      if (operator === "=~") return new RegExp(`^(?:${wanted})$`).test(value);
      return (value === wanted) === (operator === "=");
    });
    const last = samples.filter(([time]) => time <= at && time > at - LOOKBACK).at(-1);
    if (labels.__name__ !== name || !fits || last === undefined || last[1] === null) return [];
    return [{ labels, value: last[1], time: last[0] }];
  });
}

function nameless({ __name__, ...labels }: Labels): Labels {
  return labels;
}

function keyOf(labels: Labels): string {
  return JSON.stringify(Object.entries(nameless(labels)).sort());
}
