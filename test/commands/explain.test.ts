import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { analysis } from "../../automation/analysis/analysis";
import { type ErrorRateState, errorRate } from "../../automation/analysis/errors";
import { metric } from "../../automation/analysis/metric";
import { explain, explainLines } from "../../automation/commands/explain";
import type { Act, Tick } from "../../automation/core/model";
import { parse } from "../../automation/engine/chain";
import { evidenceOf } from "../../automation/report/evidence";
import { BEGAN, journal, planFor, standing } from "../report/story";
import { judged, judging, kept, RUN, rollout, SILENT } from "../support/judged";

const acts: Act[] = [
  { act: "deploy", pin: { artifact: "" } },
  { act: "shift", to: 100 },
  { act: "analyse", analysis: "analysis" },
  { act: "adopt" },
  { act: "settle" },
];
const PAPER = { columns: 80, ascii: false };

describe("Explaining a run", function () {
  this.timeout(120_000);
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "sluice explain ü-"));
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  const lines = (of: Parameters<typeof explainLines>[0], paper = PAPER) =>
    explainLines(of, paper).map(stripVTControlCharacters);

  it("says of a no who was seen to fail, by which rule, and how rarely chance alone does that", async () => {
    const { events } = await rollout({ seed: 3, rps: 400, rate: 0.05 });
    await kept(root, events);
    const told = await explain("prod", judging(root, judged(SILENT)));
    const last = told.decisions.at(-1)!;
    assert.equal(last.verdict.verdict, "fail");
    const { p, intervals } = last.verdict.findings[0]!.evidence!;
    assert.match(last.text, /^t0, analyse at 5 %: the release failed\. It (was watched for|had) /);
    assert.match(last.text, /canary [\d.]+ % of [\d,]+ requests failed, limit 1 %, baseline /);
    assert.match(last.text, /What decided: evidence against the release, by error-rate\./);
    const [, times = ""] = /look this bad in fewer than 1 of ([\d,]+) rollouts/.exec(last.text) ?? [];
    const said = Number(times.replaceAll(",", ""));
    assert.ok(said >= 20 && said <= 1 / p && said > 0.9 / p, `${said} of ${1 / p}`);
    const [low, high] = intervals!.canary!;
    const share = `true share between ${+(low * 100).toFixed(2)} % and ${+(high * 100).toFixed(2)} %`;
    assert.ok(last.text.includes(share), share);
    assert.equal(last.allRequests, last.verdict.findings[0]!.evidence!.sample);
  });

  it("says of a yes what speaks for it, and of a probe that nothing speaks against it", async () => {
    const { events } = await rollout({ seed: 5, rps: 2000, rate: 0.005 });
    await kept(root, events);
    const { decisions } = await explain("prod", judging(root, judged(SILENT)));
    assert.deepEqual(
      decisions.map((d) => [d.weight, d.verdict.verdict]),
      [5, 10, 25, 50, 100].map((weight) => [weight, "pass"]),
    );
    const [probe, proved] = decisions.map((d) => d.text) as [string, string];
    assert.match(probe, /Up to 10 % a release goes on when nothing speaks against it/);
    assert.match(
      proved,
      /breaks its limits would look this good to error-rate in fewer than 1 of .* rollouts/,
    );
    assert.match(proved, /evidence for it over 1,000,000 to 1; 20 to 1 is enough/);
    assert.match(
      proved,
      /watched for 6\d s at this weight, with [\d,]+ requests, 2 min and [\d,]+ requests of/,
    );
    // That the split was kept is worth no sentence.
    assert.doesNotMatch(decisions.map((d) => d.text).join(), /split: /);
  });

  it("says of what is open how many requests without an error would prove it: so many, and not one less", async () => {
    const { events } = await rollout({ seed: 7, rps: 10, rate: 0.005 });
    await kept(root, events);
    const { decisions } = await explain("prod", judging(root, judged(SILENT)));
    const [held] = decisions.filter((d) => d.until !== undefined);
    assert.match(
      held?.text ?? "",
      /could not be judged\. .* time is over\. .*20 to 1 either way would be enough/,
    );
    assert.match(held?.text ?? "", /It is held until 20\d\d-/);
    assert.equal(held?.allRequests, held?.verdict.findings[0]?.evidence?.sample);
    const [, more = ""] = /about ([\d,]+) more requests without an error/.exec(held?.text ?? "") ?? [];
    const state = held!.verdict.states!["error-rate"] as ErrorRateState;
    const judge = errorRate({ max: "1%", worseThan: 1.5 });
    const strength = (requests: number) => {
      const clean = (n: number) => ({ requests: n, errors: 0, buckets: [n] });
      const tick: Tick = { at: 0, seconds: 0, edges: [], canary: clean(requests), baseline: clean(1e4) };
      return judge.finding(judge.update(state, tick)).evidence!.for;
    };
    const n = Number(more.replaceAll(",", ""));
    assert.ok(strength(n) >= Math.log(20) && strength(n - 1) < Math.log(20), `${n}`);
  });

  it("draws the evidence of each target, from even on to where it was enough", async () => {
    const { events } = await rollout({ seed: 3, rps: 400, rate: 0.05 });
    await kept(root, events);
    const told = await explain("prod", judging(root, judged(SILENT)));
    const [course] = told.evidence;
    assert.ok(course?.same);
    assert.deepEqual([course.points[0]?.against, course.points[0]?.for], [0, 0]);
    const decided = told.decisions.at(-1)!.verdict.findings[0]!.evidence!;
    assert.ok(Math.abs(course.points.at(-1)!.against - decided.against) < 1e-3);
    assert.ok(course.points.slice(0, -1).every((p) => p.against < course.enough.against));
    const text = lines(told);
    const line = text.findIndex((row) => / 20 to 1 ┤/.test(row));
    const end = text.findIndex((row) => row.endsWith("●"));
    assert.ok(line > 0 && end > 0 && end <= line, text.join("\n"));
    const typed = explainLines(told, { columns: 72, ascii: true }).slice(3).map(stripVTControlCharacters);
    for (const line of typed) assert.match(line, /^[\x20-\x7e]{0,72}$/);
  });

  it("says that it would be judged otherwise now, where the pipeline has changed", async () => {
    const { events } = await rollout({ seed: 3, rps: 400, rate: 0.05 });
    await kept(root, events);
    const other = analysis({ source: SILENT, judges: [errorRate({ max: "20%" })] });
    const told = await explain("prod", judging(root, other));
    assert.equal(told.evidence[0]?.same, false);
    assert.match(lines(told).join("\n"), /judges are not those that decided/);
    // Without an analysis nobody knows by what to draw it.
    assert.deepEqual((await explain("prod", judging(root, undefined))).evidence, []);
  });

  it("claims no certainty of a rule of thumb, and of journals that know none", async () => {
    const folder = join(__dirname, "../engine/recorded");
    for (const name of readdirSync(folder)) {
      rmSync(join(root, ".sluice"), { recursive: true, force: true });
      const { events } = parse(readFileSync(join(folder, name)), name);
      await kept(root, events);
      const told = await explain("prod", judging(root, undefined));
      const text = lines(told).join("\n");
      assert.doesNotMatch(text, /undefined|NaN|rollouts|to 1|\[object/, name);
      if (told.decisions.length === 0) assert.match(text, /^Nothing was decided by analysis in run/);
    }
    const thumb = analysis({ source: SILENT, judges: [metric({ query: "queue", max: 1 })] });
    const { events, plan } = await rollout({ seed: 1, rps: 100, rate: 0.001 });
    assert.deepEqual(evidenceOf(plan, events, thumb), []);
  });

  it("tells what is seen so far of a run that has decided nothing yet", async () => {
    const plan = planFor(["t0"], acts);
    const step = plan.steps[2]!.id;
    const counts = (requests: number) => ({ requests, errors: 0, buckets: [requests] });
    const tick = { at: BEGAN + 5000, seconds: 5, edges: [], canary: counts(50), baseline: counts(950) };
    await kept(root, journal(plan, [{ type: "sample.taken", step, target: "prod", tick }]));
    const told = await explain(RUN, judging(root, judged(SILENT)));
    assert.deepEqual(told.decisions, []);
    assert.match(lines(told).join("\n"), /^Nothing has been decided yet\.\n\nprod: evidence over time\n/);
  });

  it("holds no secret, and nothing that a terminal would obey", async () => {
    const plan = planFor(["t0"], acts);
    const reason = "said hunter2hunter2 \u001b[2J\u202e";
    const findings = [{ judge: "j", verdict: "fail" as const, reason, figures: {} }];
    const verdict = { verdict: "fail" as const, reason, findings };
    const failure = { code: "verdict-fail", message: reason, verdict };
    const step = plan.steps[2]!.id;
    await kept(
      root,
      journal(plan, [{ type: "step.finished", step, outcome: "failed", failure, handle: standing("t0") }]),
    );
    const told = await explain(RUN, judging(root, undefined, ["hunter2hunter2"]));
    assert.doesNotMatch(JSON.stringify(told), /hunter2/);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
    assert.doesNotMatch(explainLines(told, PAPER).join("\n"), /\u001b\[2J|\u202e/);
  });
});
