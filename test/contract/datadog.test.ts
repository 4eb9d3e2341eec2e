import assert from "node:assert/strict";
import type { RequestListener } from "node:http";
import type { MetricSource } from "../../automation/core/ports";
import { type DatadogOptions, datadog, datadogQueries } from "../../automation/metrics/datadog";
import { SourceUnreachable } from "../../automation/metrics/scrape";
import { SourceMalformed } from "../../automation/wire/exposition";
import { BadConfig, type SluiceError } from "../../components/errors";
import { fakeDatadog, type Sent } from "../support/datadog";
import { context, handle, serve, subject } from "./world";

const PERIOD = 30_000;
/** The end of a period. */
const T = 1_800_000_000_000;
const [API, APP] = ["SLUICE_TEST_DD_API", "SLUICE_TEST_DD_APP"];
const keys = { api: "hunter2-api", app: "hunter2-app" };
const slotted = { ...handle() };
const about = subject({
  handle: {
    ...slotted,
    slots: {
      green: slotted.slots.green!,
      blue: { ...slotted.slots.green!, pin: { ...slotted.slots.green!.pin, version: "1.2.2" } },
    },
  },
});

/** A context in which it is so many periods after T. */
const at = (periods: number) => ({ ...context(), now: () => T + periods * PERIOD });

const scope = (version: string) => ["env:prod", "service:shop", `version:${version}`, "resource_name:get_/"];
const hits = (version: string, period: number, value: number, kind = "hits"): Sent => ({
  metric: `trace.http.request.${kind}`,
  tags: scope(version),
  at: T + period * PERIOD,
  value,
});
const took = (version: string, period: number, seconds: number): Sent => ({
  metric: "trace.http.request",
  tags: scope(version),
  at: T + period * PERIOD,
  value: seconds,
});

async function using<R>(
  answer: RequestListener,
  use: (source: MetricSource) => Promise<R>,
  options: Partial<DatadogOptions> = {},
): Promise<R> {
  const server = await serve(answer);
  try {
    return await use(datadog({ url: server.url, apiKey: { env: API }, appKey: { env: APP }, ...options }));
  } finally {
    await server.close();
  }
}
const sending =
  (body: unknown, status = 200, headers: Record<string, string> = {}): RequestListener =>
  (_, response) =>
    void response
      .writeHead(status, { "content-type": "application/json", ...headers })
      .end(typeof body === "string" ? body : JSON.stringify(body));
const read = (source: MetricSource) => source.read(about, at(2));

describe("datadog", () => {
  before(() => {
    Object.assign(process.env, { [API]: keys.api, [APP]: keys.app });
  });
  after(() => {
    delete process.env[API];
    delete process.env[APP];
  });

  const all = [
    hits("1.2.2", -2, 90),
    hits("1.2.2", 0, 80),
    hits("1.2.2", 1, 70),
    hits("1.2.3", 0, 4),
    hits("1.2.3", 0.5, 2),
    hits("1.2.3", 0, 1, "errors"),
    hits("1.2.3", 1, 10),
    hits("1.2.4", 0, 1000),
    ...[0.02, 0.04, 0.3, 0.3, 0.3, 20].map((seconds) => took("1.2.3", 0.2, seconds)),
  ];

  it("makes counters that only grow of sums per period, by version", () =>
    using(
      fakeDatadog(keys, all),
      async (source) => {
        const zero = { requests: 0, errors: 0, buckets: [0] };
        const first = await source.read(about, at(2));
        assert.deepEqual(first, { at: T, edges: [], slots: { blue: zero, green: zero } });
        assert.deepEqual(await source.read(about, at(2.9)), first, "nothing new is no tick");
        assert.deepEqual(await source.read(about, at(3)), {
          at: T + PERIOD,
          edges: [0.01, 0.1, 0.5],
          slots: {
            blue: { requests: 80, errors: 0, buckets: [0, 0, 0, 0] },
            green: { requests: 6, errors: 1, buckets: [0, 2, 3, 1] },
          },
        });
        assert.equal((await source.read(about, at(4)))?.slots.green?.requests, 16);
      },
      { edges: [0.01, 0.1, 0.5] },
    ));

  it("asks all in one request, and not again until a period has come to its end", async () => {
    let asked = 0;
    const fake = fakeDatadog(keys, all);
    const counting: RequestListener = (request, response) => {
      asked++;
      fake(request, response);
    };
    await using(counting, async (source) => {
      for (const periods of [2, 2.2, 2.5, 2.99, 3, 3.5]) await source.read(about, at(periods));
    });
    assert.equal(asked, 2);
  });

  it("has no data where nothing was counted: not zero", async () => {
    assert.equal(await using(fakeDatadog(keys, []), read), undefined);
    const far = [hits("1.2.3", -99, 5), hits("1.2.3", 99, 5)];
    assert.equal(await using(fakeDatadog(keys, far), read), undefined);
    const nulls = [{ query_index: 0, pointlist: [[T - PERIOD, null]] }];
    assert.equal(await using(sending({ status: "ok", series: nulls }), read), undefined);
    const empty = { ...about, handle: { ...handle(), slots: {} } };
    assert.equal(await using(fakeDatadog(keys, all), (source) => source.read(empty, at(2))), undefined);
  });

  it("tells what was there before", () =>
    using(fakeDatadog(keys, [hits("1.2.2", -4, 10), hits("1.2.2", -2, 30)]), async (source) => {
      const span = { from: T - 10 * PERIOD, to: T };
      const found = await source.history!(about, span, at(2));
      assert.deepEqual(
        found.map((reading) => [(reading.at - T) / PERIOD, reading.slots.blue?.requests]),
        [
          [-4, 0],
          [-3, 10],
          [-2, 10],
          [-1, 40],
          [0, 40],
        ],
      );
    }));

  it("counts nothing of a period that has not come to its end, even where it is answered", () => {
    const points = [-1, 0, 1, 2, 3, 99].map((period) => [T + period * PERIOD, 2 ** (period + 1)]);
    return using(
      sending({ status: "ok", series: [{ query_index: 0, pointlist: points.reverse() }] }),
      async (source) => {
        await source.read(about, at(2));
        assert.equal((await source.read(about, at(4)))?.slots.blue?.requests, 2 + 4);
      },
    );
  });

  const series = (...pointlist: unknown[]) => ({ query_index: 0, pointlist });
  const ok = (...found: unknown[]) => ({ status: "ok", series: found });
  const malformed: [string, unknown, RegExp?][] = [
    ["a sum that is negative", ok(series([T, -1]))],
    ["a sum that is infinite", '{"status":"ok","series":[{"query_index":0,"pointlist":[[0,1e999]]}]}'],
    ["a sum that is NaN", '{"status":"ok","series":[{"query_index":0,"pointlist":[[0,NaN]]}]}'],
    ["a sum that is a text", ok(series([T, "5"]))],
    ["a period that begins where none does", ok(series([T + 1000, 1])), /begins at/],
    ["two values of one period", ok(series([T, 1], [T, 1])), /two sums/],
    ["the same series twice", ok(series([T, 1]), series([T, 1])), /two sums/],
    ["periods of another length", ok({ ...series([T, 1]), interval: 60 }), /periods of 60/],
    ["a series of no query", ok({ ...series([T, 1]), query_index: 99 }), /which query/],
    ["a series that does not name its query", ok({ pointlist: [[T, 1]] }), /which query/],
    ["errors without requests", ok({ ...series([T, 1]), query_index: 1 }), /1 errors in 0 requests/],
    ["more errors than requests", ok(series([T, 1]), { ...series([T, 2]), query_index: 1 }), /2 errors in 1/],
    ["a page", "<html>Welcome</html>", /no JSON/],
    ["nothing", "", /no JSON/],
    ["half an answer", '{"status":"ok","series":['],
    ["series without a form", ok({ name: "x" })],
  ];
  for (const [what, body, says] of malformed)
    it(`refuses ${what}`, () =>
      assert.rejects(
        using(sending(body), async (source) => {
          await read(source);
          await source.read(about, at(4));
        }),
        (e) => SourceMalformed.is(e) && (says ?? /./).test(e.message),
      ));

  it("calls a query wrong where Datadog does, with 200 or with 400", async () => {
    for (const answer of [
      sending({ errors: ["Error parsing query: no"] }, 400),
      sending({ status: "error", error: "Error parsing query: no", series: [] }),
    ])
      await assert.rejects(
        using(answer, read),
        (e) => BadConfig.is(e) && /parsing query: no/.test(e.message),
      );
    const bodies = [
      { status: "error", error: "timed out", series: [] },
      { status: "ok", error: "timed out", series: [] },
      { status: "error", series: [] },
      { status: "ok" },
      {},
    ];
    for (const body of bodies)
      await assert.rejects(
        using(sending(body), read),
        (e) => SourceUnreachable.is(e) && (body.error ? /it says timed out/ : /not whole/).test(e.message),
        JSON.stringify(body),
      );
  });

  it("asks again after as long as the rate limit says, if there is so much time", async () => {
    let first = 0;
    let waited = 0;
    const fake = fakeDatadog(keys, all);
    const limited: RequestListener = (request, response) => {
      if (first === 0) {
        first = performance.now();
        return sending({ errors: ["Rate limit"] }, 429, { "x-ratelimit-reset": "1" })(request, response);
      }
      waited = performance.now() - first;
      fake(request, response);
    };
    assert.ok(await using(limited, read));
    assert.ok(waited >= 1000, `${waited} ms`);
    let tries = 0;
    const long: RequestListener = (request, response) => {
      tries++;
      sending({ errors: ["Rate limit"] }, 429, { "x-ratelimit-reset": "3000" })(request, response);
    };
    await assert.rejects(
      using(long, read),
      (e) => SourceUnreachable.is(e) && /429 \(Rate limit\)/.test(e.message),
    );
    assert.equal(tries, 1, "an hour is not waited for");
  });

  it("asks again where a connection broke", async () => {
    let tries = 0;
    const fake = fakeDatadog(keys, all);
    const breaking: RequestListener = (request, response) => {
      if (++tries === 1) response.write("{", () => response.destroy());
      else if (tries === 2) request.socket.destroy();
      else fake(request, response);
    };
    assert.ok(await using(breaking, read));
  });

  it("asks again what may pass, and not what does not", async () => {
    for (const [status, most] of [
      [500, 3],
      [503, 3],
      [404, 1],
    ] as const) {
      let tries = 0;
      const failing: RequestListener = (request, response) => {
        tries++;
        sending({ errors: ["no"] }, status)(request, response);
      };
      await assert.rejects(using(failing, read), SourceUnreachable.is);
      assert.equal(tries, most, String(status));
    }
  });

  it("says where to look for who asks, takes keys by reference alone, and never shows them", async () => {
    await assert.rejects(
      using(fakeDatadog({ api: "a", app: "b" }, []), read),
      (e) =>
        SourceUnreachable.is(e) &&
        /403 \(Forbidden\).*`apiKey`/.test(e.message) &&
        !/hunter2/.test(String(e)),
    );
    for (const option of ["apiKey", "appKey"]) {
      const plain = { [option]: "hunter2" } as never;
      await assert.rejects(
        using(fakeDatadog(keys, []), read, plain),
        (e: SluiceError) => BadConfig.is(e) && !/hunter2/.test(String(e)),
      );
      const none = { [option]: { env: "SLUICE_TEST_NOTHING" } };
      await assert.rejects(using(fakeDatadog(keys, []), read, none), { code: "secret-missing" });
    }
  });

  it("follows no redirect: the keys would go along", async () => {
    let went = false;
    const other = await serve((_, response) => {
      went = true;
      response.end("{}");
    });
    await assert.rejects(
      using(sending("", 302, { location: other.url }), read),
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
        using(answer, read, { timeout: 150 }),
        (e) => SourceUnreachable.is(e) && /no answer within 150 ms/.test(e.message),
      );
    const broken: RequestListener = (_, response) => void response.write("{", () => response.destroy());
    await assert.rejects(using(broken, read), SourceUnreachable.is);
    await assert.rejects(using(broken, read, { url: "http://127.0.0.1:1" }), SourceUnreachable.is);
  });

  it("refuses an answer larger than its bound", () =>
    assert.rejects(
      using(sending(" ".repeat(200_000)), read, { maxBytes: 100_000 }),
      (e) => SourceMalformed.is(e) && /larger than 100000 bytes/.test(e.message),
    ));

  it("writes values as Datadog stores them, and keeps the slots apart", async () => {
    let seen = "";
    const note: RequestListener = (request, response) => {
      seen = new URL(request.url!, "http://x").searchParams.get("query")!;
      sending(ok())(request, response);
    };
    const evil = { ...about, service: "Shop},sum:x{*" };
    await using(note, (source) => source.read(evil, at(2)));
    assert.match(seen, /^sum:trace\.http\.request\.hits\{env:prod,service:shop__sum:x__,version:1\.2\.2\}/);
    const same = { ...about.handle!, slots: { blue: handle().slots.green!, green: handle().slots.green! } };
    await assert.rejects(
      using(note, (source) => source.read({ ...about, handle: same }, at(2))),
      (e) => BadConfig.is(e) && /both slots/.test(e.message),
    );
    const queries = { ...datadogQueries.trace("express.request"), latency: undefined };
    await using(note, read, { queries });
    assert.equal(seen.split("rollup").length - 1, 4, "requests and errors of two slots");
  });

  it("evaluates a query to its newest number", async () => {
    const value = (found: unknown[], text = "avg:cpu{service:{{service}}}") =>
      using(sending(ok(...found)), (source) => source.value!(text, about, at(2)));
    assert.equal(
      await value([series([T - 2 * PERIOD, 1], [T - 5 * PERIOD, 9], [T - PERIOD, null], [T, 7])]),
      1,
    );
    assert.equal(await value([]), undefined);
    assert.equal(
      await value([series([T, 1])], "avg:cpu{slot:{{slot}}}"),
      undefined,
      "no slot is in question",
    );
    await assert.rejects(value([series(), series()]), BadConfig.is);
    await assert.rejects(value([], "{{nobody}}"), BadConfig.is);
  });

  it("says at a ping how much there is, and refuses options that can't be", async () => {
    const ctx = at(4);
    await using(fakeDatadog(keys, all), (source) => source.ping(about, ctx));
    assert.match(ctx.lines.join(), /\d+ sums/);
    const ref = { env: API };
    for (const wrong of [
      { edges: [1, 1] },
      { edges: [-1] },
      { period: 0 },
      { lag: 0.5 },
      { url: "x" },
      { site: "a b" },
    ])
      assert.throws(
        () => datadog({ apiKey: ref, appKey: ref, ...wrong }),
        BadConfig.is,
        JSON.stringify(wrong),
      );
    const queries = { requests: "{{slto}}", errors: "" };
    assert.throws(() => datadog({ apiKey: ref, appKey: ref, queries }), BadConfig.is);
  });
});
