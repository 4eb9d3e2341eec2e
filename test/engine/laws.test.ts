import assert from "node:assert/strict";
import fc from "fast-check";
import { fold } from "../../automation/core/events";
import type { Handle } from "../../components/handle";
import { broken, world } from "../support/laws";
import { type Disturbance, type Story, type Tale, tell } from "../support/story";
import { tales } from "../support/tales";
import { artifact, filled, type World } from "../support/world";

const CANARY: Tale = {
  seed: 1,
  targets: [{ first: false }, { first: true }],
  weights: [10, 50],
  gates: 1,
  tasks: 1,
  checks: true,
  analysis: true,
  maxParallel: 4,
  faults: {},
};
const REGRESSION: Tale = {
  ...CANARY,
  faults: {
    bad: [artifact("new0")],
    diverts: { t1: 1 },
    applies: { "restore:t0": { how: "after", times: 1 } },
  },
};
const BLUE_GREEN: Tale = { ...CANARY, weights: undefined, analysis: false, maxParallel: 1 };
const FAILING_SETTLE: Tale = {
  ...BLUE_GREEN,
  targets: [{ first: false }, { first: false }],
  maxParallel: 2,
  faults: { applies: { "t1/settle": { how: "between", times: 1 } } },
};
const PINNED = { CANARY, REGRESSION, BLUE_GREEN, FAILING_SETTLE };

function lawful(story: Story, tale: Tale): Story {
  assert.deepEqual(broken(story, tale), []);
  return story;
}

/** Refused and rolled back are one: whether anything had been touched when the no came is a matter of timing. */
function ended(story: Story): string | undefined {
  return story.outcome === "refused" ? "rolled-back" : story.outcome;
}

/** It ends as it would have ended. */
async function endsAlike(tale: Tale, disturbed: Disturbance, undisturbed: Story): Promise<Story> {
  const story = lawful(await tell(tale, disturbed), tale);
  assert.equal(ended(story), ended(undisturbed));
  assert.deepEqual(world(story), world(undisturbed));
  return story;
}

function leftAs(story: Story): string[] {
  return story.endings.map((e) => (e === "crash" ? e : e instanceof Error ? e.message : e.left));
}

function given(story: Story): number {
  return [...story.world.stacks.values()].reduce((sum, { platform }) => sum + platform.given(), 0);
}

// Not a double: most of those are next to nothing.
const part = fc.nat(999).map((n) => n / 1000);

describe("a run in memory", function () {
  // All of it takes some seconds; the machine may have other things to do.
  this.timeout(120_000);

  it("keeps the laws whatever is planned and whatever goes wrong, and no platform ever gives traffic back", () =>
    fc.assert(
      fc.asyncProperty(tales, async (tale) => {
        assert.equal(given(lawful(await tell(tale), tale)), 0);
      }),
      { numRuns: 80 },
    ));

  it("killed anywhere ends as it would have ended, and nothing takes effect twice", () =>
    fc.assert(
      fc.asyncProperty(
        tales,
        part,
        fc.constantFrom<"before" | "after">("before", "after"),
        fc.nat(45_000),
        async (tale, at, how, pause) => {
          const undisturbed = await tell(tale);
          const append = Math.floor(at * undisturbed.events.length);
          await endsAlike(tale, { cut: { append, how }, pause }, undisturbed);
        },
      ),
      { numRuns: 80 },
    ));

  it("never settles what has died while it waited for the others", async () => {
    let there: World | undefined;
    const dies = () => {
      // The second wave has begun, so the first is through but for its settle.
      const second = there?.stacks.get("t1")?.handle;
      if (second?.run && second.live === "blue") there?.stacks.get("t0")?.platform.health("green", false);
    };
    const tale: Tale = {
      ...CANARY,
      targets: [{ first: false }, { first: false }],
      waits: 2,
      waiting: ["t1"],
      gates: 0,
      wave: 1,
    };
    const before = (world: World) => {
      there = world;
    };
    const story = lawful(await tell(tale, { before, heard: dies }), tale);
    assert.equal(story.outcome, "rolled-back");
  });

  for (const [name, tale] of Object.entries(PINNED))
    it(`killed before and after every append of ${name} ends as it would have ended`, async () => {
      const undisturbed = lawful(await tell(tale), tale);
      for (let append = 0; append < undisturbed.events.length; append++)
        for (const how of ["before", "after"] as const) {
          // Every other time long enough for orphans to land and for the platform to give traffic back.
          const pause = append % 2 === (how === "before" ? 0 : 1) ? 500 : 40_000;
          await endsAlike(tale, { cut: { append, how }, pause }, undisturbed);
        }
    });

  it("asked to leave diverts, then says that it is paused, and goes on to the same end with its evidence", () =>
    fc.assert(
      fc.asyncProperty(tales, part, async (tale, at) => {
        const undisturbed = await tell(tale);
        const story = await endsAlike(tale, { leave: at * undisturbed.milliseconds }, undisturbed);
        assert.equal(given(story), 0, "what a paused run left was changed");
      }),
      { numRuns: 40 },
    ));

  for (const [name, tale] of Object.entries(PINNED))
    it(`asked to leave at every append of ${name} ends as it would have ended`, async () => {
      const undisturbed = await tell(tale);
      for (let leaveAt = 0; leaveAt < undisturbed.events.length; leaveAt++)
        await endsAlike(tale, { leaveAt }, undisturbed);
    });

  it("keeps its evidence through a pause: nothing that was watched is watched again", async () => {
    const tale: Tale = { ...CANARY, targets: [{ first: false }], weights: [50] };
    const story = await endsAlike(tale, { leave: 11_000 }, await tell(tale));
    const pause = story.events.findIndex((e) => e.type === "run.paused");
    const seconds = (from: number, to: number) =>
      story.events
        .slice(from, to)
        .reduce(
          (sum, e) => sum + (e.type === "sample.taken" && e.step.includes("06-") ? e.tick.seconds : 0),
          0,
        );
    assert.ok(seconds(0, pause) > 0, "nothing was seen before the pause");
    assert.ok(seconds(pause, story.events.length) < 10, "the bake began anew");
  });

  it("asked twice to leave a rollback goes once it has diverted, and is finished by the next", () =>
    fc.assert(
      fc.asyncProperty(part, async (at) => {
        const undisturbed = await tell(REGRESSION);
        const leaveAgain = at * undisturbed.milliseconds;
        const story = await endsAlike(REGRESSION, { leaveAgain }, undisturbed);
        const left = story.endings[0];
        if (left instanceof Error || left === "crash" || left?.left !== "paused") return;
        assert.equal(left.interrupted, true);
        const before = story.events.slice(
          0,
          story.events.findIndex((e) => e.type === "run.paused"),
        );
        for (const target of Object.values(fold(before)!.targets))
          assert.ok(target.diverted || !target.shifted);
      }),
      { numRuns: 30 },
    ));

  it("asked twice to leave just when it begins to restore does not begin", async () => {
    const undisturbed = await tell(REGRESSION);
    const { at } = undisturbed.events.findLast((e) => e.type === "traffic.diverted")!;
    const since = at - undisturbed.events[0]!.at;
    for (let after = 1; after < 70; after += 3)
      await endsAlike(REGRESSION, { leaveAgain: since + after }, undisturbed);
  });

  it("aborted at any time is rolled back, unless it has begun to settle", () =>
    fc.assert(
      fc.asyncProperty(tales, part, async (tale, at) => {
        const undisturbed = await tell(tale);
        const abortAt = Math.floor(at * undisturbed.events.length);
        const story = lawful(await tell(tale, { abortAt }), tale);
        const said = story.events.findIndex((e) => e.type === "answer.given");
        const settling = said < 0 || fold(story.events.slice(0, said + 1))!.settling;
        if (!settling) assert.equal(ended(story), "rolled-back");
      }),
      { numRuns: 40 },
    ));

  it("with a full disk diverts before it throws, and goes on to the same end once there is room", () =>
    fc.assert(
      fc.asyncProperty(tales, part, async (tale, at) => {
        const undisturbed = await tell(tale);
        const append = Math.floor(at * undisturbed.events.length);
        const story = await tell(tale, { cut: { append, how: "full" } });
        const thrown = story.endings.filter((e) => e instanceof Error);
        assert.ok(thrown.every((e) => "code" in e && e.code === "journal-full"));
        const rest = { ...story, endings: story.endings.filter((e) => !(e instanceof Error)) };
        lawful(rest, tale);
        assert.equal(ended(story), ended(undisturbed));
      }),
      { numRuns: 40 },
    ));

  it("is not held up, nor led astray, by a clock that goes backwards, before a crash or after", () =>
    fc.assert(
      fc.asyncProperty(tales, part, part, fc.boolean(), async (tale, at, crash, killed) => {
        const undisturbed = await tell(tale);
        const jump = { after: at * undisturbed.milliseconds, by: -7_200_000 };
        const append = Math.floor(crash * undisturbed.events.length);
        const story = await endsAlike(
          tale,
          killed ? { jump, cut: { append, how: "after" } } : { jump },
          undisturbed,
        );
        assert.ok(story.milliseconds < undisturbed.milliseconds + 240_000, `${story.milliseconds} ms`);
      }),
      { numRuns: 40 },
    ));
});

describe("a source that is down", () => {
  const silent: Tale = { ...CANARY, faults: { down: { t0: 1e9 } } };

  it("never rolls back and never promotes: the run is held, diverted, until it is back", async () => {
    const held = await tell(silent);
    assert.deepEqual([...new Set(leftAs(held))], ["paused"]);
    assert.deepEqual(held.wrongs, []);
    assert.ok(!held.events.some((e) => e.type === "rollback.begun" || e.type === "run.finished"));

    const back = await tell(silent, {
      between: (w) => {
        w.faults.down = {};
      },
    });
    assert.equal(lawful(back, silent).outcome, "promoted");
    assert.deepEqual(leftAs(back), ["paused", "finished"]);
  });

  it("until shortly before the horizon does not let a release pass with less than its bake", async () => {
    const late: Tale = {
      ...CANARY,
      targets: [{ first: false }],
      weights: [50],
      faults: { down: { t0: 11 } },
    };
    assert.equal(lawful(await tell(late), late).outcome, "promoted");
  });

  it("or that talks nonsense is no evidence either", async () => {
    const nonsense: Tale = { ...CANARY, faults: { nonsense: { t0: 3 } } };
    assert.equal(lawful(await tell(nonsense), nonsense).outcome, "promoted");
  });
});

describe("past the point of no return", () => {
  it("a failure is stuck, is never rolled back, and the next drive finishes it", async () => {
    const story = lawful(await tell(FAILING_SETTLE), FAILING_SETTLE);
    assert.deepEqual(leftAs(story), ["stuck", "finished"]);
    assert.equal(story.outcome, "promoted");
  });
});

describe("a restore", () => {
  const one: Tale = { ...CANARY, targets: [{ first: false }], faults: { bad: [artifact("new0")] } };
  const failing = (times: number, how: "before" | "hang" = "before"): Tale => ({
    ...one,
    faults: { ...one.faults, applies: { "restore:t0": { how, times } } },
  });

  it("is tried again, and is stuck once it was tried eight times", async () => {
    assert.deepEqual(leftAs(lawful(await tell(failing(7)), failing(7))), ["finished"]);
    assert.deepEqual(leftAs(lawful(await tell(failing(9)), failing(9))), ["stuck", "finished"]);
  });

  it("that can't be had does not keep another target from being restored", async () => {
    const tale: Tale = {
      ...CANARY,
      targets: [{ first: false }, { first: false }],
      // The second target is still at it when the first one is given up.
      faults: {
        bad: [artifact("new0")],
        applies: { "restore:t0": { how: "before", times: 9 }, "restore:t1": { how: "before", times: 4 } },
      },
    };
    const story = await tell(tale, {
      between: (w) => assert.equal(w.stacks.get("t1")?.handle?.run, undefined),
    });
    assert.deepEqual(leftAs(story), ["stuck", "finished"]);
    assert.deepEqual(broken(story, tale), []);
  });

  it("goes on without a divert that the platform refuses every time", async () => {
    const tale: Tale = { ...one, faults: { ...one.faults, diverts: { t0: 1e9 } } };
    const story = await tell(tale);
    assert.deepEqual(leftAs(story), ["finished"]);
    assert.equal(story.outcome, "rolled-back");
    assert.deepEqual(broken(story, tale), []);
  });

  it("is never left, however short the patience for waits is", async () => {
    const story = await tell(failing(6), { patience: 1 });
    assert.deepEqual(leftAs(story), ["finished"]);
    assert.equal(story.outcome, "rolled-back");
  });

  it("does not wait for a divert that is never answered, but asks again", async () => {
    const tale = { ...one, faults: { ...one.faults, swallowed: { t0: 3 } } };
    assert.deepEqual(leftAs(lawful(await tell(tale), tale)), ["finished"]);
  });

  it("that hangs is given up at its deadline and tried again", async () => {
    assert.deepEqual(leftAs(lawful(await tell(failing(1, "hang")), failing(1, "hang"))), ["finished"]);
  });

  it("does not wait for log lines that never come", async () => {
    const tale = { ...one, faults: { ...one.faults, mute: ["t0"] } };
    assert.equal(lawful(await tell(tale), tale).outcome, "rolled-back");
  });

  it("never undoes what another run has declared since", async () => {
    const tale: Tale = { ...one, faults: { applies: { "t0/deploy": { how: "before", times: 1e9 } } } };
    const theirs = { blue: filled("theirs") };
    // Killed once the failure is known and nothing of this run was stored; another run comes and ends.
    const undisturbed = await tell(tale);
    const append = undisturbed.events.findIndex((e) => e.type === "rollback.begun") - 1;
    const story = await tell(tale, {
      cut: { append, how: "after" },
      between: (w) => {
        const stack = w.stacks.get("t0")!;
        if (stack.handle?.generation !== 7) return;
        stack.handle = {
          ...stack.handle,
          generation: 12,
          slots: theirs,
          by: { run: "r2", step: "t0/09-settle" },
        };
      },
    });
    assert.equal(story.outcome, "rolled-back");
    assert.deepEqual(story.world.stacks.get("t0")?.handle?.slots, theirs);
    assert.equal(story.world.stacks.get("t0")?.handle?.generation, 12);
  });
});

describe("somebody else's stack", () => {
  const meanwhile = (change: Partial<Handle>) => (w: World) => {
    const stack = w.stacks.get("t0")!;
    stack.handle = { ...stack.handle!, ...change };
  };
  const one: Tale = { ...BLUE_GREEN, targets: [{ first: false }] };

  it("that belongs to another run is refused, and not touched", async () => {
    const story = await tell(one, { before: meanwhile({ run: "r2" }) });
    assert.equal(story.outcome, "refused");
    assert.equal(story.world.stacks.get("t0")?.handle?.generation, 7);
    assert.ok(story.events.some((e) => e.type === "rollback.begun" && e.failure?.code === "run-elsewhere"));
  });

  it("that moved since the plan was made is refused, and not touched", async () => {
    const story = await tell(one, { before: meanwhile({ generation: 8 }) });
    assert.equal(story.outcome, "refused");
    assert.equal(story.world.stacks.get("t0")?.handle?.generation, 8);
    assert.ok(story.events.some((e) => e.type === "rollback.begun" && e.failure?.code === "world-moved"));
  });
});

describe("a deploy that was cut off after it had landed", () => {
  it("is restored even where a policy refuses it the second time", async () => {
    const tale: Tale = { ...BLUE_GREEN, targets: [{ first: false }] };
    const undisturbed = await tell(tale);
    const append = undisturbed.events.findIndex(
      (e) => e.type === "step.finished" && e.step.includes("deploy"),
    );
    const story = await tell(tale, {
      cut: { append: append - 1, how: "before" },
      between: (w) => {
        w.faults.policy = ["t0/deploy"];
      },
    });
    assert.equal(lawful(story, tale).outcome, "rolled-back");
  });
});

describe("a slot that died while nobody watched", () => {
  for (const act of ["analyse", "adopt", "verify-live", "settle"])
    it(`gets no traffic again before ${act}`, async () => {
      const tale: Tale = { ...CANARY, targets: [{ first: false }], weights: [50] };
      const undisturbed = await tell(tale);
      const leaveAt = undisturbed.events
        .filter((e) => e.type !== "sample.taken" && e.type !== "past.known")
        .findIndex((e) => e.type === "step.started" && e.step.endsWith(act));
      const story = await tell(tale, {
        leaveAt: leaveAt - 1,
        between: (w) => w.stacks.get("t0")!.platform.health("green", false),
      });
      assert.deepEqual(story.wrongs, []);
      assert.notEqual(story.outcome, "promoted");
    });
});

describe("a waiting gate", () => {
  const tale: Tale = { ...CANARY, waits: 1, waiting: ["t1"] };

  it("leaves the process where its patience is shorter, with every split diverted, and goes on later", async () => {
    const undisturbed = lawful(await tell(tale), tale);
    assert.deepEqual(leftAs(undisturbed), ["finished"]);
    const longer = { ...tale, weights: [100], analysis: false };
    const story = await endsAlike(longer, { patience: 5000 }, await tell(longer));
    assert.deepEqual(leftAs(story), ["paused", "finished"]);
  });
});

describe("a wait that was written down", () => {
  it("is not longer for whoever goes on with a clock that is behind the journal", async () => {
    const tale: Tale = { ...BLUE_GREEN, targets: [{ first: false }], waits: 1 };
    const undisturbed = await tell(tale);
    const append = undisturbed.events.findIndex((e) => e.type === "step.waiting") - 1;
    const story = lawful(
      await tell(tale, { cut: { append, how: "after" }, jump: { after: 0, by: -7_200_000 } }),
      tale,
    );
    assert.equal(story.outcome, "promoted");
    assert.ok(story.milliseconds < undisturbed.milliseconds + 60_000, `${story.milliseconds} ms`);
  });
});

describe("heartbeats", () => {
  it("go on for all other targets where one platform never answers", async () => {
    const tale: Tale = {
      ...CANARY,
      targets: [{ first: false }, { first: false }],
      weights: [50],
      faults: { mute: ["t0"], down: { t1: 9 } },
    };
    const story = await tell(tale);
    assert.equal(story.world.stacks.get("t1")?.platform.given(), 0);
  });
});

describe("whoever listens", () => {
  it("can fail without failing the run", async () => {
    const heard = () => {
      throw new Error("the terminal is gone");
    };
    assert.equal(lawful(await tell(CANARY, { heard }), CANARY).outcome, "promoted");
  });
});

describe("effort", () => {
  it("is one record for 5 s of samples, however often the source is read", async () => {
    const { events, plan } = await tell(CANARY);
    for (const { id } of plan.steps.filter((step) => step.act === "analyse")) {
      const seconds = events.flatMap((e) =>
        // One in which the split changed is a record of its own.
        e.type === "sample.taken" && e.step === id && !e.tick.moving ? [e.tick.seconds] : [],
      );
      assert.ok(
        seconds.length > 0 && seconds.slice(0, -1).every((s) => s >= 5),
        `${id}: ${seconds.join(", ")}`,
      );
    }
  });

  it("is one apply for each act that declares something", async () => {
    const story = await tell(CANARY);
    const declaring = story.plan.steps.filter((s) => ["deploy", "shift", "adopt", "settle"].includes(s.act));
    assert.equal(story.world.applied.length, declaring.length);
  });
});
