import assert from "node:assert/strict";
import type { RequestListener } from "node:http";
import { health, smoke } from "../../automation/checks/http";
import type { Check } from "../../automation/core/ports";
import { BadConfig } from "../../components/errors";
import { context, handle, serve, subject } from "./world";

async function run(check: Check, answer: RequestListener) {
  const server = await serve(answer);
  try {
    return await check.run(subject({ url: server.url, slot: "green", handle: handle() }), context());
  } finally {
    await server.close();
  }
}

const says =
  (code: number, body = ""): RequestListener =>
  (_, response) =>
    void response.writeHead(code).end(body);

describe("health", () => {
  it("asks the path that the slot's settings name, or the one given", async () => {
    const asked: string[] = [];
    const note: RequestListener = (request, response) => {
      asked.push(request.url ?? "");
      response.end();
    };
    assert.deepEqual(await run(health(), note), { ok: true, note: "/healthz answered 200" });
    await run(health({ path: "/ready" }), note);
    assert.deepEqual(asked, ["/healthz", "/ready"]);
  });

  it("goes on asking until it is healthy", async () => {
    let times = 0;
    const result = await run(health({ every: "1ms" }), (request, response) =>
      says(++times < 4 ? 503 : 204)(request, response as never),
    );
    assert.equal(result.ok, true);
    assert.equal(times, 4);
  });

  it("fails after its attempts, with the last answer", async () => {
    assert.deepEqual(await run(health({ every: "1ms", attempts: 3 }), says(503)), {
      ok: false,
      reason: "/healthz answered 503, expected 200 to 299 (3 attempts)",
    });
    assert.equal((await run(health({ attempts: 1, status: 204 }), says(200))).ok, false);
    assert.equal((await run(health({ attempts: 1 }), says(302))).ok, false, "a redirect is no health");
  });

  it("fails where nothing answers in time, or nothing listens", async () => {
    const slow = await run(health({ attempts: 1, timeout: "100ms" }), () => undefined);
    assert.match(slow.ok ? "" : slow.reason, /no answer within 0\.1 s/);
    const half = await run(
      health({ attempts: 1, timeout: "100ms" }),
      (_, r) => void r.writeHead(200).write("x"),
    );
    assert.equal(half.ok, false);
    const cut = await run(health({ attempts: 1 }), (request) => request.socket.destroy());
    assert.match(cut.ok ? "" : cut.reason, /can't be reached/);
    const gone = await health({ attempts: 1 }).run(subject({ url: "http://127.0.0.1:1" }), context());
    assert.match(gone.ok ? "" : gone.reason, /ECONNREFUSED/);
    assert.equal((await health({ attempts: 1 }).run(subject(), context())).ok, false, "no address");
  });
});

describe("smoke", () => {
  const cases: [string, Parameters<typeof smoke>[0], RequestListener, boolean][] = [
    ["the code alone", { path: "/" }, says(200), true],
    ["another code", { path: "/" }, says(500), false],
    ["a text in the body", { path: "/", body: "total" }, says(200, "the total is 4"), true],
    ["a text that is missing", { path: "/", body: "total" }, says(200, "sum"), false],
    ["a pattern in the body", { path: "/", body: /^v\d+$/ }, says(200, "v12"), true],
    ["a pattern that is missing", { path: "/", body: /^v\d+$/ }, says(200, "version 12"), false],
    ["an error that was asked for", { path: "/x", status: 404 }, says(404), true],
    ["an answer in time", { path: "/", maxLatency: "5s" }, says(200), true],
  ];
  for (const [what, options, answer, ok] of cases)
    it(`${ok ? "passes" : "fails"} for ${what}`, async () => {
      assert.equal((await run(smoke({ ...options, attempts: 1 }), answer)).ok, ok);
    });

  it("fails an answer that took too long, its body included", async () => {
    const late: RequestListener = (_, response) => {
      response.writeHead(200).write("first");
      setTimeout(() => response.end("last"), 80);
    };
    const result = await run(smoke({ path: "/", maxLatency: "50ms", attempts: 1 }), late);
    assert.match(result.ok ? "" : result.reason, /^\/ took \d+ ms, limit 50ms$/);
  });

  it("says the same each time it is given the same pattern", async () => {
    const check = smoke({ path: "/", body: /ok/g, attempts: 1 });
    for (let i = 0; i < 3; i += 1) assert.equal((await run(check, says(200, "ok"))).ok, true);
  });

  it("reads no more of an endless body than its bound", async () => {
    const endless: RequestListener = (_, response) => {
      response.on("error", () => undefined);
      response.end(`${"x".repeat(3_000_000)}needle`);
    };
    assert.equal((await run(smoke({ path: "/", body: "needle", attempts: 1 }), endless)).ok, false);
  });

  it("refuses options that it can't read", () => {
    assert.throws(() => smoke({ path: "/", maxLatency: "soon" as never }), BadConfig.is);
    assert.throws(() => health({ attempts: 0 }), BadConfig.is);
    assert.throws(() => health({ every: "1" as never }), BadConfig.is);
  });
});
