import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { IncomingMessage, RequestListener } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SourceMalformed } from "../../automation/analysis/exposition";
import { type PrometheusOptions, prometheus, queries } from "../../automation/metrics/prometheus";
import { SourceUnreachable } from "../../automation/metrics/scrape";
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
const WHOLE = [
  series("requests", 95, { code: "200" }),
  series("requests", 5, { code: "500" }),
  TIME,
  series("errors", 5, { code: "500" }),
  ...HISTOGRAM,
];

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
    const labelled = [series("requests", 7, { slot: "x", sluice_part_slot: "blue" }), TIME];
    assert.deepEqual((await read(success(labelled), { queries: own }))?.slots.blue?.requests, 7);
    assert.equal(
      (await read(success([series("requests", 7, { color: "blue" })]), { slotLabel: "color" }))?.slots.blue
        ?.requests,
      7,
    );
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
    [
      "a native histogram",
      success([
        {
          metric: { slot: "green", sluice_part: "latency" },
          histogram: [1, { count: "5", sum: "1", buckets: [] }],
        },
        ...WHOLE.slice(0, 3),
      ]),
    ],
    ["a page", "<html>Welcome</html>"],
    ["nothing", ""],
    ["half an answer", success(WHOLE).slice(0, -20)],
    ["another API", '{"ok":true}'],
    ["series without a form", success([{ name: "x" }])],
  ];
  for (const [what, body] of malformed)
    it(`refuses ${what}`, async () => assert.rejects(read(body), SourceMalformed.is));

  it("says of a native histogram what is needed instead", async () => {
    const body = malformed.find(([what]) => what === "a native histogram")![1];
    await assert.rejects(read(body), /classic buckets/);
  });

  it("takes an answer that is not whole for none", async () => {
    const partial = success(WHOLE, { warnings: ["store 10.0.0.7 timed out"] });
    await assert.rejects(read(partial), (e) => SourceUnreachable.is(e) && /not whole: store/.test(e.message));
  });

  it("calls the query wrong where Prometheus does, and the server unreachable where that can change", async () => {
    const failed = (status: number, errorType: string) =>
      read(answering(JSON.stringify({ status: "error", errorType, error: "parse error: no" }), status));
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
    for (const status of [204, 401, 403, 404, 429, 500, 502])
      await assert.rejects(
        read(answering(status === 204 ? "" : "no", status)),
        SourceUnreachable.is,
        String(status),
      );
    await assert.rejects(read(answering("no", 401)), /bearer/);
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
