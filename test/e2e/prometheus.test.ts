import assert from "node:assert/strict";
import { tick } from "../../automation/analysis/counts";
import type { Reading } from "../../automation/core/model";
import type { Subject } from "../../automation/core/ports";
import { prometheus, queries } from "../../automation/metrics/prometheus";
import { SourceUnreachable, scrape } from "../../automation/metrics/scrape";
import { NATIVE_EDGES } from "../../automation/wire/native";
import { BadConfig } from "../../components/errors";
import type { Client } from "../../components/local/client";
import { openStage, type Stage, until } from "../components/local/stage";
import { context, handle, serve, subject } from "../contract/world";
import { findPrometheus, type Running, startPrometheus } from "../support/prometheus";
import { exposing } from "../support/protobuf";

const NAME = "shop.prod";
const fence = { run: "run-1", token: 5 };
/** A release that fails one request in three. */
const FAILING = `let n = 0; require("node:http").createServer((_, r) => { if (n++ % 3 === 2 && _.url === "/") r.statusCode = 500;
  r.end("x"); }).listen(Number(process.env.PORT), "127.0.0.1")`;

describe("prometheus, with a real one that scrapes the supervisor", function () {
  this.timeout(60_000);
  let stage: Stage;
  let client: Client;
  let server: Running;
  let about: Subject;
  let url: string;

  before(async function () {
    const found = findPrometheus();
    if ("reason" in found) {
      process.stderr.write(`    ${found.reason}\n`);
      return this.skip();
    }
    stage = openStage();
    client = await stage.connect();
    await client.fill(NAME, "blue", await stage.fill("one"), { fence });
    const failing = await stage.fill("two", { arguments: ["node", "-e", FAILING], health: "/healthz" });
    await client.fill(NAME, "green", failing, { fence });
    for (const slot of ["blue", "green"] as const)
      assert.deepEqual(await client.ready(NAME, slot, 15), { ready: true });
    await client.route(NAME, { split: { blue: 60, green: 40 }, live: "blue", fence });
    url = (await until(() => client.service(NAME))).url;
    server = await startPrometheus(found.binary, [new URL((await client.info()).metrics).host]);
    about = subject({ handle: handle(stage.directory) });
  });

  after(async () => {
    await server?.stop();
    await stage?.close();
  });

  const users = async (requests: number) => {
    for (let i = 0; i < requests; i++) await (await fetch(url)).text();
  };
  const counted = (reading: Reading | undefined) =>
    (reading?.slots.blue?.requests ?? 0) + (reading?.slots.green?.requests ?? 0);

  it("counts what scrape counts, once the scrape is in, and sees the canary's errors", async () => {
    const source = prometheus({ url: server.url });
    const first = await until(async () => source.read(about, context()));
    await users(60);
    const now = (await scrape().read(about, context()))!;
    assert.equal(counted(now) - counted(first), 60);
    const seen = await until(async () => {
      const reading = await source.read(about, context());
      return counted(reading) === counted(now) && reading;
    });
    assert.deepEqual([seen.edges, seen.slots], [now.edges, now.slots]);
    const made = tick(first, seen, "green", "blue")!;
    assert.ok(made.canary.errors > 0 && made.canary.errors < made.canary.requests, JSON.stringify(made));
    assert.equal(made.baseline?.errors, 0);
    assert.equal(
      made.canary.buckets.reduce((a, b) => a + b),
      made.canary.requests,
    );
    assert.ok(Math.abs(seen.at - Date.now()) < 10_000);
  });

  it("remembers what it read: a history that ends where a reading is", async () => {
    const source = prometheus({ url: server.url });
    await users(20);
    const now = (await scrape().read(about, context()))!;
    const seen = await until(async () => {
      const reading = await source.read(about, context());
      return counted(reading) === counted(now) && reading;
    });
    const to = Date.now();
    const readings = await source.history!(about, { from: to - 3_600_000, to }, context());
    const last = readings.at(-1)!;
    assert.deepEqual([last.edges, last.slots], [seen.edges, seen.slots]);
    assert.ok(last.at >= seen.at && last.at <= to);
    const long = { from: to - 86_400_000, to: to - 3_600_000 };
    assert.deepEqual(await source.history!(about, long, context()), [], "from before there was any");
  });

  it("gives one number of a query of one's own, and none where there is none", async () => {
    const source = prometheus({ url: server.url });
    const green = { ...about, slot: "green" as const };
    const own = (query: string) => source.value!(query, green, context());
    const reading = (await source.read(about, context()))!;
    const sum = 'sum(sluice_requests_total{service="{{name}}",slot="{{slot}}"})';
    assert.equal(await own(sum), reading.slots.green?.requests);
    assert.equal(await own("scalar(vector(2)) * 3"), 6);
    assert.equal(await own("vector(0) / 0"), undefined);
    assert.equal(await own('sum(nothing{service="{{name}}"})'), undefined);
    for (const [query, text] of [
      ["sluice_requests_total", /series where one number is wanted/],
      ["sluice_requests_total[5m]", /gives a matrix/],
      ['"text"', /gives a string/],
      ["sum(", /refuses the query/],
    ] as const)
      await assert.rejects(own(query), (e) => BadConfig.is(e) && text.test(e.message), query);
  });

  it("is of one piece while requests are being made", async () => {
    const source = prometheus({ url: server.url });
    let on = true;
    const traffic = Promise.all(
      [1, 2, 3].map(async () => {
        while (on) await users(1);
      }),
    );
    let before = await until(async () => source.read(about, context()));
    const ticks = [];
    while (ticks.length < 8) {
      const after = await until(async () => source.read(about, context()));
      const made = tick(before, after, "green", "blue");
      if (!made) continue;
      ticks.push(made);
      before = after;
      // Requests and latencies are two metrics: of two scrapes, they would not agree.
      for (const counts of [made.canary, made.baseline!])
        assert.equal(
          counts.buckets.reduce((a, b) => a + b),
          counts.requests,
        );
    }
    on = false;
    await traffic;
    assert.ok(ticks.some(({ canary }) => canary.requests > 0));
  });

  it("says at a ping what was asked and what came, and refuses a query that nobody can answer", async () => {
    const ctx = context();
    await prometheus({ url: server.url }).ping(about, ctx);
    assert.match(ctx.lines[0]!, /\d series for requests: sluice_requests_total\{service="shop.prod"\}/);
    const wrong: [string, RegExp][] = [
      ["sluice_requests_total{", /refuses the query.*parse error/s],
      ["no_such_function(x)", /unknown function/],
      ["sluice_requests_total[5m]", /gives a matrix/],
      ["1", /gives a scalar/],
      ["sluice_requests_total * on(service) group_left sluice_in_flight", /refuses the query/],
    ];
    for (const [requests, text] of wrong) {
      const source = prometheus({ url: server.url, queries: { requests, errors: "x" } });
      await assert.rejects(
        source.ping(about, context()),
        (e) => BadConfig.is(e) && text.test(e.message),
        requests,
      );
      await assert.rejects(source.read(about, context()), (e) => BadConfig.is(e), requests);
    }
  });

  it("takes queries that ask for each slot, end in a comment, or hold a name that means harm", async () => {
    const requests = 'sluice_requests_total{slot=~"{{slot}}",service="{{name}}"} # of one slot';
    const source = prometheus({ url: server.url, queries: { requests, errors: `${requests}\n` } });
    const plain = await until(async () => prometheus({ url: server.url }).read(about, context()));
    assert.equal(counted(await source.read(about, context())), counted(plain));
    const evil = '"} or {__name__=~".+"} #\\';
    const harmed = { ...about, handle: { ...about.handle!, local: { ...about.handle!.local!, name: evil } } };
    for (const quoted of [
      'x{service="{{name}}"}',
      "x{service='{{name}}'}",
      'x{service=~"{{name}}"}',
      'x{service!~"a",service=~ "{{name}}|y"}',
    ]) {
      const asked = prometheus({ url: server.url, queries: { requests: quoted, errors: quoted } });
      await asked.ping(harmed, context());
      assert.equal(await asked.read(harmed, context()), undefined);
    }
  });

  it("has no data of a service that nobody scrapes: not zero", async () => {
    const other = subject({ target: "other.prod", service: "other" });
    assert.equal(await prometheus({ url: server.url }).read(other, context()), undefined);
  });

  it("has no data once the scraped target is down, and none new from a sample that was read before", async () => {
    const source = prometheus({ url: server.url });
    const before = await until(async () => source.read(about, context()));
    // The same evaluation over the same sample is no second tick.
    assert.equal(tick(before, before, "green", "blue"), undefined);
    await client.stop();
    await until(async () => (await source.read(about, context())) === undefined);
    await server.stop();
    await assert.rejects(source.read(about, context()), SourceUnreachable.is);
    await assert.rejects(source.ping(about, context()), SourceUnreachable.is);
  });
});

describe("prometheus, with a real one that has native histograms", function () {
  this.timeout(60_000);

  it("reads them at fixed edges, now and of the past", async function () {
    const found = findPrometheus();
    if ("reason" in found) {
      process.stderr.write(`    ${found.reason}\n`);
      return this.skip();
    }
    const slow: Record<number, number> = { [-24]: 90, [-8]: 9, 0: 1 };
    const own = (slot: string) => ({ service: "shop.prod", slot });
    const page = await serve(
      exposing(() => [
        { name: "sluice_requests_total", labels: { ...own("green"), code: "200" }, value: 100 },
        { name: "sluice_request_duration_seconds", labels: own("green"), value: slow },
      ]),
    );
    const server = await startPrometheus(
      found.binary,
      [new URL(page.url).host],
      ["--enable-feature=native-histograms"],
    );
    try {
      const latency = 'sluice_request_duration_seconds{service="{{name}}"}';
      const source = prometheus({ url: server.url, queries: { ...queries.sluice, latency } });
      const about = subject({ handle: handle() });
      const read = () => until(async () => source.read(about, context()));
      const first = await read();
      assert.deepEqual(first.edges, NATIVE_EDGES);
      const at = (edge: number) => first.slots.green?.buckets[NATIVE_EDGES.indexOf(edge)];
      // Index -24 ends at 2^-3, -8 at 2^-1, and 0 at 1 s.
      assert.deepEqual([at(0.125), at(0.5), at(1)], [90, 9, 1]);
      assert.equal(first.slots.green?.requests, 100);
      const to = Date.now();
      const past = await source.history!(about, { from: to - 60_000, to }, context());
      assert.deepEqual(past.at(-1)?.slots, first.slots);
      await source.ping(about, context());
    } finally {
      await server.stop();
      await page.close();
    }
  });
});
