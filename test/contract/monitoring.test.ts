import assert from "node:assert/strict";
import type { IncomingMessage, RequestListener } from "node:http";
import type { MetricSource } from "../../automation/core/ports";
import {
  type CloudMonitoringOptions,
  cloudMonitoring,
  cloudMonitoringQueries,
} from "../../automation/metrics/monitoring";
import { SourceUnreachable } from "../../automation/metrics/scrape";
import { SourceMalformed } from "../../automation/wire/exposition";
import { BadConfig, type SluiceError } from "../../components/errors";
import { fakeMonitoring, type Written } from "../support/monitoring";
import { context, handle, serve, subject } from "./world";

const MINUTE = 60_000;
/** The end of a period. */
const T = 1_800_000_000_000;
const TOKEN = "SLUICE_TEST_GOOGLE";
const SECRET = "ya29.hunter2";
const about = subject({ handle: handle() });

/** A context in which it is so many minutes after T. */
const at = (minutes: number) => ({ ...context(), now: () => T + minutes * MINUTE });

const revision = (name: string) => ({
  type: "cloud_run_revision",
  labels: { service_name: "shop.prod", revision_name: name, location: "europe-west1" },
});
function requests(slot: string, code: string, points: [minute: number, value: number][], n = 1): Written {
  return {
    type: "run.googleapis.com/request_count",
    labels: { response_code: `${code[0]}00`, response_code_class: code },
    resource: revision(`shop.prod-${slot}-0000${n}`),
    points: points.map(([minute, value]) => [T + minute * MINUTE, value]),
  };
}
const bucketOptions = { exponentialBuckets: { numFiniteBuckets: 3, growthFactor: 2, scale: 100 } };
function latencies(
  slot: string,
  minute: number,
  bucketCounts: number[],
  options: object = bucketOptions,
): Written {
  return {
    type: "run.googleapis.com/request_latencies",
    labels: { response_code_class: "2xx" },
    resource: revision(`shop.prod-${slot}-00001`),
    unit: "ms",
    points: [[T + minute * MINUTE, { bucketCounts, bucketOptions: options }]],
  };
}

async function using<R>(
  answer: RequestListener,
  use: (source: MetricSource) => Promise<R>,
  options: Partial<CloudMonitoringOptions> = {},
): Promise<R> {
  const server = await serve(answer);
  try {
    return await use(cloudMonitoring({ project: "p", token: { env: TOKEN }, url: server.url, ...options }));
  } finally {
    await server.close();
  }
}
const holding = (written: readonly Written[], pageSize?: number) => fakeMonitoring(SECRET, written, pageSize);
const sending =
  (body: unknown, status = 200, headers: Record<string, string> = {}): RequestListener =>
  (_, response) =>
    void response
      .writeHead(status, { "content-type": "application/json", ...headers })
      .end(typeof body === "string" ? body : JSON.stringify(body));

describe("cloudMonitoring", () => {
  before(() => {
    process.env[TOKEN] = SECRET;
  });
  after(() => {
    delete process.env[TOKEN];
  });

  const all = [
    requests("blue", "2xx", [
      [-1, 900],
      [0, 900],
      [1, 800],
      [2, 700],
    ]),
    requests("green", "2xx", [
      [1, 80],
      [2, 70],
    ]),
    requests("green", "4xx", [[1, 5]]),
    requests("green", "5xx", [
      [1, 3],
      [2, 2],
    ]),
    requests("green", "5xx", [[1, 1]], 2),
    { ...requests("green", "5xx", [[1, 1000]]), resource: { ...revision("x"), type: "k8s_container" } },
    requests("greenhouse", "5xx", [[1, 1000]]),
    latencies("green", 1, [40, 30, 15, 4, 1]),
  ];

  it("makes counters that only grow of sums per minute, by revision and class of status", () =>
    using(holding(all), async (source) => {
      const zero = { requests: 0, errors: 0, buckets: [0] };
      const first = await source.read(about, at(3));
      assert.deepEqual(first, { at: T, edges: [], slots: { blue: zero, green: zero } });
      assert.deepEqual(await source.read(about, at(3.9)), first, "nothing new is no tick");
      assert.deepEqual(await source.read(about, at(4)), {
        at: T + MINUTE,
        edges: [0.1, 0.2, 0.4, 0.8],
        slots: {
          blue: { requests: 800, errors: 0, buckets: [0, 0, 0, 0, 0] },
          green: { requests: 89, errors: 4, buckets: [40, 30, 15, 4, 1] },
        },
      });
      const last = await source.read(about, at(5));
      assert.deepEqual([last?.slots.green?.requests, last?.slots.green?.errors], [161, 6]);
    }));

  it("reads all pages", async () => {
    const read = async (source: MetricSource) => {
      await source.read(about, at(3));
      return source.read(about, at(5));
    };
    assert.deepEqual(await using(holding(all, 1), read), await using(holding(all), read));
    await assert.rejects(using(sending({ nextPageToken: "round" }), read), SourceMalformed.is);
  });

  it("has no data where nothing was counted: not zero", async () => {
    assert.equal(await using(holding([]), (source) => source.read(about, at(0))), undefined);
    const far = [
      requests("blue", "2xx", [
        [-30, 5],
        [60, 5],
      ]),
    ];
    assert.equal(await using(holding(far), (source) => source.read(about, at(0))), undefined);
  });

  it("tells what was there before", () =>
    using(
      holding([
        requests("blue", "2xx", [
          [-4, 10],
          [-2, 30],
        ]),
      ]),
      async (source) => {
        const found = await source.history!(about, { from: T - 10 * MINUTE, to: T - MINUTE }, at(9));
        assert.deepEqual(
          found.map((reading) => [(reading.at - T) / MINUTE, reading.slots.blue?.requests]),
          [
            [-5, 0],
            [-4, 10],
            [-3, 10],
            [-2, 40],
            [-1, 40],
          ],
        );
      },
    ));

  it("waits for a period's end and then three minutes, as long as Google may keep it back", () =>
    using(
      holding([
        requests("blue", "2xx", [
          [0, 1],
          [1, 5],
        ]),
      ]),
      async (source) => {
        await source.read(about, at(3));
        assert.equal((await source.read(about, at(3.99)))?.slots.blue?.requests, 0);
        assert.equal((await source.read(about, at(4)))?.slots.blue?.requests, 5);
      },
    ));

  it("reads linear and explicit buckets, and those that are left out at the end", async () => {
    const read = (options: object, counts: number[]) =>
      using(
        holding([
          requests("green", "2xx", [
            [0, 5],
            [1, 5],
          ]),
          latencies("green", 1, counts, options),
        ]),
        async (source) => {
          await source.read(about, at(3));
          return source.read(about, at(4));
        },
      );
    const linear = await read({ linearBuckets: { numFiniteBuckets: 2, width: 50, offset: 100 } }, [1, 2]);
    assert.deepEqual(
      [linear?.edges, linear?.slots.green?.buckets],
      [
        [0.1, 0.15, 0.2],
        [1, 2, 0, 0],
      ],
    );
    const explicit = await read({ explicitBuckets: { bounds: [10, 250] } }, [1, 0, 4]);
    assert.deepEqual(
      [explicit?.edges, explicit?.slots.green?.buckets],
      [
        [0.01, 0.25],
        [1, 0, 4],
      ],
    );
  });

  const interval = { startTime: new Date(T - MINUTE).toISOString(), endTime: new Date(T).toISOString() };
  const series = (
    value: object,
    labels: object | undefined = { response_code_class: "2xx" },
    when: object = interval,
  ) => ({
    metric: { labels },
    points: [{ interval: when, value }],
  });
  const buckets = (bucketCounts: unknown[], count = "3", options: object = bucketOptions) =>
    series({ distributionValue: { count, bucketCounts, bucketOptions: options } });
  const counted = { queries: { ...cloudMonitoringQueries.cloudRun, latency: undefined } };
  const malformed: [string, unknown, RegExp?][] = [
    ["a sum that is NaN", [series({ doubleValue: "NaN" })], /a sum of NaN/],
    ["a sum that is infinite", [series({ doubleValue: "Infinity" })], /a sum of Infinity/],
    [
      "a sum that is negative, whatever it is added to",
      [series({ int64Value: "5" }), series({ int64Value: "-1" }, { response_code_class: "4xx" })],
      /a sum of -1/,
    ],
    ["a sum that is none", [series({ stringValue: "many" })], /a sum of NaN/],
    ["a series without a status", [series({ int64Value: "1" }, {})], /no label response_code_class/],
    [
      "the same series twice",
      [series({ int64Value: "1" }), series({ int64Value: "1" })],
      /two series of 2xx/,
    ],
    [
      "a period that ends where none does",
      [series({ int64Value: "1" }, undefined, { endTime: new Date(T - 1000).toISOString() })],
    ],
    ["a time that is none", [series({ int64Value: "1" }, undefined, { endTime: "soon" })]],
    ["series without a form", [{ name: "x" }]],
    ["no list", { a: 1 }],
  ];
  for (const [what, timeSeries, says] of malformed)
    it(`refuses ${what}`, () =>
      assert.rejects(
        using(sending({ timeSeries }), (source) => source.read(about, at(3)), counted),
        (e) => SourceMalformed.is(e) && (says ?? /./).test(e.message),
      ));

  const distributions: [string, unknown, RegExp][] = [
    ["buckets that don't add up", buckets(["1", "1"]), /add up/],
    ["buckets that are negative", buckets(["-1", "4"]), /add up/],
    ["more buckets than there are", buckets(["1", "1", "1", "0", "0", "0"]), /add up/],
    ["buckets out of order", buckets(["3"], "3", { explicitBuckets: { bounds: [2, 1] } }), /ascending/],
    ["buckets without bounds", buckets(["3"], "3", {}), /ascending/],
    [
      "buckets without end",
      buckets(["3"], "3", { linearBuckets: { numFiniteBuckets: 1e9, width: 1 } }),
      /buckets/,
    ],
    ["latencies that are numbers", series({ int64Value: "3" }), /no distribution/],
    ["latencies in another unit", { ...buckets(["3"]), unit: "{furlong}" }, /furlong/],
  ];
  for (const [what, latency, says] of distributions)
    it(`refuses ${what}`, () => {
      const answer: RequestListener = (request, response) =>
        sending({ timeSeries: request.url?.includes("latencies") ? [latency] : [] })(request, response);
      return assert.rejects(
        using(answer, (source) => source.read(about, at(3))),
        (e) => SourceMalformed.is(e) && says.test(e.message),
      );
    });

  it("refuses slots whose buckets differ", () => {
    const other = { exponentialBuckets: { numFiniteBuckets: 3, growthFactor: 3, scale: 100 } };
    const both = [latencies("green", 0, [1]), latencies("blue", 0, [1], other)];
    return assert.rejects(
      using(holding(both), (source) => source.read(about, at(3))),
      (e) => SourceMalformed.is(e) && /different edges/.test(e.message),
    );
  });

  it("counts nothing that it did not ask for", () =>
    using(
      sending({
        timeSeries: [
          series({ int64Value: "7" }, undefined, { endTime: new Date(T + 60 * MINUTE).toISOString() }),
        ],
      }),
      async (source) => assert.equal(await source.read(about, at(3)), undefined),
      counted,
    ));

  it("takes an answer that is not whole for none", async () => {
    for (const body of [{ executionErrors: [{ message: "zone down" }] }, { unreachable: ["europe-west1"] }])
      await assert.rejects(
        using(sending(body), (source) => source.read(about, at(3))),
        (e) => SourceUnreachable.is(e) && /not whole: (zone down|europe-west1)/.test(e.message),
      );
  });

  for (const body of ["<html>Welcome</html>", "", '{"timeSeries": [', "[]", "null"])
    it(`refuses ${JSON.stringify(body)}`, () =>
      assert.rejects(
        using(sending(body), (source) => source.read(about, at(3))),
        SourceMalformed.is,
      ));

  it("asks again what may pass, and calls it unreachable in the end", async () => {
    for (const status of [429, 500, 503]) {
      let tries = 0;
      const once: RequestListener = (request, response) =>
        (++tries === 1 ? sending({ error: { message: "later" } }, status) : holding(all))(request, response);
      assert.ok(await using(once, (source) => source.read(about, at(3))));
      await assert.rejects(
        using(sending({ error: { message: "later" } }, status), (source) => source.read(about, at(3))),
        (e) => SourceUnreachable.is(e) && e.message.includes(`${status} (later)`),
      );
    }
    let tries = 0;
    const never: RequestListener = (request, response) => {
      tries++;
      sending({ error: { message: "no" } }, 404)(request, response);
    };
    await assert.rejects(
      using(never, (source) => source.read(about, at(3))),
      SourceUnreachable.is,
    );
    assert.ok(tries <= 2, "once for each slot");
  });

  it("asks again when it is told to, if there is so much time", async () => {
    const limited = (seconds: string): [RequestListener, () => number] => {
      const turns: number[] = [];
      const answer: RequestListener = (request, response) => {
        turns.push(performance.now());
        const error = { error: { message: "quota" } };
        if (turns.length === 1) sending(error, 429, { "retry-after": seconds })(request, response);
        else holding(all)(request, response);
      };
      return [answer, () => (turns[1] ?? Number.NaN) - turns[0]!];
    };
    // One slot has a version, so one question is asked at a time.
    const queries = {
      ...counted.queries,
      filter: `${cloudMonitoringQueries.cloudRun.filter} AND resource.labels.location != "{{version}}"`,
    };
    const [soon, waited] = limited("1");
    await assert.rejects(
      using(soon, (source) => source.read(about, at(3)), { queries }),
      (e) => BadConfig.is(e) && /Could not parse filter/.test(e.message),
    );
    assert.ok(waited() >= 1000, `${waited()} ms`);
    const [late, never] = limited("3600");
    await assert.rejects(
      using(late, (source) => source.read(about, at(3)), { queries }),
      (e) => SourceUnreachable.is(e) && /429 \(quota\)/.test(e.message),
    );
    assert.ok(Number.isNaN(never()), "an hour is not waited for");
  });

  it("calls the question wrong where Google does, and says where to look for who asks", async () => {
    const queries = { ...cloudMonitoringQueries.cloudRun, filter: "no filter {{slot}}" };
    await assert.rejects(
      using(holding([]), (source) => source.read(about, at(3)), { queries }),
      (e) => BadConfig.is(e) && /Could not parse filter/.test(e.message),
    );
    await assert.rejects(
      using(fakeMonitoring("another", []), (source) => source.read(about, at(3))),
      (e) => SourceUnreachable.is(e) && /401.*`token`/.test(e.message),
    );
  });

  it("follows no redirect: the token would go along", async () => {
    let went = false;
    const other = await serve((_, response) => {
      went = true;
      response.end("{}");
    });
    const redirect: RequestListener = (_, response) =>
      void response.writeHead(302, { location: other.url }).end();
    await assert.rejects(
      using(redirect, (source) => source.read(about, at(3))),
      (e) => SourceUnreachable.is(e) && /no redirect/.test(e.message),
    );
    await other.close();
    assert.equal(went, false);
  });

  it("calls a server unreachable that hangs, breaks off, or is not there", async () => {
    const hanging: RequestListener[] = [
      () => undefined,
      (_, response) => void response.writeHead(200).write("{"),
      (_, response) => {
        const timer = setInterval(() => response.write(" "), 20);
        response.on("close", () => clearInterval(timer));
      },
    ];
    for (const answer of hanging)
      await assert.rejects(
        using(answer, (source) => source.read(about, at(3)), { timeout: 150 }),
        (e) => SourceUnreachable.is(e) && /no answer within 150 ms/.test(e.message),
      );
    const broken: RequestListener = (_, response) => void response.write("{", () => response.destroy());
    await assert.rejects(
      using(broken, (source) => source.read(about, at(3))),
      SourceUnreachable.is,
    );
    const nobody = cloudMonitoring({ project: "p", token: { env: TOKEN }, url: "http://127.0.0.1:1" });
    await assert.rejects(nobody.read(about, at(3)), SourceUnreachable.is);
  });

  it("refuses an answer larger than its bound", () =>
    assert.rejects(
      using(sending(" ".repeat(200_000)), (source) => source.read(about, at(3)), { maxBytes: 100_000 }),
      (e) => SourceMalformed.is(e) && /larger than 100000 bytes/.test(e.message),
    ));

  it("takes its token by reference alone, and never shows it", async () => {
    const refused = using(sending({ error: { message: "no" } }, 403), (source) => source.read(about, at(3)));
    await assert.rejects(refused, (e: SluiceError) => !String(e).includes("hunter2"));
    const read = (token: never) => using(holding([]), (source) => source.read(about, at(3)), { token });
    await assert.rejects(read("ya29.hunter2" as never), (e) => BadConfig.is(e) && !/hunter2/.test(String(e)));
    await assert.rejects(read({ env: "SLUICE_TEST_NOTHING" } as never), { code: "secret-missing" });
    const command = ["sh", "-c", `echo ${SECRET}`];
    assert.equal(await read({ command } as never), undefined);
  });

  it("escapes what stands in a filter, and keeps the slots apart", async () => {
    let seen = "";
    const note: RequestListener = (request, response) => {
      seen += decodeURIComponent(request.url!.replaceAll("+", " "));
      sending({})(request, response);
    };
    const evil = { ...about, service: 'x" OR resource.type = "y\\' };
    const queries = { ...cloudMonitoringQueries.cloudRun, filter: 'a = "{{service}}" AND b = "{{slot}}"' };
    await using(note, (source) => source.read(evil, at(3)), { queries });
    assert.ok(seen.includes('a = "x\\" OR resource.type = \\"y\\\\" AND b = "blue"'), seen);
    await assert.rejects(
      using(note, (source) => source.read(about, at(3)), {
        queries: { ...queries, filter: 'a = "{{service}}"' },
      }),
      (e) => BadConfig.is(e) && /both slots/.test(e.message),
    );
  });

  it("evaluates PromQL", async () => {
    let body = "";
    let asked: IncomingMessage | undefined;
    const promql =
      (data: unknown): RequestListener =>
      (request, response) => {
        asked = request;
        body = "";
        request.on("data", (chunk) => {
          body += chunk;
        });
        request.on("end", () => sending({ status: "success", data })(request, response));
      };
    const value = (data: unknown, query = 'sum(x{service="{{service}}"})') =>
      using(promql(data), (source) => source.value!(query, about, at(0)));
    const one = (text: string) => ({
      resultType: "vector",
      result: [{ metric: {}, value: [T / 1000, text] }],
    });
    assert.equal(await value(one("1.5")), 1.5);
    assert.equal(asked?.method, "POST");
    assert.equal(asked?.url, "/v1/projects/p/location/global/prometheus/api/v1/query");
    assert.deepEqual(Object.fromEntries(new URLSearchParams(body)), {
      query: 'sum(x{service="shop"})',
      time: String(T / 1000),
    });
    assert.equal(await value({ resultType: "scalar", result: [1, "2"] }), 2);
    assert.equal(await value({ resultType: "vector", result: [] }), undefined);
    assert.equal(await value(one("NaN")), undefined);
    assert.equal(await value(one("1"), 'x{slot="{{slot}}"}'), undefined, "no slot is in question");
    await assert.rejects(value(one("+Inf")), SourceMalformed.is);
    await assert.rejects(value(one("many")), SourceMalformed.is);
    await assert.rejects(value({ resultType: "matrix", result: [] }), SourceMalformed.is);
    const { result } = one("1");
    await assert.rejects(value({ resultType: "vector", result: [...result, ...result] }), BadConfig.is);
  });

  it("says at a ping how much there is, and refuses options that can't be", async () => {
    const ctx = at(3);
    await using(holding(all), (source) => source.ping(about, ctx));
    assert.match(ctx.lines.join(), /\d+ sums/);
    const options = [
      { period: 30 },
      { period: 60.5 },
      { lag: -1 },
      { url: "ftp://x" },
      { url: "http://u:p@x" },
    ];
    for (const wrong of options)
      assert.throws(() => cloudMonitoring({ project: "p", ...wrong }), BadConfig.is, JSON.stringify(wrong));
    const queries = { ...cloudMonitoringQueries.cloudRun, filter: "{{slto}}" };
    assert.throws(() => cloudMonitoring({ project: "p", queries }), BadConfig.is);
  });
});
