import assert from "node:assert/strict";
import { analysis } from "../../automation/analysis/analysis";
import { errorRate } from "../../automation/analysis/errors";
import type { JournalEvent } from "../../automation/core/events";
import type { MetricSource } from "../../automation/core/ports";
import { broken } from "../support/laws";
import { type Disturbance, type Story, type Tale, tell } from "../support/story";
import { PLAIN } from "../support/tales";
import { artifact } from "../support/world";

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
  assert.deepEqual(broken(story, { ...tale, analysis: false }), []);
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
    const kept = verdicts(cut.events).at(-1)!.findings[0]!.figures;
    const seen = cut.events.reduce((n, e) => n + (e.type === "sample.taken" ? e.tick.canary.requests : 0), 0);
    assert.equal(kept.requests, seen);
  });
});
