import assert from "node:assert/strict";
import fc from "fast-check";
import { Histogram, Registry } from "prom-client";
import { createMetrics, LATENCY_EDGES } from "../../../components/local/metrics";

/** The P99 as Prometheus' histogram_quantile reads it from the text. */
function p99(text: string, slot: string): number {
  const rows = [
    ...text.matchAll(
      /^sluice_request_duration_seconds_bucket\{le="([^"]+)",service="web",slot="(\w+)"\} (\d+)$/gm,
    ),
  ]
    .filter((row) => row[2] === slot)
    .map((row) => ({
      edge: row[1] === "+Inf" ? Number.POSITIVE_INFINITY : Number(row[1]),
      count: Number(row[3]),
    }));
  const rank = 0.99 * rows.at(-1)!.count;
  const at = rows.findIndex((row) => row.count >= rank);
  const below = rows[at - 1] ?? { edge: 0, count: 0 };
  const row = rows[at]!;
  return below.edge + (row.edge - below.edge) * ((rank - below.count) / (row.count - below.count));
}

describe("metrics", () => {
  it("says in Prometheus' text what happened, by service, slot and code", async () => {
    const metrics = createMetrics();
    for (let i = 0; i < 3; i++) metrics.begin("web", "blue")(200);
    metrics.begin("web", "green")(502);
    metrics.begin("web", "green");
    const text = await metrics.text();
    assert.match(text, /^# TYPE sluice_requests_total counter$/m);
    assert.match(text, /^# TYPE sluice_request_duration_seconds histogram$/m);
    assert.match(text, /^sluice_requests_total\{service="web",slot="blue",code="200"\} 3$/m);
    assert.match(text, /^sluice_requests_total\{service="web",slot="green",code="200"\} 0$/m);
    assert.match(text, /^sluice_requests_total\{service="web",slot="green",code="502"\} 1$/m);
    assert.match(text, /^sluice_in_flight\{service="web",slot="green"\} 1$/m);
    assert.match(text, /^sluice_in_flight\{service="web",slot="blue"\} 0$/m);
    assert.match(text, /^sluice_request_duration_seconds_count\{service="web",slot="blue"\} 3$/m);
    assert.deepEqual(metrics.counts("web", "blue"), { requests: 3, errors: 0 });
    assert.deepEqual(metrics.counts("web", "green"), { requests: 1, errors: 1 });
  });

  it("counts the same however often it is read", async () => {
    const metrics = createMetrics();
    metrics.begin("web", "blue")(200);
    const first = await metrics.text();
    assert.equal(await metrics.text(), first);
  });

  it("counts 5xx as errors and nothing else, and tells who listens until they leave", () => {
    const metrics = createMetrics();
    const heard: string[] = [];
    const leave = metrics.onError((service, slot, code) => heard.push(`${service} ${slot} ${code}`));
    for (const code of [200, 302, 404, 499, 500, 503, 504]) metrics.begin("web", "blue")(code);
    leave();
    metrics.begin("web", "blue")(500);
    assert.deepEqual(heard, ["web blue 500", "web blue 503", "web blue 504"]);
    assert.deepEqual(metrics.counts("web", "blue"), { requests: 8, errors: 4 });
  });

  it("forgets a service with all its series", async () => {
    const metrics = createMetrics();
    metrics.begin("web", "blue")(200);
    metrics.begin("api", "blue")(200);
    metrics.forget("web");
    const text = await metrics.text();
    assert.doesNotMatch(text, /service="web"/);
    assert.match(text, /service="api"/);
  });

  it("prints latencies to the byte as the library's own histogram would", async () => {
    const latency = fc.oneof(
      fc.constantFrom(0, ...LATENCY_EDGES, ...LATENCY_EDGES.map((edge) => edge + Number.EPSILON)),
      fc.double({ min: 0, max: 20, noNaN: true }),
    );
    const request = fc.record({ slot: fc.constantFrom("blue" as const, "green" as const), seconds: latency });
    await fc.assert(
      fc.asyncProperty(fc.array(request, { maxLength: 60 }), async (requests) => {
        const metrics = createMetrics();
        const registry = new Registry();
        const own = new Histogram({
          name: "sluice_request_duration_seconds",
          help: "Seconds from a request's head to the end of its answer, those that the client left included.",
          labelNames: ["service", "slot"],
          buckets: [...LATENCY_EDGES],
          registers: [registry],
        });
        for (const service of ["web", 'odd"\\name'])
          for (const slot of ["blue", "green"] as const) {
            metrics.meter(service, slot);
            own.zero({ service, slot });
          }
        for (const { slot, seconds } of requests) {
          metrics.meter("web", slot).done(200, seconds);
          own.observe({ service: "web", slot }, seconds);
        }
        const text = await metrics.text();
        const part = text.slice(text.indexOf("# HELP sluice_request_duration_seconds"));
        assert.equal(part, await registry.metrics());
      }),
      { numRuns: 100 },
    );
  });

  it("gives a slot's counts as its text does, and nothing of a slot that the text does not name", async () => {
    const metrics = createMetrics();
    assert.equal(metrics.read("web", "blue"), undefined);
    assert.deepEqual(metrics.counts("web", "blue"), { requests: 0, errors: 0 });
    assert.doesNotMatch(await metrics.text(), /service="web"/);
    for (const seconds of [0.0005, 0.00051, 10, 10.1]) metrics.meter("web", "blue").done(500, seconds);
    const { requests, errors, buckets = [] } = metrics.read("web", "blue") ?? {};
    assert.deepEqual([requests, errors], [4, 4]);
    assert.deepEqual([buckets[0], buckets[1], buckets.at(-2), buckets.at(-1)], [1, 1, 1, 1]);
    assert.equal(buckets.length, LATENCY_EDGES.length + 1);
    metrics.forget("web");
    assert.equal(metrics.read("web", "blue"), undefined);
  });

  it("has edges no two of which are more than 1.5 apart from 1 ms to 10 s", () => {
    assert.ok(LATENCY_EDGES.includes(0.001) && LATENCY_EDGES.at(-1) === 10);
    for (let i = 2; i < LATENCY_EDGES.length; i++) {
      assert.ok(LATENCY_EDGES[i]! / LATENCY_EDGES[i - 1]! <= 1.5 + 1e-9);
    }
  });

  it("gives a P99 within half of the true one, and so shows a doubled one, from 1 ms to 10 s", async () => {
    await fc.assert(
      fc.asyncProperty(fc.double({ min: 0.001, max: 4.9, noNaN: true }), async (tail) => {
        const metrics = createMetrics();
        for (const [slot, seconds] of [["blue", tail] as const, ["green", tail * 2] as const]) {
          const meter = metrics.meter("web", slot);
          for (let i = 0; i < 200; i++) {
            meter.open();
            meter.done(200, i < 190 ? seconds / 3 : seconds);
          }
        }
        const text = await metrics.text();
        const [base, doubled] = [p99(text, "blue"), p99(text, "green")];
        assert.ok(base / tail <= 1.5 && tail / base <= 1.5, `${base} read for ${tail}`);
        assert.ok(doubled > base * 1.3, `${base} and ${doubled} read for ${tail} and twice that`);
      }),
      { numRuns: 50 },
    );
  });
});
