import assert from "node:assert/strict";
import type { RequestListener } from "node:http";

/** What an agent has sent: a count, or one value of a distribution. */
export interface Sent {
  metric: string;
  tags: readonly string[];
  at: number;
  value: number;
}

const QUERY =
  /^(sum|count|count\(v: v<=([\d.]+)\)):([\w.]+)\{([^{}]*)\}\.as_count\(\)\.rollup\(sum, (\d+)\)$/;

/**
 * Datadog's GET /api/v1/query as its OpenAPI document has it: `from`, `to` (seconds) and `query` are required, and
 * there is no other parameter; several queries are told apart by `query_index`.
 */
export function fakeDatadog(keys: { api: string; app: string }, sent: readonly Sent[]): RequestListener {
  return (request, response) => {
    const send = (status: number, body: object) =>
      void response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    const { "dd-api-key": api, "dd-application-key": app } = request.headers;
    if (api !== keys.api || app !== keys.app) return send(403, { errors: ["Forbidden"] });
    try {
      const url = new URL(request.url ?? "", "http://x");
      assert.equal(`${request.method} ${url.pathname}`, "GET /api/v1/query");
      assert.deepEqual([...url.searchParams.keys()].sort(), ["from", "query", "to"], "Unknown parameters");
      const [from, to] = ["from", "to"].map((name) => {
        assert.match(url.searchParams.get(name)!, /^\d+$/, `${name} must be integer seconds`);
        return Number(url.searchParams.get(name));
      });
      const text = url.searchParams.get("query")!;
      // Commas part queries, but not inside braces and brackets.
      const queries = text.split(/,(?![^{}]*\})(?![^()]*\))/);
      const series = queries.flatMap((query, i) => evaluated(query, i, sent, from!, to!));
      send(200, {
        status: "ok",
        res_type: "time_series",
        from_date: from! * 1000,
        to_date: to! * 1000,
        series,
        query: text,
      });
    } catch (thrown) {
      send(400, { errors: [`Error parsing query: ${(thrown as Error).message}`] });
    }
  };
}

function evaluated(query: string, index: number, sent: readonly Sent[], from: number, to: number): object[] {
  const [, , edge, metric, scope = "", seconds] = QUERY.exec(query) ?? [];
  assert.ok(metric, `unexpected ${query}`);
  const tags = scope.split(",");
  for (const tag of tags) assert.match(tag, /^[\p{Ll}\p{N}_\-./]+:[\p{Ll}\p{N}_\-:./]+$/u);
  const period = Number(seconds);
  const buckets = new Map<number, number | null>();
  for (const one of sent) {
    if (one.metric !== metric || !tags.every((tag) => one.tags.includes(tag))) continue;
    const start = Math.floor(one.at / 1000 / period) * period;
    // A bucket that lies partly inside is answered as well.
    if (start + period <= from || start > to) continue;
    const within = edge === undefined || one.value <= Number(edge);
    // Counts are added, values of a distribution are counted.
    const more = query.startsWith("sum") ? one.value : 1;
    buckets.set(start, within ? (buckets.get(start) ?? 0) + more : (buckets.get(start) ?? null));
  }
  if (buckets.size === 0) return [];
  return [
    {
      metric,
      display_name: metric,
      query_index: index,
      aggr: query.startsWith("sum") ? "sum" : "count",
      interval: period,
      length: buckets.size,
      start: from * 1000,
      end: to * 1000,
      scope,
      tag_set: [],
      expression: query,
      unit: [null, null],
      pointlist: [...buckets].map(([start, value]) => [start * 1000, value]),
    },
  ];
}
