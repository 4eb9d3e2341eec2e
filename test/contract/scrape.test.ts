import assert from "node:assert/strict";
import type { RequestListener } from "node:http";
import { type AddressInfo, createServer, type Server } from "node:net";
import { type ScrapeOptions, SourceUnreachable, scrape } from "../../automation/metrics/scrape";
import { SourceMalformed } from "../../automation/wire/exposition";
import { BadConfig } from "../../components/errors";
import { createMetrics } from "../../components/local/metrics";
import { openStage, type Stage, until } from "../components/local/stage";
import { context, handle, serve, subject } from "./world";

const LABELS = 'service="shop.prod",slot="green"';
const HISTOGRAM = `sluice_request_duration_seconds_bucket{${LABELS},le="0.1"} 90
sluice_request_duration_seconds_bucket{${LABELS},le="1"} 97
sluice_request_duration_seconds_bucket{${LABELS},le="+Inf"} 100
sluice_request_duration_seconds_count{${LABELS}} 100
`;
const REQUESTS = `sluice_requests_total{${LABELS},code="200"} 80
sluice_requests_total{${LABELS},code="404"} 15
sluice_requests_total{${LABELS},code="500"} 3
sluice_requests_total{${LABELS},code="503"} 2
`;

async function read(answer: RequestListener | string, options: ScrapeOptions = {}) {
  const server = await serve(
    typeof answer === "string"
      ? (_, response) => {
          response.writeHead(200, { "content-type": "text/plain; version=0.0.4" }).end(answer);
        }
      : answer,
  );
  try {
    const source = scrape({ url: `${server.url}/metrics`, ...options });
    return await source.read(subject({ handle: handle() }), { ...context(), now: () => 1234 });
  } finally {
    await server.close();
  }
}

describe("scrape", () => {
  it("reads requests, 5xx as errors, and latencies per bucket of each slot", async () => {
    assert.deepEqual(await read(`# TYPE x counter\n${REQUESTS}${HISTOGRAM}`), {
      at: 1234,
      edges: [0.1, 1],
      slots: { green: { requests: 100, errors: 5, buckets: [90, 7, 3] } },
    });
  });

  it("sums series that differ in other labels, and reads both slots", async () => {
    const blue = (REQUESTS + HISTOGRAM).replaceAll("green", "blue");
    const more = (REQUESTS + HISTOGRAM).replaceAll('slot="green"', 'slot="green",replica="2"');
    assert.deepEqual((await read(REQUESTS + HISTOGRAM + blue + more))?.slots, {
      green: { requests: 200, errors: 10, buckets: [180, 14, 6] },
      blue: { requests: 100, errors: 5, buckets: [90, 7, 3] },
    });
  });

  it("leaves other services and other metrics out, even where they are NaN", async () => {
    const other = REQUESTS.replaceAll("shop.prod", "shop.staging");
    const text = `${REQUESTS}${HISTOGRAM}${other}process_x NaN\nsluice_requests_total{service="z",slot="green",code="200"} NaN\n`;
    assert.equal((await read(text))?.slots.green?.requests, 100);
  });

  it("reads what the local platform serves", async () => {
    const metrics = createMetrics();
    for (const code of [200, 200, 404, 502]) metrics.meter("shop.prod", "green").done(code, 0.02);
    metrics.meter("shop.prod", "blue");
    const made = await read(await metrics.text());
    assert.equal(made?.slots.green?.requests, 4);
    assert.equal(made?.slots.green?.errors, 1);
    assert.equal(made?.slots.green?.buckets[made.edges.findIndex((edge) => edge >= 0.02)], 4);
    assert.equal(made?.slots.blue?.requests, 0, "a slot that waits for its first request has none");
  });

  it("takes names and service from its options", async () => {
    const text = (REQUESTS + HISTOGRAM)
      .replaceAll("sluice_request", "http_request")
      .replaceAll("shop.prod", "other");
    const options = {
      requests: "http_requests_total",
      duration: "http_request_duration_seconds",
      service: () => "other",
    };
    assert.equal((await read(text, options))?.slots.green?.errors, 5);
  });

  it("has counts without latencies where there is no histogram", async () => {
    assert.deepEqual(await read(REQUESTS), {
      at: 1234,
      edges: [],
      slots: { green: { requests: 100, errors: 5, buckets: [0] } },
    });
  });

  const nothing: [string, string][] = [
    ["an empty page", ""],
    ["a page of comments", "# nothing\n"],
    ["a page without the service", REQUESTS.replaceAll("shop.prod", "cart.prod")],
    ["a page without a slot of ours", REQUESTS.replaceAll("green", "red")],
  ];
  for (const [what, text] of nothing)
    it(`has no data in ${what}: not zero`, async () => assert.equal(await read(text), undefined));

  const malformed: [string, string][] = [
    ["HTML with code 200", "<!DOCTYPE html>\n<html><body>Welcome</body></html>\n"],
    ["JSON", '{"ok":true}\n'],
    ["a text cut in a number", REQUESTS.slice(0, -2)],
    ["a histogram cut between two lines", `${REQUESTS + HISTOGRAM.split("\n").slice(0, 2).join("\n")}\n`],
    ["a histogram that lacks its count", REQUESTS + HISTOGRAM.replace(/.*_count.*\n/, "")],
    ["a histogram that falls", REQUESTS + HISTOGRAM.replace("} 97", "} 80")],
    ["an edge that is no number", REQUESTS + HISTOGRAM.replace('le="0.1"', 'le="fast"')],
    ["a series twice", REQUESTS + REQUESTS],
    ["a counter that is NaN", REQUESTS.replace(" 80", " NaN")],
    ["a counter that is negative", REQUESTS.replace(" 80", " -80")],
    ["a counter that is infinite", REQUESTS.replace(" 80", " +Inf")],
    ["a bucket that is NaN", REQUESTS + HISTOGRAM.replace(" 90", " NaN")],
    ["a counter without codes", 'sluice_requests_total{service="shop.prod",slot="green"} 5\n'],
  ];
  for (const [what, text] of malformed)
    it(`refuses ${what}`, async () => assert.rejects(read(text), SourceMalformed.is));

  it("leaves the latencies out where the slots have different buckets, and keeps the rest", async () => {
    const other = HISTOGRAM.replaceAll("green", "blue").replace('le="0.1"', 'le="0.2"');
    const made = await read(REQUESTS + HISTOGRAM + other);
    assert.deepEqual(made?.edges, []);
    assert.ok(
      Object.values(made?.slots ?? {}).every((slot) => slot.requests > 0 && slot.buckets.length === 1),
    );
  });

  it("refuses a page larger than its bound, while it is being sent", async () => {
    let sent = 0;
    const endless: RequestListener = (_, response) => {
      response.on("error", () => undefined);
      const more = (): void => {
        while (!response.destroyed && response.write(`${"# ".padEnd(10_000, "x")}\n`)) sent += 10_000;
        if (!response.destroyed) response.once("drain", more);
      };
      more();
    };
    await assert.rejects(read(endless, { maxBytes: 100_000 }), SourceMalformed.is);
    assert.ok(sent < 20_000_000);
  });

  it("calls a server unreachable that hangs, before its answer or in it", async () => {
    const hanging: RequestListener[] = [
      () => undefined,
      (_, response) => void response.writeHead(200).write(REQUESTS),
      (_, response) => {
        const timer = setInterval(() => response.write("# still here\n"), 20);
        response.on("close", () => clearInterval(timer));
      },
    ];
    for (const answer of hanging) await assert.rejects(read(answer, { timeout: 150 }), SourceUnreachable.is);
  });

  it("calls a server unreachable that answers something else than 200", async () => {
    for (const code of [204, 302, 401, 404, 500, 503]) {
      const answer: RequestListener = (_, response) =>
        void response.writeHead(code).end(code === 204 ? "" : REQUESTS);
      await assert.rejects(read(answer), SourceUnreachable.is, String(code));
    }
  });

  it("calls a server unreachable that breaks off, is no HTTP, or is not there", async () => {
    const torn: RequestListener = (_, response) => {
      response.writeHead(200, { "content-length": "100000" });
      response.write(REQUESTS, () => response.destroy());
    };
    const chunked: RequestListener = (_, response) => void response.write(REQUESTS, () => response.destroy());
    await assert.rejects(read(torn), SourceUnreachable.is);
    await assert.rejects(read(chunked), SourceUnreachable.is);
    const raw: Server = createServer((socket) => socket.resume().end("220 mail.example.org ready\r\n"));
    await new Promise<void>((resolve) => raw.listen(0, "127.0.0.1", resolve));
    const { port } = raw.address() as AddressInfo;
    const source = scrape({ url: `http://127.0.0.1:${port}/` });
    await assert.rejects(source.ping(subject(), context()), SourceUnreachable.is);
    await new Promise((resolve) => raw.close(resolve));
    await assert.rejects(source.ping(subject(), context()), SourceUnreachable.is);
  });

  it("never shows the password in its address", async () => {
    const source = scrape({ url: "http://reader:hunter22@127.0.0.1:1/metrics?token=hunter33" });
    await assert.rejects(source.ping(subject(), context()), (thrown) => !/hunter/.test(String(thrown)));
  });

  it("refuses an address that is none", async () => {
    for (const url of ["", "localhost:9090", "file:///etc/passwd", "unix:/x"])
      await assert.rejects(scrape({ url }).ping(subject(), context()), BadConfig.is, url);
  });

  it("says what it lacks where the address must be asked for and nobody knows it", async () => {
    await assert.rejects(scrape().ping(subject(), context()), BadConfig.is);
    await assert.rejects(
      scrape().ping(subject({ handle: handle("/nonexistent/sluice") }), context()),
      SourceUnreachable.is,
    );
  });

  it("knows no past and pushes nothing where the page is somebody else's", () => {
    for (const url of ["http://127.0.0.1:9090/metrics", async () => "http://127.0.0.1:9090/metrics"]) {
      const source = scrape({ url });
      assert.ok(!("history" in source) && !("stir" in source));
    }
  });
});

describe("scrape on the local platform", function () {
  this.timeout(60_000);
  const NAME = "shop.prod";
  const fence = { run: "run-1", token: 1 };
  const source = scrape();
  const [history, stir] = [source.history!, source.stir!];
  let stage: Stage;
  let client: Awaited<ReturnType<Stage["connect"]>>;
  let url: string;
  const about = () => subject({ handle: handle(stage.directory), slot: "green" });
  const ask = async (where: string): Promise<number> => {
    const response = await fetch(url + where, { headers: { connection: "close" } });
    await response.arrayBuffer();
    return response.status;
  };
  const read = () => until(() => source.read(about(), context()));
  const everything = () => ({ from: Date.now() - 900_000, to: Date.now() + 1000 });

  // A real supervisor with one service, whose green slot answers 500 to all but its health check.
  beforeEach(async () => {
    stage = openStage({ SLUICE_HISTORY_MS: "50" });
    client = await stage.connect();
    const code = `require("node:http").createServer((request, response) => {
      response.writeHead(request.url === "/" ? 200 : 500).end();
    }).listen(Number(process.env.PORT), "127.0.0.1");`;
    const fill = await stage.fill("one", { arguments: ["node", "-e", code] });
    await client.fill(NAME, "green", fill, { fence });
    await client.ready(NAME, "green", 15);
    ({ url } = await client.route(NAME, { split: { blue: 0, green: 100 }, live: "green", fence }));
  });
  afterEach(() => stage.close());

  it("has a past that says what the page said", async () => {
    for (const where of ["/", "/broken", "/"]) await ask(where);
    const seen = await read();
    const past = await until(async () => {
      const all = await history(about(), everything(), context());
      return all.at(-1)?.slots.green?.requests === 3 && all;
    });
    const last = past.at(-1)!;
    assert.deepEqual({ ...last, at: 0 }, { ...seen, at: 0 });
    assert.ok(past.every(({ at }, i) => i === 0 || at > past[i - 1]!.at));
  });

  it("gives of the past what was asked for, both ends included", async () => {
    const all = await until(async () => {
      const found = await history(about(), everything(), context());
      return found.length >= 4 && found;
    });
    const [from, to] = [all[1]!.at, all[2]!.at];
    const times = async (span: { from: number; to: number }, now = Date.now()) =>
      (await history(about(), span, { ...context(), now: () => now })).map(({ at }) => at);
    assert.deepEqual(await times({ from, to }), [from, to]);
    assert.deepEqual(await times({ from: to, to: from }), []);
    assert.deepEqual(await times({ from: Date.now() + 60_000, to: Date.now() + 90_000 }), []);
    // Longer ago than the supervisor can be asked for: what there is of it.
    assert.deepEqual(
      await times({ from: 0, to }),
      all.slice(0, 3).map(({ at }) => at),
    );
  });

  it("resolves as soon as its slot answers with an error that the reading does not have", async () => {
    await ask("/broken");
    const last = await read();
    let stirred = false;
    const stirs = stir(about(), last, context()).then(() => {
      stirred = true;
    });
    // It was asked for before these, and so would have resolved before them.
    assert.equal(await ask("/"), 200);
    await read();
    assert.equal(stirred, false);
    await ask("/broken");
    await stirs;
    assert.equal((await read()).slots.green?.errors, 2);
  });

  it("resolves at once where there is news already, a reset too", async () => {
    await ask("/broken");
    const last = await read();
    await stir(about(), { ...last, slots: {} }, context());
    const { pid } = await client.info();
    process.kill(pid, "SIGKILL");
    // Whoever steers the platform brings the supervisor back; the source itself does not.
    await until(async () => (await client.info()).pid !== pid);
    await stir(about(), last, context());
  });

  it("stops waiting when its signal fires, for the reason it gives", async () => {
    const last = await read();
    const ctx = context();
    const stirs = assert.rejects(stir(about(), last, ctx), /aborted by the test/);
    // It takes longer than to begin the wait, which was begun before it.
    await read();
    ctx.abort();
    await stirs;
    await assert.rejects(stir(about(), last, ctx), /aborted by the test/);
    await assert.rejects(stir({ ...about(), slot: undefined }, last, ctx));
  });

  it("waits for many targets under one signal without a warning of a leak", async () => {
    const warnings: string[] = [];
    const warned = (warning: Error): void => void warnings.push(warning.name);
    process.on("warning", warned);
    const ctx = context();
    const last = await read();
    const stirs = Promise.allSettled(Array.from({ length: 30 }, () => stir(about(), last, ctx)));
    await ask("/broken");
    assert.ok((await stirs).every(({ status }) => status === "fulfilled"));
    await new Promise(setImmediate);
    process.off("warning", warned);
    assert.deepEqual(warnings, []);
  });

  it("knows no past of a service that the supervisor does not know, and waits for none", async () => {
    const other = { ...about(), target: "cart.prod", handle: { ...handle(stage.directory) } };
    other.handle.local = { ...other.handle.local!, name: "cart.prod" };
    assert.deepEqual(await history(other, everything(), context()), []);
    await assert.rejects(stir(other, await read(), context()), SourceUnreachable.is);
  });

  it("is unreachable where no supervisor runs, and starts none", async () => {
    const last = await read();
    const stirs = assert.rejects(stir(about(), last, context()), SourceUnreachable.is);
    await client.stop();
    await stirs;
    await assert.rejects(stir(about(), last, context()), SourceUnreachable.is);
    await assert.rejects(history(about(), everything(), context()), SourceUnreachable.is);
    await assert.rejects(source.ping(about(), context()), SourceUnreachable.is);
  });

  it("says what it lacks where the service is on another platform", async () => {
    const elsewhere = subject({ slot: "green" });
    await assert.rejects(history(elsewhere, everything(), context()), BadConfig.is);
    await assert.rejects(stir(elsewhere, await read(), context()), BadConfig.is);
  });
});
