import assert from "node:assert/strict";
import { type AnalysisOptions, analysis } from "../../automation/analysis/analysis";
import { errorRate } from "../../automation/analysis/errors";
import { metric } from "../../automation/analysis/metric";
import type { JournalEvent } from "../../automation/core/events";
import type { MetricSource } from "../../automation/core/ports";
import { broken } from "../support/laws";
import { type Disturbance, type Story, type Tale, tell } from "../support/story";
import { PLAIN } from "../support/tales";
import { artifact, type World } from "../support/world";

const WEIGHTS = [5, 10, 25, 50, 100];
const judged = (source: MetricSource) =>
  analysis({ source, judges: [errorRate({ max: "1%", worseThan: 1.5 })] });

/** A rollout with the default times, of a release that fails as often as that, at 2,000 requests a second. */
function rollout(seed: number, rate: number, change: Partial<Tale> = {}): Tale {
  const rates = { [artifact("old0")]: 0.005, [artifact("new0")]: rate };
  return {
    ...PLAIN,
    seed,
    weights: WEIGHTS,
    analysis: true,
    judged,
    faults: { traffic: { rps: 2000, rates } },
    ...change,
  };
}

async function told(tale: Tale, disturbed?: Disturbance): Promise<Story> {
  const story = await tell(tale, disturbed);
  // How much it takes to pass is another thing here.
  const found = broken(story, { ...tale, analysis: false }).filter(
    (law) => !/ passed (with|after) /.test(law),
  );
  assert.deepEqual(found, []);
  return story;
}

const failed = ({ world }: Story) => world.stacks.get("t0")!.platform.failed("green");
const verdicts = (events: readonly JournalEvent[]) =>
  events
    .flatMap((e) => (e.type === "step.finished" ? [e.verdict ?? e.failure?.verdict] : []))
    .filter((v) => v !== undefined);

describe("a rollout judged by evidence, in simulated time", function () {
  this.timeout(120_000);

  it("promotes 20 healthy releases of 20: 0.5 % of requests fail, 1 % may", async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const story = await told(rollout(seed, 0.005));
      assert.equal(story.outcome, "promoted", `seed ${seed}`);
      assert.ok(story.milliseconds >= 300_000, "five weights of a minute each");
    }
  });

  it("finds 5 % errors within a median of 7 failed requests, and 12 in nine of ten", async () => {
    const counts: number[] = [];
    for (let seed = 1; seed <= 20; seed++) {
      const story = await told(rollout(seed, 0.05));
      assert.equal(story.outcome, "rolled-back", `seed ${seed}`);
      counts.push(failed(story));
    }
    counts.sort((a, b) => a - b);
    const [median, p90] = [counts[10]!, counts[18]!];
    console.log(`      failed canary requests: ${counts.join(" ")}`);
    assert.ok(median <= 7, `median ${median}: ${counts}`);
    assert.ok(p90 <= 12, `p90 ${p90}: ${counts}`);
  });

  it("keeps with each decision what it was made from", async () => {
    const [verdict] = verdicts((await told(rollout(3, 0.05))).events);
    assert.equal(verdict?.verdict, "fail");
    assert.match(verdict.rule ?? "", /^evidence against the release, by error-rate$/);
    const [finding] = verdict.findings;
    const { evidence } = finding!;
    assert.ok(evidence!.against >= Math.log(20) && evidence!.p <= 0.05 + 1e-9);
    assert.equal(evidence!.sample, finding!.figures.requests);
    const [low, high] = evidence!.intervals!.canary!;
    assert.ok(low > 0.005 && high < 1 && low < high, `${low} to ${high}`);
    assert.ok(JSON.stringify(verdict.states!["error-rate"]).length <= 1024);
  });

  it("killed in the middle of it says the same from what it had written down", async () => {
    // The evidence so far decides which weight is left: five minutes of it are lost by nobody.
    const whole = await told(rollout(5, 0.005));
    const cut = await told(rollout(5, 0.005), { cut: { append: 9, how: "after" } });
    assert.equal(whole.outcome, cut.outcome);
    const last = cut.events.findLastIndex((e) => e.type === "step.finished" && e.verdict);
    const kept = verdicts(cut.events).at(-1)!.findings[0]!.figures;
    const seen = cut.events
      .slice(0, last)
      .reduce((n, e) => n + (e.type === "sample.taken" ? e.tick.canary.requests : 0), 0);
    assert.equal(kept.requests, seen);
  });
});

/** Requests of which none fails, too few to be sure of that in 15 minutes. */
const SLOW: Partial<Tale> = { weights: [5, 10, 100], faults: { traffic: { rps: 0.5, rates: {} } } };

describe("a rollout that can't be judged", () => {
  const slow = (more: Partial<AnalysisOptions> = {}): Tale =>
    rollout(1, 0, {
      ...SLOW,
      judged: (source) => analysis({ source, judges: [errorRate({ max: "1%" })], ...more }),
    });
  const held = (story: Story) => story.events.find((e) => e.type === "analysis.held");
  const end = (story: Story) =>
    story.events.find((e) => e.type === "rollback.begun" || e.type === "run.finished");

  it("is held for an hour, is rolled back then, and says what was missing", async () => {
    const story = await told(slow());
    assert.equal(story.outcome, "rolled-back");
    assert.equal(held(story)!.verdict.verdict, "inconclusive");
    assert.match(
      held(story)!.verdict.reason,
      /neither good nor bad enough to be sure within 900 s: canary 0 % of/,
    );
    const minutes = (end(story)!.at - held(story)!.at) / 60_000;
    assert.ok(minutes >= 60 && minutes < 61, `${minutes} min`);
    const failure = story.events.find((e) => e.type === "rollback.begun")!;
    assert.equal(failure.failure!.code, "verdict-inconclusive");
  });

  it("is rolled back at once, or promoted, where the user says so", async () => {
    const back = await told(slow({ onInconclusive: "rollback" }));
    assert.deepEqual([back.outcome, held(back)], ["rolled-back", undefined]);
    assert.ok(back.milliseconds < 1_000_000, `${back.milliseconds} ms`);
    assert.equal((await told(slow({ onInconclusive: "promote", maxDuration: 300 }))).outcome, "promoted");
  });

  it("is promoted by evidence that comes while it is held", async () => {
    // 600 s are too short for 430 requests at 10 % of 10 a second, an hour is not.
    const tale = slow({ maxDuration: 200 });
    const story = await told({ ...tale, faults: { traffic: { rps: 10, rates: {} } } });
    assert.notEqual(held(story), undefined);
    assert.equal(story.outcome, "promoted");
  });

  it("leaves a CI job, diverted, and whoever goes on with it in time goes on with its evidence", async () => {
    const story = await told(
      { ...slow({ maxDuration: 200 }), faults: { traffic: { rps: 10, rates: {} } } },
      { patience: 1000 },
    );
    assert.deepEqual(
      story.endings.map((e) => (e instanceof Error || e === "crash" ? e : e.left)),
      ["paused", "finished"],
    );
    assert.equal(story.outcome, "promoted");
  });

  it("goes on when somebody says so, and back when somebody says no", async () => {
    for (const [kind, outcome] of [
      ["approve", "promoted"],
      ["reject", "rolled-back"],
    ] as const) {
      const story = await told(slow(), { say: { kind, on: "analysis.held" } });
      assert.equal(story.outcome, outcome);
      assert.ok(story.milliseconds < 2_000_000, `${story.milliseconds} ms`);
    }
  });
});

describe("a rollout whose traffic goes wrong", () => {
  it("is never promoted, nor rolled back, while the split is not what was declared", async () => {
    const story = await tell(rollout(1, 0, { judged: off }));
    assert.equal(story.outcome, undefined);
    assert.deepEqual(story.world.wrongs, []);
    const paused = story.events.find((e) => e.type === "run.paused");
    assert.match(paused!.reason, /split-mismatch: the canary got 0 % of [\d,]+ requests, declared are 5 %/);
    assert.ok(!story.events.some((e) => e.type === "rollback.begun" || e.type === "analysis.held"));
  });

  it("is never promoted without any traffic", async () => {
    const tale = rollout(1, 0, { faults: { traffic: { rps: 0, rates: {} } } });
    const story = await told(tale);
    assert.equal(story.outcome, "rolled-back");
    assert.match(story.events.find((e) => e.type === "analysis.held")!.verdict.reason, /had no requests/);
  });

  it("is rolled back from an outage that starts at 100 %, where there is no baseline any more", async () => {
    const story = await told(rollout(4, 0.001), {
      before: (w) => fail(w, (percent) => (percent === 100 ? 0.3 : 0.001)),
    });
    assert.equal(story.outcome, "rolled-back");
    assert.match(story.events.find((e) => e.type === "rollback.begun")!.step!, /analyse$/);
    const shifts = story.events.filter((e) => e.type === "step.finished" && e.step.includes("shift-100"));
    assert.equal(shifts.length, 1);
  });

  it("is rolled back from an outage in the guard after it was promoted", async () => {
    const live = (w: World) => w.stacks.get("t0")!.handle?.live === "green";
    const tale = rollout(4, 0.001, { weights: [10, 100], guard: 120 });
    assert.equal((await told(tale)).outcome, "promoted");
    const story = await told(tale, { before: (w) => fail(w, () => (live(w) ? 0.3 : 0.001)) });
    assert.equal(story.outcome, "rolled-back");
    assert.match(story.events.find((e) => e.type === "rollback.begun")!.step!, /(verify-live|hold)$/);
  });

  it("is not rolled back for a dependency that fails both slots, where it is compared with the baseline", async () => {
    const rates = { [artifact("old0")]: 0.03, [artifact("new0")]: 0.03 };
    const story = await told(rollout(6, 0.03, { faults: { traffic: { rps: 200, rates } } }));
    assert.equal(story.outcome, "promoted");
  });
});

describe("a reading from the future", () => {
  it("is no evidence, and does not make those after it late", async () => {
    let count = 0;
    const tale = rollout(7, 0.001, {
      weights: [50, 100],
      faults: SMALL,
      judged: (source) =>
        analysis({
          source: {
            ...source,
            read: async (subject, ctx) => {
              const made = await source.read(subject, ctx);
              return made && ++count % 5 === 0 ? { ...made, at: made.at + 3_600_000 } : made;
            },
          },
          judges: [errorRate({ max: "1%" })],
        }),
    });
    const story = await told(tale);
    assert.equal(story.outcome, "promoted");
    const seen = story.events.flatMap((e) => (e.type === "sample.taken" ? [e.tick.seconds] : []));
    assert.ok(
      seen.every((s) => s < 60),
      `${seen}`,
    );
  });
});

describe("a rollout that nobody could judge in time", () => {
  const SLOWER: Partial<Tale> = { weights: [10, 50, 100], faults: { traffic: { rps: 2, rates: {} } } };
  const late = (more: Partial<AnalysisOptions>) =>
    rollout(1, 0, {
      ...SLOWER,
      judged: (source) => analysis({ source, judges: [errorRate({ max: "1%" })], ...more }),
    });
  const bakes = ({ events, plan }: Story) =>
    plan.steps
      .filter((s) => s.act === "analyse")
      .map(({ id }) =>
        events.reduce(
          (n, e) => n + (e.type === "sample.taken" && e.step === id && !e.tick.moving ? e.tick.seconds : 0),
          0,
        ),
      );

  it("is watched at every weight all the same, where it is promoted for that", async () => {
    const story = await told(late({ onInconclusive: "promote", maxDuration: 120 }));
    assert.equal(story.outcome, "promoted");
    for (const seconds of bakes(story)) assert.ok(seconds >= 60 - 1e-6, `${bakes(story)}`);
  });

  it("takes one yes, and is watched at every weight after it", async () => {
    const story = await told(late({ maxDuration: 120 }), { say: { kind: "approve", on: "analysis.held" } });
    assert.equal(story.outcome, "promoted");
    assert.equal(story.events.filter((e) => e.type === "analysis.held").length, 1);
    for (const seconds of bakes(story)) assert.ok(seconds >= 60 - 1e-6, `${bakes(story)}`);
  });
});

describe("a slot that dies", () => {
  it("with the very counts that it told of itself is seen, and not waited for", async () => {
    const silent = (source: MetricSource) =>
      analysis({
        source: {
          ...source,
          // What the app counts itself ends with it.
          read: async (subject, ctx) =>
            (await source.read(subject, ctx)) && world?.stacks.get("t0")?.platform.ready("green")
              ? source.read(subject, ctx)
              : undefined,
        },
        judges: [errorRate({ max: "1%" })],
      });
    let world: World | undefined;
    const story = await told(rollout(2, 0.001, { weights: [50, 100], faults: SMALL, judged: silent }), {
      before: (w) => {
        world = w;
        w.time.after(60_000, () => w.stacks.get("t0")!.platform.health("green", false));
      },
    });
    assert.equal(story.outcome, "rolled-back");
    assert.equal(story.events.find((e) => e.type === "rollback.begun")!.failure!.code, "slot-lost");
    assert.ok(story.milliseconds < 120_000, `${story.milliseconds} ms`);
  });
});

describe("a service that waits for others", () => {
  it("is judged by what its users met meanwhile, before it settles for good", async () => {
    const tale = rollout(3, 0.001, {
      targets: [{ first: false }, { first: false }],
      weights: [50, 100],
      faults: SMALL,
      waits: 0,
    });
    // The second one is judged for longer; the first one fails while it waits.
    const story = await tell(tale, {
      before: (w) => {
        const live = () => w.stacks.get("t0")!.handle?.live === "green";
        Object.defineProperty(w.faults.traffic!.rates, artifact("new0"), {
          get: () => (live() ? 0.5 : 0.001),
        });
      },
    });
    assert.equal(story.outcome, "rolled-back");
    assert.match(
      story.events.find((e) => e.type === "rollback.begun")!.step!,
      /^t0\/(\d+-verify-live|verify-again)$/,
    );
  });
});

describe("a platform that can't be reached for a moment", () => {
  it("says nothing of the release", async () => {
    const story = await told(rollout(2, 0.001, { weights: [50, 100], faults: SMALL }), {
      before: (w) => {
        const targets = w.targets;
        let left = 3;
        w.targets = (life) => {
          const made = targets(life);
          for (const target of made.values()) {
            const { reach } = target.router;
            target.router.reach = (handle, slot, ctx) =>
              slot === "public" && left-- > 0
                ? Promise.reject(new Error("ECONNRESET"))
                : reach(handle, slot, ctx);
          }
          return made;
        };
      },
    });
    assert.equal(story.outcome, "promoted");
  });
});

describe("a source that hangs", () => {
  it("is no evidence, and holds nobody for longer than half a minute", async () => {
    let count = 0;
    const hangs = (source: MetricSource) =>
      analysis({
        source: {
          ...source,
          read: (subject, ctx) => (count++ % 4 === 2 ? new Promise(() => {}) : source.read(subject, ctx)),
        },
        judges: [errorRate({ max: "1%" })],
      });
    const story = await told(rollout(1, 0.001, { weights: [50, 100], judged: hangs, faults: SMALL }));
    assert.equal(story.outcome, "promoted");
    assert.ok(count > 8, `${count} looks`);
  });

  it("for ever leaves the run held, diverted", async () => {
    const hung = (source: MetricSource) =>
      analysis({
        source: { ...source, read: () => new Promise(() => {}) },
        judges: [errorRate({ max: "1%" })],
      });
    const story = await tell(rollout(1, 0, { weights: [50, 100], judged: hung, faults: SMALL }));
    assert.deepEqual(story.wrongs, []);
    assert.deepEqual(
      [...new Set(story.endings.map((e) => (e instanceof Error || e === "crash" ? e : e.left)))],
      ["paused"],
    );
    assert.match(story.events.find((e) => e.type === "run.paused")!.reason, /no answer in 30 s/);
  });
});

describe("the way back", () => {
  it("does not wait for a source that hangs", async () => {
    const hung = (source: MetricSource) =>
      analysis({
        source: { ...source, read: () => new Promise(() => {}) },
        judges: [errorRate({ max: "1%" })],
      });
    const story = await told(
      rollout(1, 0, { direct: true, weights: undefined, judged: hung, faults: SMALL }),
    );
    assert.equal(story.outcome, "promoted");
    assert.ok(story.milliseconds < 20_000, `${story.milliseconds} ms`);
  });
});

describe("a weight that is held", () => {
  it("is no part of the time there is to judge", async () => {
    // Held for 20 minutes at each weight, where there are 15 to be sure.
    const story = await told(rollout(2, 0.001, { weights: [10, 50, 100], soak: 1200, faults: SMALL }));
    assert.equal(story.outcome, "promoted");
    assert.ok(!story.events.some((e) => e.type === "analysis.held"));
  });
});

describe("a judge with a query of its own", () => {
  const told_ = (value: () => number | undefined) =>
    tell(
      rollout(1, 0, {
        weights: [50, 100],
        faults: { traffic: { rps: 2000, rates: {} } },
        judged: (source) =>
          analysis({
            source: { ...source, value: async (query) => (query === "queue" ? value() : assert.fail(query)) },
            judges: [metric({ query: "queue", max: 100 })],
            maxDuration: 400,
            holdFor: 60,
          }),
      }),
    );

  it("passes with the number within its bounds, and rolls back with it beyond them", async () => {
    assert.equal((await told_(() => 7)).outcome, "promoted");
    const bad = await told_(() => 700);
    assert.equal(bad.outcome, "rolled-back");
    assert.equal(bad.events.find((e) => e.type === "rollback.begun")!.failure!.code, "verdict-fail");
  });

  it("that fails takes nothing of what was counted", async () => {
    const story = await told_(() => {
      throw new Error("no such query");
    });
    const counted = story.events.reduce(
      (n, e) => n + (e.type === "sample.taken" ? e.tick.canary.requests : 0),
      0,
    );
    assert.ok(counted > 100_000, `${counted} requests in ${story.milliseconds} ms`);
    assert.notEqual(story.outcome, "promoted");
  });

  it("is never passed without any number", async () => {
    const story = await told_(() => undefined);
    assert.notEqual(story.outcome, "promoted");
    assert.ok(!story.events.some((e) => e.type === "rollback.begun" && e.failure?.code === "verdict-fail"));
  });
});

/** Users enough, in a world that is not too long to tell. */
const SMALL = { traffic: { rps: 200, rates: { [artifact("old0")]: 0.001, [artifact("new0")]: 0.001 } } };

/** A source whose canary never gets a request. */
function off(source: MetricSource) {
  const read: MetricSource["read"] = async (subject, ctx) => {
    const made = await source.read(subject, ctx);
    const green = { requests: 0, errors: 0, buckets: [0, 0] };
    return made && { ...made, slots: { ...made.slots, green } };
  };
  return analysis({ source: { id: source.id, ping: source.ping, read }, judges: [errorRate({ max: "1%" })] });
}

/** Makes the release fail as often as that, by the percent it was declared to have. */
function fail(w: World, rate: (percent: number) => number): void {
  Object.defineProperty(w.faults.traffic!.rates, artifact("new0"), {
    get: () => rate(w.stacks.get("t0")!.handle?.split.green ?? 0),
  });
}
