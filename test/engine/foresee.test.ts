import assert from "node:assert/strict";
import { analysis } from "../../automation/analysis/analysis";
import { errorRate } from "../../automation/analysis/errors";
import type { Reading } from "../../automation/core/model";
import type { Context, MetricSource } from "../../automation/core/ports";
import { foresee } from "../../automation/engine/foresee";
import { blueGreen, canary } from "../../automation/index";
import type { Service } from "../../components/release";
import { begin } from "../support/story";
import { PLAIN } from "../support/tales";

const NOW = 1_800_000_000_000;
const lines: string[] = [];
const ctx = {
  now: () => NOW,
  signal: new AbortController().signal,
  log: (l: string) => lines.push(l),
} as unknown as Context;

/** A source that has seen so many requests a second in the last five minutes. */
function source(rps: number | undefined | Error): MetricSource {
  const at = (time: number, requests: number): Reading => ({
    at: time,
    edges: [],
    slots: { blue: { requests, errors: 0, buckets: [requests] } },
  });
  return {
    id: "past",
    ping: async () => {},
    read: async () => undefined,
    history: async (_subject, { from, to }) => {
      if (rps instanceof Error) throw rps;
      return rps === undefined ? [] : [at(from, 7), at(to, 7 + rps * 300)];
    },
  };
}

async function said(
  rps: number | undefined | Error,
  options: {
    stepBake?: number;
    traffic?: boolean;
    weights?: number[];
    sticky?: boolean;
    checkSplit?: boolean;
    first?: boolean;
  } = {},
) {
  const { stepBake = 60, weights = [5, 10, 100] } = options;
  const { plan } = begin({ ...PLAIN, targets: [{ first: options.first ?? false }], weights, analysis: true });
  const judges = [errorRate({ max: "1%" })];
  const environment = {
    name: "prod",
    strategy: canary(),
    analysis: analysis({ source: source(rps), judges, stepBake, checkSplit: options.checkSplit }),
    ...(options.traffic && { traffic: { id: "load", start: async () => async () => {} } }),
  };
  const services = [{ name: "t0", local: { sticky: options.sticky } } as Service];
  return foresee(plan, environment, services, (place) => ({ target: place.key }) as never, ctx);
}

describe("Before anything moves", () => {
  it("a service too slow for its limits is told so, with what would help", async () => {
    const [sentence, ...rest] = await said(1.2);
    assert.deepEqual(rest, []);
    assert.match(sentence!, /^t0: At 10 % of 1\.2 rps the release gets 0\.12 requests a second/);
    assert.match(sentence!, /Raise /);
  });

  it("one that is fast enough is not, and nobody guesses where nothing is known", async () => {
    assert.deepEqual(await said(100), []);
    assert.deepEqual(await said(undefined), []);
    assert.deepEqual(await said(1.2, { traffic: true }), [], "requests are made for the rollout");
  });

  it("a first release is told what becomes of it without users, where nobody makes requests", async () => {
    const [sentence] = await said(undefined, { first: true });
    assert.match(sentence!, /^t0: a first release is judged by what its users meet.* after 75 min/);
    assert.deepEqual(await said(undefined, { first: true, traffic: true }), []);
  });

  it("a source that fails is no reason not to begin, and is logged", async () => {
    assert.deepEqual(await said(new Error("it is down")), []);
    assert.match(lines.at(-1) ?? "", /no traffic of t0 is known: it is down/);
  });

  it("an analysis that can't come to an end in its time is refused", async () => {
    await assert.rejects(
      said(100, { stepBake: 301 }),
      /3 weights of 301 s each \(stepBake\) take longer than the 900 s/,
    );
    await said(100, { stepBake: 300 });
  });

  it("a sticky service whose traffic can't follow the split is refused, unless that is not asked of it", async () => {
    await assert.rejects(said(100, { sticky: true }), /t0 is sticky.*checkSplit: false/);
    assert.deepEqual(await said(100, { sticky: true, checkSplit: false }), []);
  });

  it("nothing is asked where nothing is judged", async () => {
    const { plan } = begin(PLAIN);
    assert.deepEqual(
      await foresee(plan, { name: "prod", strategy: blueGreen() }, [], () => assert.fail(), ctx),
      [],
    );
  });
});
