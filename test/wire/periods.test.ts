import assert from "node:assert/strict";
import type { Context } from "../../automation/core/ports";
import { completed, counters } from "../../automation/wire/counters";
import type { Span, Sum } from "../../automation/wire/periods";
import { fill } from "../../automation/wire/placeholders";
import { context, subject } from "../contract/world";

const LENGTH = 60_000;
const LAG = 30_000;
const T = 1_800_000_000_000;

/** A service that answers with what `sums` gives; `spans` is what it was asked for. */
function service(sums: (span: Span) => Sum[]) {
  const spans: [from: number, to: number][] = [];
  const made = counters({
    where: "a service",
    length: LENGTH,
    lag: LAG,
    slots: () => ["blue", "green"],
    bad: (why) => new Error(why),
    async sums(_, span) {
      spans.push([(span.from - T) / LENGTH, (span.to - T) / LENGTH]);
      return sums(span);
    },
  });
  const read = (seconds: number) => made.read(subject(), at(seconds));
  return { ...made, read, spans };
}
const at = (seconds: number): Context => ({ ...context(), now: () => T + seconds * 1000 });

function sum(period: number, value: number, kind: Sum["kind"] = "requests", slot: Sum["slot"] = "blue"): Sum {
  return { slot, kind, from: T + period * LENGTH, value };
}

describe("Sums per period", () => {
  it("are asked for once they are over, and the last two once more", async () => {
    const { read, spans } = service(() => [sum(-1, 5)]);
    for (const seconds of [30, 60, 89]) await read(seconds);
    assert.deepEqual(spans, [[-5, 0]]);
    for (const seconds of [90, 91, 149]) await read(seconds);
    assert.deepEqual(spans.slice(1), [[0, 1]]);
    for (const seconds of [150, 330]) await read(seconds);
    assert.deepEqual(spans.slice(2), [
      [0, 2],
      [0, 5],
    ]);
    await read(390);
    assert.deepEqual(spans.at(-1), [3, 6]);
  });

  it("are lost by no failure: what was not read is asked for again", async () => {
    let fails = false;
    const { read } = service(() => {
      if (fails) throw new Error("down");
      return [sum(0, 10), sum(1, 20), sum(2, 40)];
    });
    assert.equal((await read(150))?.at, T + 2 * LENGTH);
    fails = true;
    await assert.rejects(read(210), /down/);
    await assert.rejects(read(270), /down/);
    fails = false;
    assert.equal((await read(270))?.slots.blue?.requests, 40);
  });

  it("that shrink make no counter fall, and those that grow add to it", async () => {
    let value = 10;
    const { read } = service(() => [sum(-1, 1), sum(0, value)]);
    await read(30);
    assert.equal((await read(90))?.slots.blue?.requests, 10);
    value = 4;
    assert.equal((await read(150))?.slots.blue?.requests, 10);
    value = 12;
    assert.equal((await read(210))?.slots.blue?.requests, 12);
  });

  it("do not go back with the clock", async () => {
    const { read, spans } = service(() => [sum(-1, 1), sum(0, 7)]);
    await read(30);
    const last = await read(90);
    assert.deepEqual(await read(-600), last);
    assert.equal(spans.length, 2);
  });

  it("that never were are no zeros, but a slot beside one that has some had no requests", async () => {
    let sums: Sum[] = [];
    const { read } = service(() => sums);
    assert.equal(await read(30), undefined);
    sums = [sum(0, 7)];
    const zero = { requests: 0, errors: 0, buckets: [0] };
    const seen = { requests: 7, errors: 0, buckets: [0] };
    assert.deepEqual((await read(90))?.slots, { blue: seen, green: zero });
  });

  it("of a sketch may contradict each other a little: no bucket is negative", async () => {
    const all = Number.POSITIVE_INFINITY;
    const row = (...values: number[]) => [
      sum(-1, 1),
      sum(0, 200),
      ...[0.1, 0.5, 1, all].map((edge, i) => sum(0, values[i]!, edge)),
    ];
    const { read } = service(() => row(100.4, 99, 201.5, 200));
    await read(30);
    assert.deepEqual((await read(90))?.slots.blue?.buckets, [100, 0, 100, 0]);
    for (const values of [
      [100, 95, 200, 200],
      [100, 150, 210, 200],
    ]) {
      const wrong = service(() => row(...values));
      await wrong.read(30);
      await assert.rejects(wrong.read(90), /don't grow/);
    }
  });

  it("that are no counts are refused", async () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, -1])
      await assert.rejects(service(() => [sum(-1, value)]).read(30), {
        message: `slot blue has a sum of ${value}`,
      });
  });

  it("of no request up to an edge may be left out", () => {
    const all = Number.POSITIVE_INFINITY;
    const found = completed([sum(0, 5, all), sum(0, 2, 1), sum(1, 5)], [0.5, 1]);
    assert.deepEqual(found.slice(3), [sum(0, 0, 0.5)]);
  });

  it("of the past end where the lag begins, and are enough to show clumps", async () => {
    const { history, spans } = service(() => [sum(0, 1)]);
    const found = await history(subject(), { from: T - 90_000, to: T + 600_000 }, at(179));
    assert.deepEqual(spans, [[-30, 2]]);
    assert.deepEqual(
      found.map((reading) => reading.slots),
      [0, 1, 1].map((requests) => ({ blue: { requests, errors: 0, buckets: [0] } })),
    );
    const before = await history(subject(), { from: T - 3_600_000, to: T }, at(60));
    assert.deepEqual([spans[1], before], [[-60, 0], []]);
  });
});

describe("A text with placeholders", () => {
  it("can't be filled for a slot without a version, or without a slot", () => {
    const plain = (value: string) => value;
    assert.equal(fill("{{service}}-{{ slot }}", subject(), "blue", plain), "shop-blue");
    assert.equal(fill("{{version}}", subject(), "blue", plain), undefined);
    assert.equal(fill("{{slot}}", subject(), undefined, plain), undefined);
  });
});
