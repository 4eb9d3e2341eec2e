import assert from "node:assert/strict";
import type { RequestListener } from "node:http";
import { tick } from "../../automation/analysis/counts";
import { type PrometheusOptions, prometheus, queries } from "../../automation/metrics/prometheus";
import { SourceUnreachable } from "../../automation/metrics/scrape";
import { SourceMalformed } from "../../automation/wire/exposition";
import { NATIVE_EDGES } from "../../automation/wire/native";
import { type Native, type Stored, tsdb } from "../support/tsdb";
import { context, handle, serve, subject } from "./world";

type Labels = Record<string, string>;
const about = subject({ handle: handle() });
/** Seconds; a time long past, so that nothing is of the future. */
const T = 1_700_000_000;

const own = (name: string, labels: Labels): Labels => ({
  __name__: name,
  service: "shop.prod",
  slot: "green",
  job: "j",
  instance: "i",
  ...labels,
});

/** A counter that was scraped every `every` seconds. */
function counter(labels: Labels, values: readonly (number | null)[], every = 15, from = T): Stored {
  return {
    labels: own("sluice_requests_total", { code: "200", ...labels }),
    samples: values.map((value, i) => [from + i * every, value === null ? null : String(value)]),
  };
}

const bucket = (le: string, values: readonly number[], more: Labels = {}): Stored => {
  const { labels, samples } = counter({ le, ...more }, values);
  return { labels: { ...labels, __name__: "sluice_request_duration_seconds_bucket" }, samples };
};

async function against<R>(answer: RequestListener, use: (url: string) => Promise<R>): Promise<R> {
  const server = await serve(answer);
  try {
    return await use(server.url);
  } finally {
    await server.close();
  }
}

function history(
  stored: readonly Stored[],
  seconds: [number, number],
  options: Partial<PrometheusOptions> = {},
  asked: { path: string; form: URLSearchParams }[] = [],
) {
  const span = { from: (T + seconds[0]) * 1000, to: (T + seconds[1]) * 1000 };
  return against(tsdb(stored, asked), (url) =>
    prometheus({ url, ...options }).history!(about, span, context()),
  );
}

describe("The history that prometheus gives", () => {
  it("is cumulative readings, oldest first, each at the time of its newest sample", async () => {
    const readings = await history(
      [
        counter({ code: "200" }, [100, 110, 130]),
        counter({ code: "500" }, [1, 1, 3]),
        bucket("0.1", [90, 100, 118]),
        bucket("+Inf", [101, 111, 133]),
      ],
      [0, 30],
    );
    assert.deepEqual(readings, [
      { at: T * 1000, edges: [0.1], slots: { green: { requests: 101, errors: 1, buckets: [90, 11] } } },
      {
        at: (T + 15) * 1000,
        edges: [0.1],
        slots: { green: { requests: 111, errors: 1, buckets: [100, 11] } },
      },
      {
        at: (T + 30) * 1000,
        edges: [0.1],
        slots: { green: { requests: 133, errors: 3, buckets: [118, 15] } },
      },
    ]);
  });

  it("follows each process over its restart, and leaves out what one had counted that comes up later", async () => {
    const readings = await history(
      [counter({ instance: "a" }, [500, 520, 4]), counter({ instance: "b" }, [7000, 7010], 15, T + 15)],
      [0, 30],
    );
    assert.deepEqual(
      readings.map(({ slots }) => slots.green?.requests),
      [500, 520, 534],
    );
    for (const [i, reading] of readings.slice(1).entries())
      assert.ok((tick(readings[i], reading, "green", undefined)?.canary.requests ?? -1) < 50);
  });

  it("has no reading where there was no new sample, nor while the target was down", async () => {
    const slow = await history([counter({}, [10, 20, 30], 60)], [0, 120]);
    assert.deepEqual(
      slow.map(({ at }) => at / 1000 - T),
      [0, 60, 120],
    );
    const down = await history([counter({}, [10, null, null, 40])], [0, 45]);
    assert.deepEqual(
      down.map(({ at }) => at / 1000 - T),
      [0, 45],
    );
  });

  it("is empty where nothing is known: of another service, before there was one, and of no time at all", async () => {
    assert.deepEqual(await history([], [0, 60]), []);
    assert.deepEqual(await history([counter({ service: "other" }, [1, 2])], [0, 60]), []);
    assert.deepEqual(await history([counter({}, [1, 2])], [-7200, -3600]), []);
    assert.deepEqual(await history([counter({}, [1, 2])], [60, 0]), []);
  });

  it("asks for a long span in parts, none twice and none left out, within what Prometheus gives at once", async () => {
    const asked: { path: string; form: URLSearchParams }[] = [];
    const hours = Array.from({ length: 961 }, (_, i) => i);
    const readings = await history([counter({}, hours)], [0, 4 * 3600], {}, asked);
    assert.deepEqual(
      readings.map(({ slots }) => slots.green?.requests),
      hours,
    );
    assert.ok(asked.length > 1);
    for (const [i, { form }] of asked.slice(1).entries())
      assert.ok(Number(form.get("start")) > Number(asked[i]!.form.get("end")));
    for (const { path, form } of asked) {
      assert.equal(path, "/api/v1/query_range");
      assert.ok((Number(form.get("end")) - Number(form.get("start"))) / Number(form.get("step")) < 11_000);
    }
  });

  it("asks what `read` asks, and has no part in what that has counted", async () => {
    const asked: { path: string; form: URLSearchParams }[] = [];
    const now = Date.now() / 1000;
    const stored = [counter({}, [10, 20], 15, now - 20)];
    await against(tsdb(stored, asked), async (url) => {
      const source = prometheus({ url });
      const before = await source.read(about, context());
      const past = await source.history!(about, { from: (now - 60) * 1000, to: now * 1000 }, context());
      assert.deepEqual(
        past.map(({ slots }) => slots.green?.requests),
        [10, 20],
      );
      assert.deepEqual(await source.read(about, context()), before);
    });
    assert.equal(asked[0]?.form.get("query"), asked[1]?.form.get("query"));
  });

  it("knows both slots where each is asked for by itself, in as many selections as there are", async () => {
    const nginx = (labels: Labels, values: number[]): Stored => ({
      labels: {
        __name__: "nginx_ingress_controller_requests",
        job: "j",
        instance: "i",
        namespace: "web",
        ...labels,
      },
      samples: values.map((value, i) => [T + i * 15, String(value)]),
    });
    const named = {
      ...about,
      handle: { ...about.handle!, local: { ...about.handle!.local!, name: "shop" } },
    };
    const readings = await against(
      tsdb([
        nginx({ service: "shop-blue", canary: "", status: "200" }, [100, 190]),
        nginx({ service: "shop-blue", canary: "web-shop-green-80", status: "200" }, [10, 18]),
        nginx({ service: "shop-blue", canary: "web-shop-green-80", status: "500" }, [0, 2]),
        nginx({ service: "shop-green", canary: "", status: "200" }, [7, 7]),
      ]),
      (url) =>
        prometheus({ url, queries: queries.nginx({ namespace: "web" }) }).history!(
          named,
          { from: T * 1000, to: (T + 15) * 1000 },
          context(),
        ),
    );
    const counts = (requests: number, errors: number) => ({ requests, errors, buckets: [0] });
    assert.deepEqual(readings.at(-1)?.slots, { blue: counts(190, 0), green: counts(27, 2) });
  });

  it("adds several selections up, also of metrics that differ by their name alone", async () => {
    const one = (name: string, value: string): Stored => ({ labels: own(name, {}), samples: [[T, value]] });
    const readings = await history([one("a", "3"), one("b", "4"), one("e", "1")], [0, 0], {
      queries: { requests: ["a{}", "b{}"], errors: "e{}" },
    });
    assert.deepEqual(readings[0]?.slots.green, { requests: 7, errors: 1, buckets: [0] });
  });

  it("fails where the server does, and says that it was stopped", async () => {
    const hang: RequestListener = () => undefined;
    const span = { from: 0, to: 60_000 };
    await against(hang, (url) =>
      assert.rejects(
        prometheus({ url, timeout: 100 }).history!(about, span, context()),
        SourceUnreachable.is,
      ),
    );
    const ctx = context();
    await against(
      () => ctx.abort(),
      (url) => assert.rejects(prometheus({ url }).history!(about, span, ctx), (e) => e === ctx.signal.reason),
    );
    const vector: RequestListener = (_, response) =>
      void response.end('{"status":"success","data":{"resultType":"vector","result":[]}}');
    await against(vector, (url) =>
      assert.rejects(prometheus({ url }).history!(about, span, context()), SourceMalformed.is),
    );
  });
});

describe("Native histograms from prometheus", () => {
  const SELECTED = {
    requests: 'sluice_requests_total{service="{{name}}"}',
    errors: 'sluice_requests_total{service="{{name}}",code=~"5.."}',
    latency: 'sluice_request_duration_seconds{service="{{name}}"}',
  };
  /** Observations by the exponent of 2 that their bucket ends at. */
  const native = (observed: Record<number, number>): Native => ({
    count: String(Object.values(observed).reduce((a, b) => a + b, 0)),
    sum: "1",
    buckets: Object.entries(observed)
      .sort(([a], [b]) => Number(a) - Number(b))
      .map(([end, n]) => [0, String(2 ** (Number(end) - 0.125)), String(2 ** Number(end)), String(n)]),
  });
  const latencies = (slot: string, values: Native[]): Stored => ({
    labels: own("sluice_request_duration_seconds", { slot }),
    samples: values.map((value, i) => [T + i * 15, value]),
  });

  it("have the same edges for both slots and at all times, however their buckets come and go", async () => {
    const readings = await history(
      [
        counter({}, [10, 20]),
        counter({ slot: "blue" }, [30, 40]),
        latencies("green", [native({ [-3]: 10 }), native({ [-3]: 15, [-1]: 4, 1: 1 })]),
        latencies("blue", [native({ [-4]: 30 }), native({ [-4]: 40 })]),
      ],
      [0, 15],
      { queries: SELECTED },
    );
    for (const { edges } of readings) assert.deepEqual(edges, NATIVE_EDGES);
    const made = tick(readings[0], readings[1]!, "green", "blue")!;
    const slow = (limit: number) =>
      made.canary.buckets.slice(NATIVE_EDGES.indexOf(limit) + 1).reduce((a, b) => a + b, 0);
    assert.deepEqual([slow(0.125), slow(0.5), slow(1), slow(2)], [5, 1, 1, 0]);
    assert.equal(
      made.baseline?.buckets.reduce((a, b) => a + b),
      10,
    );
  });

  it("are milliseconds where it is said so, as classic ones are", async () => {
    const ms = { ...SELECTED, unit: "ms" } as const;
    const [reading] = await history([counter({}, [4]), latencies("green", [native({ 8: 4 })])], [0, 0], {
      queries: ms,
    });
    const filled = reading!.slots.green!.buckets.indexOf(4);
    assert.ok(NATIVE_EDGES[filled]! >= 0.256 && NATIVE_EDGES[filled - 1]! < 0.256);
    const classic = { ...queries.sluice, unit: "ms" } as const;
    const stored = [counter({}, [4]), bucket("300", [3]), bucket("+Inf", [4])];
    assert.deepEqual((await history(stored, [0, 0], { queries: classic }))[0]?.edges, [0.3]);
  });

  it("are refused beside classic ones, and where requests should be", async () => {
    const both = { ...SELECTED, latency: [SELECTED.latency, queries.sluice.latency] };
    const stored = [
      counter({}, [4]),
      latencies("green", [native({ 0: 4 })]),
      bucket("1", [3]),
      bucket("+Inf", [4]),
    ];
    await assert.rejects(
      history(stored, [0, 0], { queries: both }),
      (e) => SourceMalformed.is(e) && /classic buckets and as native/.test(e.message),
    );
    const wrong = { ...SELECTED, requests: SELECTED.latency };
    await assert.rejects(
      history(stored, [0, 0], { queries: wrong }),
      /native histogram, which only latencies/,
    );
  });
});
