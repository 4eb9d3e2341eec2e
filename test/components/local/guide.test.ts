import assert from "node:assert/strict";
import { createServer } from "node:http";
import fc from "fast-check";
import { SLOTS, type Slot } from "../../../components/handle";
import type { LocalOptions } from "../../../components/local/options";
import type { Route } from "../../../components/local/proxy";
import { createChooser } from "../../../components/local/split";
import { ask, dial, front, serve, tidy } from "./rig";

afterEach(tidy);

const contents = { blue: "one", green: "two" };
const ready = { blue: true, green: true };
const match = { header: "x-smoke", value: "yes" };
const COOKIE = /^sluice-slot=([0-9a-f]{16}); Path=\/; HttpOnly; SameSite=Lax$/;

/** A proxy in front of two slots that say their name, also to who asks for a WebSocket. */
async function stage(options: LocalOptions | undefined, given: Partial<Route> = {}) {
  const { proxy, port, metrics } = await front();
  const replica = (name: Slot) => {
    const server = createServer((_request, response) => void response.end(name));
    server.on("upgrade", (_request, socket) =>
      socket.end(`HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n${name}`),
    );
    return serve(server);
  };
  const both = { blue: [await replica("blue")], green: [await replica("green")] };
  const route = (change: Partial<Route>): void =>
    proxy.route({
      split: { blue: 100, green: 0 },
      live: "blue",
      options,
      ready,
      contents,
      upstreams: both,
      ...given,
      ...change,
    });
  route({});
  const get = async (headers: Record<string, string> = {}) => {
    const { status, body, headers: got } = await ask(port, { headers });
    const set = got["set-cookie"]?.[0];
    return { status, body, set, cookie: { cookie: `theme=dark; ${set?.split(";")[0]}` } };
  };
  return { proxy, port, metrics, both, route, get };
}

describe("a sticky service", () => {
  it("keeps a client on its slot while that has traffic, and sets the cookie once", async () => {
    const { get, route } = await stage({ sticky: true });
    const first = await get();
    assert.match(first.set ?? "", COOKIE);
    for (const green of [10, 50, 99]) {
      route({ split: { blue: 100 - green, green } });
      for (let i = 0; i < 10; i++) {
        const again = await get(first.cookie);
        assert.deepEqual([again.body, again.set], ["blue", undefined]);
      }
    }
  });

  it("moves everybody at once where their slot has no traffic any more, or no replica that is ready", async () => {
    const { get, route, both } = await stage({ sticky: true });
    const first = await get();
    route({ split: { blue: 0, green: 100 } });
    const moved = await get(first.cookie);
    assert.deepEqual([moved.body, COOKIE.test(moved.set ?? "")], ["green", true]);
    assert.notEqual(moved.set, first.set);
    // A divert back: the cookie of the slot that lost its traffic is worth nothing.
    route({ split: { blue: 100, green: 0 } });
    assert.equal((await get(moved.cookie)).body, "blue");
    route({ split: { blue: 1, green: 99 }, upstreams: { ...both, blue: [] } });
    const bodies = new Set<string>();
    for (let i = 0; i < 30; i++) bodies.add((await get(first.cookie)).body);
    assert.ok(bodies.has("green"));
  });

  it("honours no cookie of another release, of another slot, or made up", async () => {
    const { get, route } = await stage({ sticky: true });
    const { cookie, set } = await get();
    route({ contents: { ...contents, blue: "three" } });
    assert.notEqual((await get(cookie)).set, set);
    route({ contents: { blue: contents.green, green: contents.blue }, split: { blue: 50, green: 50 } });
    assert.ok((await get(cookie)).set);
    for (const forged of ["sluice-slot=green", "sluice-slot=", "sluice-slot", `xsluice-slot=${set}`, ";;=;"])
      assert.ok((await get({ cookie: forged })).set, forged);
  });

  it("gives new clients their slot by weight", async () => {
    const { get, route } = await stage({ sticky: true });
    route({ split: { blue: 80, green: 20 } });
    let green = 0;
    for (let i = 0; i < 1000; i++) if ((await get()).body === "green") green++;
    // |z| < 3.89 is p > 1e-4, two-sided.
    assert.ok(Math.abs(green - 200) / Math.sqrt(1000 * 0.2 * 0.8) < 3.89, `${green}`);
  });

  it("names its cookie and keeps it as long as it is told", async () => {
    const { get } = await stage({ sticky: { cookie: "s", maxAge: 60 } });
    const { set, cookie } = await get();
    assert.match(set ?? "", /^s=[0-9a-f]{16}; Path=\/; HttpOnly; SameSite=Lax; Max-Age=60$/);
    assert.equal((await get(cookie)).set, undefined);
  });

  it("gives no cookie with an answer of the proxy's own", async () => {
    const { get } = await stage({ sticky: true }, { upstreams: { blue: [], green: [] } });
    const { status, set } = await get();
    assert.deepEqual([status, set], [503, undefined]);
  });
});

describe("a header match", () => {
  const smoke = { "x-smoke": "yes" };

  it("goes to the slot that is not live, without a cookie and in no user's figures", async () => {
    const { get, metrics } = await stage({ match, sticky: true });
    const { body, set } = await get({ "X-Smoke": "yes" });
    assert.deepEqual([body, set], ["green", undefined]);
    for (const headers of [{}, { "x-smoke": "no" }, { "x-smoke": "yes, yes" }])
      assert.equal((await get(headers)).body, "blue");
    assert.deepEqual(metrics.counts("web", "green"), { requests: 0, errors: 0 });
    assert.deepEqual(metrics.counts("web", "blue"), { requests: 3, errors: 0 });
    const text = await metrics.text();
    assert.match(text, /sluice_matched_requests_total\{service="web",slot="green",code="200"\} 1/);
    assert.match(text, /duration_seconds_count\{service="web",slot="green"\} 0/);
    metrics.forget("web");
    assert.doesNotMatch(await metrics.text(), /matched_requests_total\{/);
  });

  it("follows the weights where that slot is empty or not ready as a whole, and is no user there either", async () => {
    const { get, route, both, metrics } = await stage({ match });
    route({ ready: { blue: true, green: false } });
    assert.equal((await get(smoke)).body, "blue");
    route({ upstreams: { ...both, green: [] } });
    assert.equal((await get(smoke)).body, "blue");
    assert.deepEqual(metrics.counts("web", "blue"), { requests: 0, errors: 0 });
  });

  it("follows the flip of what is live, and finds the first release where nothing is", async () => {
    const { get, route, both } = await stage({ match });
    route({ live: "green", split: { blue: 0, green: 100 } });
    assert.equal((await get(smoke)).body, "blue");
    const none = { live: undefined, split: { blue: 0, green: 0 } };
    route({ ...none, ready: { blue: false, green: true }, upstreams: { ...both, blue: [] } });
    assert.equal((await get(smoke)).body, "green");
    assert.equal((await get()).status, 503);
  });

  it("counts as in flight, so that its slot is drained of it too", async () => {
    const { proxy, get } = await stage({ match });
    const asked = get(smoke);
    while (proxy.inFlight("green") === 0) await new Promise((next) => setImmediate(next));
    await asked;
    assert.equal(proxy.inFlight("green"), 0);
  });
});

describe("every way to a slot", function () {
  this.timeout(60_000);
  const slots = <T>(of: fc.Arbitrary<T>) => fc.record({ blue: of, green: of });
  const kinds = fc.constantFrom("plain", "match", "blue", "green", "socket");

  it("never leads to one that is empty, nor by a cookie to one without traffic, nor by a match to one that is not ready", async () => {
    const { route, get, port, both, proxy } = await stage({ sticky: true, match });
    const given: Partial<Record<Slot, Record<string, string>>> = {};
    for (const slot of SLOTS) {
      route({ split: { blue: slot === "blue" ? 100 : 0, green: slot === "green" ? 100 : 0 } });
      given[slot] = (await get()).cookie;
    }
    const situation = fc.record({
      green: fc.constantFrom(0, 1, 50, 99, 100),
      live: fc.constantFrom<Slot | undefined>("blue", "green", undefined),
      filled: slots(fc.boolean()),
      ready: slots(fc.boolean()),
      kind: kinds,
    });
    await fc.assert(
      fc.asyncProperty(situation, async ({ green, live, filled, ready: whole, kind }) => {
        const split = { blue: 100 - green, green };
        const upstreams = { blue: filled.blue ? both.blue : [], green: filled.green ? both.green : [] };
        route({ split, live, upstreams, ready: whole });
        const line =
          kind === "socket" &&
          (await dial(
            port,
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
          ));
        const headers = kind === "match" ? { "x-smoke": "yes" } : kind === "plain" ? {} : given[kind as Slot];
        const body = line ? ((await line.ended).split("\r\n\r\n")[1] ?? "") : (await get(headers)).body;
        const met = SLOTS.find((slot) => slot === body);
        if (!met) return;
        assert.ok(filled[met], `${kind} met ${met}, which is empty`);
        const byMatch = kind === "match" && met !== live && whole[met];
        assert.ok(split[met] > 0 || byMatch, `${kind} met ${met} with ${split[met]} %`);
      }),
      { numRuns: 150 },
    );
    for (const slot of SLOTS) assert.equal(proxy.inFlight(slot), 0);
  });

  it("leaves the weights exactly as they are where the service wants neither cookie nor match", async () => {
    const seed = 7;
    const { get } = await stage(undefined, { split: { blue: 70, green: 30 } });
    const choose = createChooser(seed);
    for (let i = 0; i < 200; i++) assert.equal((await get()).body, choose({ blue: 70, green: 30 }));
  });
});
