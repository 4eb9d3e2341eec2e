import assert from "node:assert/strict";
import type { RequestListener } from "node:http";

/** A series as it is written: what was counted until each moment since the one before. */
export interface Written {
  type: string;
  labels?: Record<string, string>;
  resource: { type: string; labels: Record<string, string> };
  unit?: string;
  points: readonly [end: number, value: number | Distribution][];
}

/** https://cloud.google.com/monitoring/api/ref_v3/rest/v3/TypedValue#Distribution */
export interface Distribution {
  bucketCounts: number[];
  bucketOptions: object;
}

// Parameters of monitoring.projects.timeSeries.list in the discovery document of monitoring v3.
const ONCE = [
  "filter",
  "interval.startTime",
  "interval.endTime",
  "aggregation.alignmentPeriod",
  "aggregation.perSeriesAligner",
  "aggregation.crossSeriesReducer",
  "orderBy",
  "pageSize",
  "pageToken",
  "view",
];
const REPEATED = ["aggregation.groupByFields"];
const ALIGNERS = ["ALIGN_NONE", "ALIGN_DELTA", "ALIGN_RATE", "ALIGN_SUM", "ALIGN_MEAN", "ALIGN_COUNT"];
const REDUCERS = ["REDUCE_NONE", "REDUCE_SUM", "REDUCE_MEAN", "REDUCE_COUNT"];

/** Google Cloud Monitoring v3 with these series; a page has so many points. */
export function fakeMonitoring(token: string, written: readonly Written[], pageSize = 1000): RequestListener {
  return (request, response) => {
    const send = (status: number, body: object) =>
      void response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    const failed = (code: number, status: string, message: string) =>
      send(code, { error: { code, status, message } });
    if (request.headers.authorization !== `Bearer ${token}`)
      return failed(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.");
    try {
      const url = new URL(request.url ?? "", "http://x");
      assert.equal(request.method, "GET");
      assert.match(url.pathname, /^\/v3\/projects\/[^/]+\/timeSeries$/);
      send(200, list(url.searchParams, written, pageSize));
    } catch (thrown) {
      failed(400, "INVALID_ARGUMENT", (thrown as Error).message);
    }
  };
}

function list(given: URLSearchParams, written: readonly Written[], pageSize: number): object {
  for (const name of given.keys()) {
    assert.ok([...ONCE, ...REPEATED].includes(name), `Invalid JSON payload received. Unknown name "${name}"`);
    if (ONCE.includes(name)) assert.equal(given.getAll(name).length, 1, `${name} is repeated`);
  }
  for (const name of ["filter", "interval.endTime", "view"])
    assert.ok(given.get(name), `${name} is required`);
  assert.ok(["FULL", "HEADERS"].includes(given.get("view")!));
  const [start, end] = ["interval.startTime", "interval.endTime"].map((name) => Date.parse(given.get(name)!));
  assert.ok(start! < end!, "The start time must be before the end time.");
  assert.ok(ALIGNERS.includes(given.get("aggregation.perSeriesAligner")!));
  assert.ok(REDUCERS.includes(given.get("aggregation.crossSeriesReducer")!));
  const period = Number(/^(\d+)s$/.exec(given.get("aggregation.alignmentPeriod") ?? "")?.[1]) * 1000;
  assert.ok(period >= 60_000, "The alignment period must be at least 60 seconds.");
  const wants = filter(given.get("filter")!);
  const fields = given.getAll("aggregation.groupByFields");
  const found = reduced(written.filter(wants), fields, start!, end!, period);
  const from = Number(given.get("pageToken") ?? 0);
  const points = found.flatMap(({ points, ...series }) => points.map((point) => ({ ...series, point })));
  const timeSeries: { points: object[] }[] = [];
  for (const { point, ...series } of points.slice(from, from + pageSize)) {
    const last = timeSeries.at(-1);
    const { points: before, ...same } = last ?? { points: [] };
    // A series goes on over the end of a page.
    if (last && JSON.stringify(same) === JSON.stringify(series)) before.push(point);
    else timeSeries.push({ ...series, points: [point] });
  }
  return {
    ...(timeSeries.length > 0 && { timeSeries }),
    ...(from + pageSize < points.length && { nextPageToken: `${from + pageSize}` }),
  };
}

/** https://cloud.google.com/monitoring/api/v3/filters, as far as equality and starts_with go. */
function filter(text: string): (series: Written) => boolean {
  const terms = text
    .replace(/^(metric\.type = "[^"]*" AND )\((.*)\)$/, "$1$2")
    .split(" AND ")
    .map((term) => {
      const [, name = "", , plain, prefix] =
        /^(metric\.type|resource\.type|(?:resource|metric)\.labels\.\w+) = ("((?:[^"\\]|\\.)*)"|starts_with\("((?:[^"\\]|\\.)*)"\))$/.exec(
          term,
        ) ?? [];
      assert.ok(name, `Could not parse filter "${term}"`);
      return { name, plain, prefix };
    });
  assert.equal(terms.filter(({ name }) => name === "metric.type").length, 1, "one metric type");
  return (series) =>
    terms.every(({ name, plain, prefix }) => {
      const value =
        name === "metric.type"
          ? series.type
          : name === "resource.type"
            ? series.resource.type
            : (name.startsWith("resource") ? series.resource.labels : series.labels)?.[name.split(".")[2]!];
      return plain === undefined ? value?.startsWith(prefix!) : value === plain;
    });
}

/** Deltas per period, summed over the series that share the fields; newest first. */
function reduced(series: readonly Written[], fields: string[], start: number, end: number, period: number) {
  const groups = new Map<
    string,
    { one: Written; labels: Record<string, string>; values: Map<number, (number | Distribution)[]> }
  >();
  for (const one of series) {
    const labels = Object.fromEntries(
      fields.map((field) => {
        const name = /^metric\.labels\.(\w+)$/.exec(field)?.[1];
        assert.ok(name, `no field ${field}`);
        return [name, one.labels?.[name] ?? ""];
      }),
    );
    const group = groups.get(JSON.stringify(labels)) ?? { one, labels, values: new Map() };
    groups.set(JSON.stringify(labels), group);
    for (const [at, value] of one.points) {
      // Half open: the start is not part of it, the end is; periods are counted from the end.
      if (at <= start || at > end) continue;
      const to = end - Math.floor((end - at) / period) * period;
      group.values.set(to, [...(group.values.get(to) ?? []), value]);
    }
  }
  return [...groups.values()].map(({ one, labels, values }) => ({
    metric: { type: one.type, ...(fields.length > 0 && { labels }) },
    resource: { type: one.resource.type, labels: { project_id: "p" } },
    metricKind: "DELTA",
    valueType: typeof one.points[0]?.[1] === "number" ? "INT64" : "DISTRIBUTION",
    ...(one.unit && { unit: one.unit }),
    points: [...values]
      .sort(([a], [b]) => b - a)
      .map(([to, all]) => ({
        interval: { startTime: new Date(to - period).toISOString(), endTime: new Date(to).toISOString() },
        value: typed(all),
      })),
  }));
}

function typed(all: readonly (number | Distribution)[]): object {
  const numbers = all.filter((value) => typeof value === "number");
  if (numbers.length > 0) return { int64Value: String(numbers.reduce((sum, value) => sum + value, 0)) };
  const rows = all as readonly Distribution[];
  const longest = Math.max(...rows.map(({ bucketCounts }) => bucketCounts.length));
  const counts = Array.from({ length: longest }, (_, i) =>
    rows.reduce((sum, { bucketCounts }) => sum + (bucketCounts[i] ?? 0), 0),
  );
  return {
    distributionValue: {
      count: String(counts.reduce((sum, value) => sum + value, 0)),
      mean: 1,
      bucketOptions: rows[0]!.bucketOptions,
      bucketCounts: counts.map(String),
    },
  };
}
