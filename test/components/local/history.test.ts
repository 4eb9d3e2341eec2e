import assert from "node:assert/strict";
import fc from "fast-check";
import { createHistory } from "../../../components/local/history";
import { createMetrics, LATENCY_EDGES } from "../../../components/local/metrics";
import { held } from "./rig";

const NAME = "web.test";

/** A history and the metrics under it, with a reading each 5 s. */
function open() {
  const metrics = createMetrics();
  const history = createHistory(metrics);
  let at = 1_000_000;
  const record = (names = [NAME]): number => {
    at += 5000;
    history.record(names, at);
    return at;
  };
  return { metrics, history, record, all: (name = NAME) => history.since(name, 0) };
}

/** Bytes held once what other tests left is collected, which takes the collector more than one round. */
function settled(): number {
  for (let before = held(); ; ) {
    const now = held();
    if (now === before) return now;
    before = now;
  }
}

describe("the history", () => {
  it("gives what was counted at each reading, oldest first", () => {
    const { metrics, record, all } = open();
    const blue = metrics.meter(NAME, "blue");
    metrics.meter(NAME, "green");
    const seen = [[] as number[], [500], [200, 503]].map((codes) => {
      for (const code of codes) blue.done(code, 0.02);
      return record();
    });
    const slow = LATENCY_EDGES.findIndex((edge) => edge >= 0.02);
    const buckets = (count: number) =>
      Array.from({ length: LATENCY_EDGES.length + 1 }, (_, i) => (i === slow ? count : 0));
    const green = { requests: 0, errors: 0, buckets: buckets(0) };
    assert.deepEqual(all(), [
      { at: seen[0], edges: LATENCY_EDGES, slots: { blue: green, green } },
      {
        at: seen[1],
        edges: LATENCY_EDGES,
        slots: { blue: { requests: 1, errors: 1, buckets: buckets(1) }, green },
      },
      {
        at: seen[2],
        edges: LATENCY_EDGES,
        slots: { blue: { requests: 3, errors: 2, buckets: buckets(3) }, green },
      },
    ]);
  });

  it("holds at least a quarter of an hour, and no more than a bit beyond, however long it goes on", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 900 }), (count) => {
        const { metrics, record, all } = open();
        const blue = metrics.meter(NAME, "blue");
        let last = 0;
        for (let i = 0; i < count; i++) {
          blue.done(200, 0.001);
          last = record();
        }
        const made = all();
        const kept = Math.min(count, 192);
        assert.equal(made.length, kept);
        assert.ok(count <= 181 || last - made[0]!.at >= 900_000);
        made.forEach(({ at, slots }, i) => {
          assert.equal(at, last - (kept - 1 - i) * 5000);
          assert.equal(slots.blue?.requests, count - (kept - 1 - i));
        });
      }),
      { numRuns: 30 },
    );
  });

  it("gives no reading that is older than was asked for", () => {
    const { metrics, history, record } = open();
    metrics.meter(NAME, "blue");
    const times = Array.from({ length: 10 }, () => record());
    const since = (from: number) => history.since(NAME, from).map(({ at }) => at);
    assert.deepEqual(since(times[6]!), times.slice(6));
    assert.deepEqual(since(times[6]! + 1), times.slice(7));
    assert.deepEqual(since(times[9]! + 1), []);
  });

  it("leaves a slot out that was not counted, and a service of which nothing was: not zeros", () => {
    const { metrics, record, all } = open();
    record();
    assert.deepEqual(all(), []);
    metrics.meter(NAME, "green");
    record();
    metrics.meter(NAME, "blue");
    record();
    assert.deepEqual(
      all().map(({ slots }) => Object.keys(slots)),
      [["green"], ["blue", "green"]],
    );
  });

  it("leaves nothing of the slot that a row held before, a lap earlier", () => {
    const { metrics, record, all } = open();
    metrics.begin(NAME, "blue")(200);
    for (let i = 0; i < 192; i++) record();
    metrics.forget(NAME);
    metrics.begin(NAME, "green")(200);
    record();
    assert.deepEqual(Object.keys(all().at(-1)!.slots), ["green"]);
  });

  it("forgets a service that is removed, and one of the same name begins anew", () => {
    const { metrics, history, record, all } = open();
    for (const name of [NAME, "api.test"]) metrics.meter(name, "blue");
    record([NAME, "api.test"]);
    history.forget(NAME);
    assert.deepEqual(all(), []);
    assert.equal(all("api.test").length, 1);
    record([NAME, "api.test"]);
    assert.equal(all().length, 1);
  });

  it("forgets what it is no longer told of", () => {
    const { metrics, record, all } = open();
    metrics.meter(NAME, "blue");
    record();
    record([]);
    assert.deepEqual(all(), []);
  });

  it("begins anew where the clock was set back: its times only grow", () => {
    const { metrics, history } = open();
    metrics.meter(NAME, "blue");
    for (const at of [1000, 2000, 1500, 1500, 1600]) history.record([NAME], at);
    assert.deepEqual(
      history.since(NAME, 0).map(({ at }) => at),
      [1500, 1600],
    );
  });

  it("gives copies: what is counted later changes no reading that was given", () => {
    const { metrics, record, all } = open();
    metrics.begin(NAME, "blue")(200);
    record();
    const given = all();
    const before = structuredClone(given);
    metrics.begin(NAME, "blue")(500);
    for (let i = 0; i < 200; i++) record();
    assert.deepEqual(given, before);
  });

  it("takes 90,624 bytes for a service, from its first reading on", () => {
    const { metrics, history } = open();
    const names = Array.from({ length: 100 }, (_, i) => `web-${i}`);
    for (const name of names) metrics.meter(name, "blue");
    const before = settled();
    history.record(names, 1);
    const first = (settled() - before) / names.length;
    assert.ok(Math.abs(first - 90_624) < 1000, `${first} bytes`);
    for (let at = 2; at < 500; at++) history.record(names, at);
    const later = (settled() - before) / names.length;
    assert.ok(Math.abs(later - 90_624) < 1000, `${later} bytes`);
    assert.equal(history.since("web-99", 0).length, 192);
  });
});
