import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { IncomingMessage, RequestListener } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tick } from "../../automation/analysis/counts";
import type { Reading } from "../../automation/core/model";
import { type PrometheusOptions, prometheus, queries } from "../../automation/metrics/prometheus";
import { SourceUnreachable } from "../../automation/metrics/scrape";
import { SourceMalformed } from "../../automation/wire/exposition";
import { BadConfig, type SluiceError } from "../../components/errors";
import { context, handle, serve, subject } from "./world";

// Answers in the forms of https://prometheus.io/docs/prometheus/latest/querying/api/; the real one is in test/e2e.

type Labels = Record<string, string>;
const about = subject({ handle: handle() });

function series(part: string, value: string | number, labels: Labels = {}) {
  return {
    metric: { slot: "green", job: "j", instance: "i", ...labels, sluice_part: part },
    value: [1700000010.5, String(value)],
  };
}
const TIME = series("time", 1700000009.123);
const HISTOGRAM = [
  series("latency", 90, { le: "0.1" }),
  series("latency", 97, { le: "1" }),
  series("latency", 100, { le: "+Inf" }),
];
const COUNTED = [
  series("requests", 95, { code: "200" }),
  series("requests", 5, { code: "500" }),
  TIME,
  series("errors", 5, { code: "500" }),
];
const WHOLE = [...COUNTED, ...HISTOGRAM];
const native = (histogram: object) => ({
  metric: { slot: "green", job: "j", instance: "i", sluice_part: "latency" },
  histogram: [1700000010.5, histogram],
});

const success = (result: unknown, more: object = {}, resultType = "vector") =>
  JSON.stringify({ status: "success", data: { resultType, result }, ...more });

function answering(body: string, status = 200): RequestListener {
  return (_, response) => void response.writeHead(status, { "content-type": "application/json" }).end(body);
}

async function read(answer: RequestListener | string, options: Partial<PrometheusOptions> = {}) {
  const server = await serve(typeof answer === "string" ? answering(answer) : answer);
  try {
    return await prometheus({ url: server.url, ...options }).read(about, context());
  } finally {
    await server.close();
  }
}

/** What is asked, and with which headers. */
async function asked(
  options: Partial<PrometheusOptions> = {},
): Promise<{ request: IncomingMessage; query: string }> {
  let seen: IncomingMessage | undefined;
  let body = "";
  await read((request, response) => {
    seen = request;
    request.on("data", (chunk) => {
      body += chunk;
    });
    request.on("end", () => response.end(success([])));
  }, options);
  return { request: seen!, query: new URLSearchParams(body).get("query") ?? "" };
}

describe("prometheus", () => {
  it("reads requests, errors and latencies per slot, at the time of the newest sample", async () => {
    assert.deepEqual(await read(success(WHOLE)), {
      at: 1700000009123,
      edges: [0.1, 1],
      slots: { green: { requests: 100, errors: 5, buckets: [90, 7, 3] } },
    });
  });

  it("sums the instances, and follows each over its restart", async () => {
    const rounds = [
      [series("requests", 1000, { instance: "a" }), series("requests", 10, { instance: "b" }), TIME],
      [series("requests", 1005, { instance: "a" }), series("requests", 2, { instance: "b" }), TIME],
    ];
    const server = await serve((_, response) => void response.end(success(rounds.shift())));
    const source = prometheus({ url: server.url });
    assert.equal((await source.read(about, context()))?.slots.green?.requests, 1010);
    assert.equal((await source.read(about, context()))?.slots.green?.requests, 1017);
    await server.close();
  });

  it("asks once, by POST, under the path prefix, with the name of the service", async () => {
    const { request, query } = await asked();
    assert.deepEqual([request.method, request.url], ["POST", "/api/v1/query"]);
    assert.match(query, /sluice_requests_total\{service="shop.prod"\}/);
    assert.match(query, /timestamp\(sluice_requests_total/);
    const server = await serve(
      (got, response) => void response.end(success(got.url === "/prefix/api/v1/query" ? WHOLE : [])),
    );
    assert.ok(await prometheus({ url: `${server.url}/prefix/` }).read(about, context()));
    await server.close();
  });

  it("knows the names of common libraries, and asks for each slot where a query names it", async () => {
    for (const preset of [queries.http, queries.openTelemetry]) {
      const { query } = await asked({ queries: preset });
      assert.match(query, /service="shop",environment="prod"/);
      assert.match(query, /=~"5\.\."/);
    }
    const own = { requests: 'x{pod=~"shop-{{slot}}-.*"}', errors: 'x{v="{{version}}"}' };
    const { query } = await asked({ queries: own });
    assert.match(query, /shop-blue-.*shop-green-/s);
    assert.deepEqual(query.match(/v="[^"]*"/g), ['v="1.2.3"'], "a slot that is empty has no version");
    const labelled = (labels: Labels) =>
      success([series("requests", 7, labels), series("time", 1700000009, labels)]);
    const told = await read(labelled({ slot: "x", sluice_part_slot: "blue" }), { queries: own });
    assert.equal(told?.slots.blue?.requests, 7);
    assert.equal((await read(labelled({ color: "blue" }), { slotLabel: "color" }))?.slots.blue?.requests, 7);
  });

  const nothing: [string, unknown[]][] = [
    ["nothing", []],
    ["errors alone", [series("errors", 5)]],
    ["another slot", [series("requests", 5, { slot: "red" })]],
    ["no slot at all", [{ metric: { sluice_part: "requests" }, value: [1, "5"] }]],
  ];
  for (const [what, result] of nothing)
    it(`has no data where it finds ${what}: not zero`, async () =>
      assert.equal(await read(success(result)), undefined));

  const malformed: [string, string][] = [
    ["a count that is NaN", success([series("requests", "NaN"), TIME])],
    ["a count that is infinite", success([series("requests", "+Inf"), TIME])],
    ["a count that is negative", success([series("requests", -1), TIME])],
    ["a count that is none", success([series("requests", "many"), TIME])],
    ["a time that is NaN", success([series("requests", 1), series("time", "NaN")])],
    ["a bucket without an edge", success([...WHOLE, series("latency", 1)])],
    ["a histogram without its last bucket", success([...WHOLE.slice(0, -1)])],
    [
      "a histogram that falls",
      success([...WHOLE.slice(0, -3), series("latency", 101, { le: "0.1" }), ...HISTOGRAM.slice(1)]),
    ],
    ["a native histogram of no number", success([...COUNTED, native({ count: "NaN", sum: "1" })])],
    ["a native histogram without a count", success([...COUNTED, native({ sum: "1" })])],
    ["native and classic histograms at once", success([...WHOLE, native({ count: "5", sum: "1" })])],
    ["a series that is there twice", success([...WHOLE, WHOLE[0]])],
    ["counts without a time", success(WHOLE.filter((one) => one !== TIME))],
    [
      "a time more than a minute ahead",
      success([...COUNTED, series("time", Date.now() / 1000 + 86_400, { instance: "k" })]),
    ],
    ["a page", "<html>Welcome</html>"],
    ["nothing", ""],
    ["half an answer", success(WHOLE).slice(0, -20)],
    ["another API", '{"ok":true}'],
    ["series without a form", success([{ name: "x" }])],
  ];
  for (const [what, body] of malformed)
    it(`refuses ${what}`, async () => assert.rejects(read(body), SourceMalformed.is));

  it("takes a time a little ahead for what it is: two clocks never quite agree", async () => {
    const soon = Math.round(Date.now() / 1000) + 20;
    const found = await read(success([series("requests", 5), series("time", soon)]));
    assert.equal(found?.at, soon * 1000);
  });

  it("takes no older sample for news, nor what is less in it for a new beginning", async () => {
    const rounds = [
      [series("requests", 1000), series("time", 1700000020)],
      [series("requests", 990), series("time", 1700000010)],
      [series("requests", 1010), series("time", 1700000030)],
    ];
    const server = await serve((_, response) => void response.end(success(rounds.shift())));
    const source = prometheus({ url: server.url });
    const [first, older, next] = [
      (await source.read(about, context()))!,
      (await source.read(about, context()))!,
      (await source.read(about, context()))!,
    ];
    assert.equal(tick(first, older, "green", undefined), undefined);
    assert.equal(tick(older, next, "green", undefined)?.canary.requests, 10);
    await server.close();
  });

  it("takes an answer that is not whole for none", async () => {
    const partial = success(WHOLE, { warnings: ["store 10.0.0.7 timed out"] });
    await assert.rejects(read(partial), (e) => SourceUnreachable.is(e) && /not whole: store/.test(e.message));
    // VictoriaMetrics says it in a field of its own.
    await assert.rejects(
      read(success(WHOLE, { isPartial: true })),
      (e) => SourceUnreachable.is(e) && /not whole/.test(e.message),
    );
    assert.ok(await read(success(WHOLE, { isPartial: false, warnings: [], infos: ["a note"] })));
  });

  it("calls the query wrong where Prometheus does, and the server unreachable where that can change", async () => {
    // Too short for another try.
    const once = { timeout: 120 };
    const failed = (status: number, errorType: string) =>
      read(answering(JSON.stringify({ status: "error", errorType, error: "parse error: no" }), status), once);
    await assert.rejects(
      failed(400, "bad_data"),
      (e) => BadConfig.is(e) && /parse error: no/.test(e.message),
    );
    await assert.rejects(failed(422, "execution"), BadConfig.is);
    await assert.rejects(
      failed(503, "timeout"),
      (e) => SourceUnreachable.is(e) && /503 \(parse error/.test(e.message),
    );
    await assert.rejects(read(success([1, "5"], {}, "scalar")), BadConfig.is);
    for (const type of ["matrix", "string", "surprise"])
      await assert.rejects(read(success([], {}, type)), (e) => BadConfig.is(e) && e.message.includes(type));
    for (const status of [204, 401, 403, 404, 429, 500, 502])
      await assert.rejects(
        read(answering(status === 204 ? "" : "no", status), once),
        SourceUnreachable.is,
        String(status),
      );
    await assert.rejects(read(answering("no", 401)), /bearer/);
  });

  describe("where an answer may be there a moment later", () => {
    /** Answers in turn, the last one for ever; with when it was asked. */
    async function turns(answers: RequestListener[], options: Partial<PrometheusOptions> = {}) {
      const times: number[] = [];
      const listener: RequestListener = (request, response) => {
        const answer = answers[Math.min(times.length, answers.length - 1)]!;
        times.push(performance.now());
        answer(request, response);
      };
      const result = await read(listener, options).catch((thrown: unknown) => thrown);
      return { result, times };
    }
    const good = answering(success(WHOLE));
    const limited = (after?: string): RequestListener => {
      return (_, response) =>
        void response.writeHead(429, after === undefined ? {} : { "retry-after": after }).end("slow down");
    };

    it("asks again: a server that is not ready, and a connection that broke", async () => {
      const broken: RequestListener = (request) => void request.socket.destroy();
      const { result, times } = await turns([answering("no", 503), broken, good]);
      assert.equal(times.length, 3);
      assert.equal((result as Reading).slots.green?.requests, 100);
    });

    it("asks three times at most, and then says what came last", async () => {
      const { result, times } = await turns([answering("no", 502)]);
      assert.equal(times.length, 3);
      assert.ok(SourceUnreachable.is(result) && /answered 502/.test(result.message));
    });

    it("waits as long as a limit asks, and never beyond the time-out", async () => {
      const waited = await turns([limited("1"), good]);
      assert.ok((waited.result as Reading).slots.green);
      assert.ok(waited.times[1]! - waited.times[0]! >= 1000);
      const soon = await turns([limited(), good]);
      assert.ok((soon.result as Reading).slots.green);
      const begun = performance.now();
      const long = await turns([limited("3600"), good]);
      assert.ok(SourceUnreachable.is(long.result) && /answered 429/.test(long.result.message));
      assert.equal(long.times.length, 1);
      assert.ok(performance.now() - begun < 4000, "and does not wait to say so");
    });

    it("asks once where another try can't help: a wrong query, credentials, a page, half an answer", async () => {
      const refusal = JSON.stringify({ status: "error", errorType: "bad_data", error: "parse error" });
      for (const answer of [
        answering(refusal, 400),
        answering("no", 401),
        answering("no", 500),
        answering("<html>Welcome</html>"),
        answering(success(WHOLE).slice(0, -20)),
        answering(success(WHOLE, { warnings: ["a store timed out"] })),
      ])
        assert.equal((await turns([answer])).times.length, 1);
    });

    it("never takes longer than the time-out, however often it asks", async () => {
      const begun = performance.now();
      const { result } = await turns([answering("no", 503), () => undefined], { timeout: 600 });
      assert.ok(SourceUnreachable.is(result) && /answered 503/.test(result.message));
      const took = performance.now() - begun;
      assert.ok(took >= 500 && took < 3000, `${took}`);
    });
  });

  describe("asked for one number", () => {
    async function value(
      answer: string | RequestListener,
      query = "x",
      about_ = subject({ handle: handle(), slot: "green" }),
    ) {
      const ctx = context();
      const server = await serve(typeof answer === "string" ? answering(answer) : answer);
      try {
        return { number: await prometheus({ url: server.url }).value!(query, about_, ctx), lines: ctx.lines };
      } finally {
        await server.close();
      }
    }
    const one = (text: string) => success([{ metric: {}, value: [1700000010, text] }]);
    const scalar = (text: string, at = 1700000010) => success([at, text], {}, "scalar");

    it("gives that of a scalar or of the only series, of any sign", async () => {
      for (const [body, number] of [
        [one("0.25"), 0.25],
        [one("-3"), -3],
        [one("0"), 0],
        [scalar("1e3"), 1000],
      ] as const)
        assert.equal((await value(body)).number, number);
    });

    it("has no data where nothing matches, nor where it is 0/0, and says so", async () => {
      assert.deepEqual(await value(success([])), { number: undefined, lines: [] });
      for (const body of [one("NaN"), scalar("NaN")]) {
        const { number, lines } = await value(body, "a/b");
        assert.equal(number, undefined);
        assert.match(lines[0]!, /NaN.*no data: a\/b/);
      }
    });

    it("refuses what is no number, and what is of the future", async () => {
      for (const text of ["+Inf", "-Inf", "many"])
        await assert.rejects(value(one(text)), SourceMalformed.is, text);
      await assert.rejects(
        value(scalar("1", Date.now() / 1000 + 120)),
        (e) => SourceMalformed.is(e) && /clock/.test(e.message),
      );
      for (const body of ["<html>", success([1], {}, "scalar"), success({}, {})])
        await assert.rejects(value(body), SourceMalformed.is);
    });

    it("calls a query wrong that gives many numbers, or none that is one", async () => {
      const many = success([1, 2].map((i) => ({ metric: { a: `${i}` }, value: [1700000010, "1"] })));
      await assert.rejects(value(many), (e) => BadConfig.is(e) && /2 series.*sum or max/.test(e.message));
      await assert.rejects(value(success([native({ count: "1", sum: "1" })])), BadConfig.is);
      for (const type of ["matrix", "string"])
        await assert.rejects(value(success([], {}, type)), BadConfig.is);
      const refusal = JSON.stringify({ status: "error", errorType: "bad_data", error: "parse error: no" });
      await assert.rejects(value(answering(refusal, 400)), BadConfig.is);
      await assert.rejects(value(one("1"), "x{a={{slot}}}"), BadConfig.is);
    });

    it("fills in the slot and the version in question, and refuses to leave a hole", async () => {
      let query = "";
      const listener: RequestListener = (request, response) => {
        let body = "";
        request.on("data", (chunk) => {
          body += chunk;
        });
        request.on("end", () => {
          query = new URLSearchParams(body).get("query") ?? "";
          response.end(one("1"));
        });
      };
      await value(listener, 'q{s="{{slot}}",v="{{version}}",n="{{name}}"}');
      assert.equal(query, 'q{s="green",v="1.2.3",n="shop.prod"}');
      const first = subject({ slot: "blue" });
      await value(listener, 'q{s="{{slot}}",v="{{version}}"}', first);
      assert.equal(query, 'q{s="blue",v="1.2.3"}');
      const nobody = subject({ slot: "blue", pin: { artifact: first.pin.artifact } });
      await assert.rejects(value(listener, 'q{v="{{version}}"}', nobody), BadConfig.is);
      await assert.rejects(value(listener, 'q{s="{{slot}}"}', subject()), BadConfig.is);
    });
  });

  it("speaks to Mimir, Thanos and VictoriaMetrics: under their path, with their headers", async () => {
    process.env.SLUICE_TEST_TOKEN = "hunter2-token";
    const seen: [string, IncomingMessage["headers"]][] = [];
    const server = await serve((request, response) => {
      seen.push([request.url ?? "", request.headers]);
      response.end(request.url?.endsWith("query_range") ? success([], {}, "matrix") : success(WHOLE));
    });
    try {
      const headers = { "X-Scope-OrgID": { text: "a|b" }, "X-Api-Key": { env: "SLUICE_TEST_TOKEN" } };
      for (const path of ["/prometheus", "/select/0/prometheus/"]) {
        const source = prometheus({ url: `${server.url}${path}`, headers });
        assert.ok(await source.read(about, context()));
        await source.history!(about, { from: 0, to: 15_000 }, context());
        await source.value!("x", about, context()).catch(() => undefined);
      }
      assert.deepEqual(
        seen.map(([path]) => path),
        ["/prometheus", "/select/0/prometheus"].flatMap((prefix) => [
          `${prefix}/api/v1/query`,
          `${prefix}/api/v1/query_range`,
          `${prefix}/api/v1/query`,
        ]),
      );
      for (const [, got] of seen)
        assert.deepEqual([got["x-scope-orgid"], got["x-api-key"]], ["a|b", "hunter2-token"]);
    } finally {
      await server.close();
      delete process.env.SLUICE_TEST_TOKEN;
    }
  });

  it("refuses headers that are none, are its own, or hold a secret in the open", async () => {
    const url = "http://127.0.0.1:1";
    for (const name of ["Content-Length", "host", "a b", ""])
      assert.throws(() => prometheus({ url, headers: { [name]: { text: "x" } } }), BadConfig.is, name);
    for (const value of [{ text: "hunter2\r\nX: y" }, "hunter2" as never])
      await assert.rejects(
        prometheus({ url, headers: { "X-Key": value } }).read(about, context()),
        (e) => BadConfig.is(e) && !/hunter2/.test(String(e)),
      );
  });

  it("follows no redirect: credentials would go along", async () => {
    let went = false;
    const other = await serve((_, response) => {
      went = true;
      response.end(success(WHOLE));
    });
    const redirect: RequestListener = (_, response) =>
      void response.writeHead(307, { location: other.url }).end();
    await assert.rejects(read(redirect), (e) => SourceUnreachable.is(e) && /no redirect/.test(e.message));
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
      (_, response) => void response.write("{", () => response.destroy()),
    ];
    for (const answer of hanging) await assert.rejects(read(answer, { timeout: 150 }), SourceUnreachable.is);
    await assert.rejects(read(hanging[0]!, { timeout: 150 }), /no answer within 150 ms/);
    await assert.rejects(
      prometheus({ url: "http://127.0.0.1:1" }).read(about, context()),
      SourceUnreachable.is,
    );
  });

  it("refuses an answer larger than its bound, while it is being sent", async () => {
    let sent = 0;
    const endless: RequestListener = (_, response) => {
      response.on("error", () => undefined);
      const more = (): void => {
        while (!response.destroyed && response.write(" ".repeat(10_000))) sent += 10_000;
        if (!response.destroyed) response.once("drain", more);
      };
      more();
    };
    await assert.rejects(read(endless, { maxBytes: 100_000 }), SourceMalformed.is);
    assert.ok(sent < 20_000_000);
  });

  it("sends credentials by reference and the tenant, and never shows them", async () => {
    process.env.SLUICE_TEST_TOKEN = "hunter2-token";
    try {
      const token = { env: "SLUICE_TEST_TOKEN" };
      const { headers } = (await asked({ bearer: token, tenant: "team-a" })).request;
      assert.deepEqual([headers.authorization, headers["x-scope-orgid"]], ["Bearer hunter2-token", "team-a"]);
      const basic = (await asked({ basic: { user: "reader", password: token } })).request.headers
        .authorization;
      assert.equal(basic, `Basic ${Buffer.from("reader:hunter2-token").toString("base64")}`);
      const refused = read(answering("no hunter2", 401), { bearer: token });
      await assert.rejects(refused, (e: SluiceError) => !/hunter2/.test(String(e)));
      await assert.rejects(read("", { bearer: { env: "SLUICE_TEST_NOTHING" } }), { code: "secret-missing" });
      await assert.rejects(
        read("", { bearer: "hunter2" as never }),
        (e) => BadConfig.is(e) && !/hunter2/.test(String(e)),
      );
    } finally {
      delete process.env.SLUICE_TEST_TOKEN;
    }
  });

  it("trusts the authority it was given, and no server without", async function () {
    if (spawnSync("sh", ["-c", "openssl version"]).status !== 0) return this.skip();
    const directory = mkdtempSync(join(tmpdir(), "sluice-ca-"));
    const [key, ca] = [join(directory, "key"), join(directory, "ca")];
    try {
      const make =
        "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -addext subjectAltName=IP:127.0.0.1";
      execFileSync("sh", ["-c", `${make} -keyout '${key}' -out '${ca}'`], { stdio: "ignore" });
      const server = createServer(
        { key: readFileSync(key), cert: readFileSync(ca) },
        answering(success(WHOLE)),
      );
      // A test that failed before its end must not keep the process.
      server.unref();
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
      await assert.rejects(
        prometheus({ url }).read(about, context()),
        (e) => SourceUnreachable.is(e) && /self-signed/.test(e.message),
      );
      assert.ok(await prometheus({ url, ca }).read(about, context()));
      await assert.rejects(
        prometheus({ url, ca: join(directory, "none") }).read(about, context()),
        BadConfig.is,
      );
      writeFileSync(ca, "no certificate");
      await assert.rejects(
        prometheus({ url, ca }).read(about, context()),
        (e) => BadConfig.is(e) || SourceUnreachable.is(e),
      );
      await new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      });
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it("refuses an address that is none, or holds a secret, as soon as the pipeline is read", () => {
    for (const url of [
      "",
      "localhost:9090",
      "file:///etc/passwd",
      "http://u:hunter2@127.0.0.1",
      "http://127.0.0.1/?token=hunter2",
    ])
      assert.throws(
        () => prometheus({ url }),
        (e) => BadConfig.is(e) && !/hunter2/.test(String(e)),
        url,
      );
    const bad = { requests: "x{a={{service}}}", errors: "x" };
    assert.throws(
      () => prometheus({ url: "http://127.0.0.1", queries: bad }),
      (e) => BadConfig.is(e) && /prometheus requests/.test(e.message),
    );
  });
});
