import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { analysis } from "../../automation/analysis/analysis";
import { errorRate } from "../../automation/analysis/errors";
import { NAMES, named } from "../../automation/analysis/named";
import { DEFAULTS, decided, decisions, replay as looks, recordings } from "../../automation/analysis/replay";
import { type Replayed, replay, replayLines } from "../../automation/commands/replay";
import type { Fact, JournalEvent } from "../../automation/core/events";
import type { Act, Counts, Reading, Tick } from "../../automation/core/model";
import type { Analysis, Judge, MetricSource } from "../../automation/core/ports";
import { parse } from "../../automation/engine/chain";
import { BEGAN, journal, planFor } from "../report/story";
import { judged, judging, kept, RUN, rollout, SILENT } from "../support/judged";
import type { Story } from "../support/story";

/** Every decision of the run is what its judges say again, at the very record, and not at one before. */
function agrees({ plan, events, outcome }: Story, by: Analysis): void {
  const [recording] = recordings(plan, events);
  assert.ok(recording);
  const said = [...looks(recording, by.judges, by)];
  const made = decisions(plan, events);
  assert.ok(made.length > 0);
  for (const { step, verdict, until } of made) {
    const here = said.filter((look) => look.step === step.id && (until === undefined || look.at <= until));
    const kind = verdict.verdict;
    const first = here.findIndex((look) => look.verdict.verdict === kind);
    if (until === undefined && kind !== "inconclusive") assert.equal(first, here.length - 1, step.id);
    assert.ok(first >= 0, `${step.id} was ${kind}`);
    if (kind === "inconclusive") continue;
    const again = here[first]!.verdict;
    assert.deepEqual(
      again.findings.map(({ reason, evidence }) => [reason, evidence?.against, evidence?.for]),
      verdict.findings.map(({ reason, evidence }) => [reason, evidence?.against, evidence?.for]),
    );
    assert.equal(again.rule, verdict.rule);
  }
  const end = decided(recording, said);
  const fits = { promoted: ["pass"], "rolled-back": ["fail", "inconclusive"] }[outcome as "promoted"];
  assert.ok(fits?.includes(end?.verdict.verdict ?? ""), `${outcome}: ${end?.verdict.verdict}`);
}

/** A history in which errors come in clumps of ten. */
function stormy(source: MetricSource): Analysis {
  const history = async () => {
    const sum: Counts = { requests: 0, errors: 0, buckets: [0] };
    return Array.from({ length: 181 }, (_, i): Reading => {
      sum.requests += 10_000;
      sum.errors += i % 7 === 0 ? 300 : 0;
      return { at: 1_799_999_000_000 + i * 5000, edges: [], slots: { blue: { ...sum } } };
    });
  };
  return judged({ ...source, history });
}

describe("Replaying a run", function () {
  this.timeout(120_000);
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "sluice replay ü-"));
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  it("by the judges that decided decides the same, at the same record", async () => {
    for (const [seed, rps, rate] of [
      [1, 2000, 0.005],
      [2, 2000, 0.05],
      [3, 300, 0.02],
      [4, 100, 0.001],
      [5, 40, 0.5],
      [6, 2000, 0.012],
    ] as const)
      agrees(await rollout({ seed, rps, rate }), judged(SILENT));
  });

  it("does so of one that was held and rolled back, and of one that was killed in the middle", async () => {
    const held = await rollout({ seed: 7, rps: 10, rate: 0.005 });
    agrees(held, judged(SILENT));
    const [recording] = recordings(held.plan, held.events);
    const end = decided(recording!, looks(recording!, judged(SILENT).judges));
    // When it was held, not when that was over.
    assert.ok(end?.verdict.verdict === "inconclusive" && end.total >= 900 && end.total < 910);
    agrees(
      await rollout({ seed: 8, rps: 2000, rate: 0.005 }, {}, { cut: { append: 11, how: "after" } }),
      judged(SILENT),
    );
  });

  it("does so where errors come in clumps, of which an open record says nothing", async () => {
    for (const seed of [1, 2, 3, 4]) {
      const story = await rollout({ seed, rps: 400, rate: 0.05 }, { judged: stormy });
      const past = story.events.find((e) => e.type === "past.known");
      assert.ok(past?.type === "past.known" && (past.past?.phi ?? 1) > 1.25);
      agrees(story, judged(SILENT));
    }
  });

  const acts: Act[] = [
    { act: "deploy", pin: { artifact: "" } },
    { act: "shift", to: 10 },
    { act: "analyse", analysis: "analysis" },
    { act: "shift", to: 100 },
    { act: "analyse", analysis: "analysis" },
    { act: "adopt" },
    { act: "settle" },
  ];

  /** A run of so many records of 5 s at 10 %, and then at 100 %: 100 requests each, so many of them failed. */
  function recorded(first: number, then: number, errors: number, change: Partial<Tick> = {}): JournalEvent[] {
    const plan = planFor(["t0"], acts);
    const [low, high] = plan.steps.filter((s) => s.act === "analyse").map((s) => s.id) as [string, string];
    const facts = Array.from({ length: first + then }, (_, i): Fact & { after: number } => {
      const tick: Tick = {
        at: BEGAN + (i + 1) * 5000,
        seconds: 5,
        edges: [],
        canary: { requests: 100, errors, buckets: [100] },
        ...(i < first && { baseline: { requests: 900, errors: 0, buckets: [900] } }),
        ...change,
      };
      return { type: "sample.taken", step: i < first ? low : high, target: "prod", tick, after: 5 };
    });
    return journal(plan, facts);
  }
  async function each(events: JournalEvent[], asked = {}, by: Analysis | undefined = judged(SILENT)) {
    await kept(root, events);
    const found = await replay(RUN, asked, judging(root, by));
    return Object.fromEntries(found.map((r) => [r.judge, r])) as Record<string, Replayed>;
  }

  it("tells when each rule says no: at once, after a minute, a sixth look, and 15 points", async () => {
    const found = await each(recorded(200, 0, 20));
    assert.deepEqual(
      Object.values(found).map((r) => [r.judge, r.verdict, r.seconds, r.weight, r.requests, r.failed]),
      [
        ["sluice", "fail", 5, 10, 100, 20],
        ["flagger", "fail", 360, 10, 7200, 1440],
        ["argo", "fail", 60, 10, 1200, 240],
        ["kayenta", "fail", 900, 10, 18_000, 3600],
      ],
    );
    const text = replayLines(Object.values(found)).join("\n");
    assert.match(text, /^prod, run 20261124T060000-1a2b3c, still open:/);
    assert.match(text, /argo +rolled back +60 s +10 % +1,200 +240$/m);
  });

  it("turns the judges where another weight begins, at its first record, however short", () => {
    const counting: Judge<number> = {
      id: "counting",
      rule: "counts the records of a weight",
      start: () => 0,
      turn: () => 0,
      update: (n) => n + 1,
      finding: (n) => ({ judge: "counting", verdict: "running", reason: `${n}`, figures: {} }),
    };
    const events = recorded(3, 1, 0);
    const short = events.map((e, i) =>
      e.type === "sample.taken" && i === events.length - 1 ? { ...e, tick: { ...e.tick, seconds: 2 } } : e,
    );
    const [recording] = recordings(planFor(["t0"], acts), short);
    const said = [...looks(recording!, [counting as Judge])].map((l) => l.verdict.findings[0]?.reason);
    assert.deepEqual(said, ["1", "2", "3", "1"]);
  });

  it("says what a recording can't tell: it ends, or goes on to another weight, or would have gone on", async () => {
    const found = await each(recorded(24, 24, 0));
    assert.deepEqual(
      NAMES.map((name) => [found[name]?.verdict, found[name]?.stayed, found[name]?.ends]),
      [
        ["pass", undefined, false],
        ["pass", undefined, false],
        ["pass", undefined, false],
        ["running", 10, true],
      ],
    );
    const text = replayLines(Object.values(found)).join("\n");
    assert.match(
      text,
      /kayenta: 2 of 15 points so far; it would not have left 10 % yet, where the recording/,
    );
    rmSync(join(root, ".sluice"), { recursive: true });
    const short = await each(recorded(6, 0, 0));
    assert.deepEqual([short.argo?.verdict, short.argo?.ends, short.argo?.seconds], ["running", true, 30]);
    assert.match(replayLines(Object.values(short)).join("\n"), /argo: .*; the recording ends here\.$/m);
    rmSync(join(root, ".sluice"), { recursive: true });
    const half = await each(recorded(24, 0, 0));
    assert.equal(half.argo?.further, 100);
    assert.match(replayLines(Object.values(half)).join("\n"), /argo +gone on to 100 % +60 s/);
  });

  it("holds a release to what is asked for, and else to what the run was held to", async () => {
    const events = recorded(200, 0, 2);
    const found = await each(events, { max: "3%" });
    assert.deepEqual([found.argo?.verdict, found.flagger?.verdict], ["pass", "pass"]);
    assert.match(found.sluice?.reason ?? "", /limit 3 %/);
    assert.equal((await replay(RUN, { judge: "argo" }, judging(root, undefined)))[0]?.verdict, "fail");
    const [one, ...more] = await replay(RUN, { judge: "argo", max: "0.05" }, judging(root, undefined));
    assert.deepEqual([one?.judge, one?.verdict, more.length], ["argo", "pass", 0]);
    const verdict = {
      verdict: "pass" as const,
      reason: "",
      findings: [{ judge: "error-rate", verdict: "pass" as const, reason: "", figures: { limit: 0.04 } }],
    };
    const step = planFor(["t0"], acts).steps[2]!.id;
    rmSync(join(root, ".sluice"), { recursive: true });
    const at = events.at(-1)!;
    const finished = { ...at, seq: at.seq + 1, type: "step.finished", step, outcome: "done", verdict };
    await kept(root, [...events, finished as JournalEvent]);
    const [held] = await replay(RUN, { judge: "argo" }, judging(root, undefined));
    assert.match(held?.reason ?? "", /limit 4 %/);
  });

  it("judges latencies where a limit is given", async () => {
    const slow = { requests: 100, errors: 0, buckets: [0, 0, 100] };
    const change = { edges: [0.1, 1], canary: slow, baseline: { ...slow, buckets: [100, 0, 0] } };
    const found = await each(recorded(200, 0, 0, change), { p99: "500ms" });
    for (const name of NAMES) assert.equal(found[name]?.verdict, "fail", name);
  });

  it("takes a journal that knows nothing of weights and of the past, by every judge", async () => {
    const folder = join(__dirname, "../engine/recorded");
    for (const name of readdirSync(folder)) {
      const { events } = parse(readFileSync(join(folder, name)), name);
      if (!events.some((e) => e.type === "sample.taken")) continue;
      rmSync(join(root, ".sluice"), { recursive: true, force: true });
      await kept(root, events);
      for (const by of [undefined, judged(SILENT)]) {
        const found = await replay("prod", {}, judging(root, by));
        assert.deepEqual(
          found.map((r) => r.judge),
          [...NAMES],
          name,
        );
        assert.doesNotMatch(replayLines(found).join("\n"), /undefined|NaN|\[object/);
        for (const r of found) assert.ok(r.weight > 0 && r.seconds > 0, name);
      }
    }
  });

  it("refuses what can't be replayed, and limits that are none", async () => {
    const desk = judging(root, undefined);
    await kept(root, journal(planFor(["t0"], acts), []));
    await assert.rejects(replay(RUN, {}, desk), { code: "wrong-use", message: /judged no traffic/ });
    await assert.rejects(replay("nowhere", {}, desk), { code: "unknown-run" });
    rmSync(join(root, ".sluice"), { recursive: true });
    await kept(root, recorded(3, 0, 0));
    for (const [asked, where] of [
      [{ max: "1x" }, /--max/],
      [{ max: "200%" }, /--max/],
      [{ p99: "fast" }, /--p99/],
      [{ worseThan: 0 }, /--worse-than/],
      [{ max: "0%" }, /max/],
    ] as const)
      await assert.rejects(replay(RUN, asked, desk), { code: "bad-config", message: where });
  });

  it("knows the times that an analysis has where nothing is said", () => {
    const { stepBake, minBake, maxDuration, probe, risk, promoteRisk } = analysis({
      source: SILENT,
      judges: [errorRate({ max: "1%" })],
    });
    assert.deepEqual({ stepBake, minBake, maxDuration, probe, risk, promoteRisk }, DEFAULTS);
  });

  it("knows only judges with a name, each with its own ids", () => {
    for (const name of NAMES) {
      const ids = named(name, { max: "1%", p99: "500ms" }).map((j) => j.id);
      assert.equal(new Set(ids).size, 2, name);
      assert.equal(named(name, { max: "1%" }).length, 1);
    }
    assert.throws(() => named("spinnaker" as "argo", { max: "1%" }), {
      code: "bad-config",
      message: /sluice, flagger, argo, kayenta/,
    });
  });
});
