import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import fc from "fast-check";
import { analysis } from "../../automation/analysis/analysis";
import { errorRate } from "../../automation/analysis/errors";
import { type Fact, fold } from "../../automation/core/events";
import { parse } from "../../automation/engine/chain";
import { exitCode, writeReport } from "../../automation/report";
import { html } from "../../automation/report/html";
import { makeReport } from "../../automation/report/make";
import { markdown } from "../../automation/report/markdown";
import { jsonSchema, type Report, reportSchema } from "../../automation/report/schema";
import { reportLines } from "../../automation/report/text";
import { createRedactor } from "../../components/redact";
import { judged, rollout, SILENT } from "../support/judged";
import { tell } from "../support/story";
import { PLAIN, tales } from "../support/tales";
import { BEGAN, journal, planFor, standing, tick } from "./story";

/** What must never reach a page or a terminal, but for line ends. */
const CONTROL = /(?![\n\t])[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u;

const acts = [
  { act: "deploy" as const, pin: { artifact: "" } },
  { act: "shift" as const, to: 10 },
  { act: "analyse" as const, analysis: "default" },
  { act: "shift" as const, to: 100 },
  { act: "adopt" as const },
  { act: "settle" as const },
];

function reportOf(...given: Parameters<typeof makeReport>): Report {
  const made = makeReport(...given);
  assert.ok(made);
  return reportSchema.parse(JSON.parse(JSON.stringify(made)));
}

function done(step: string, after = 2): (Fact & { after?: number })[] {
  return [
    { type: "step.started", step, attempt: 1 },
    { type: "step.finished", step, outcome: "done", handle: standing("web"), after },
  ];
}

/** A canary that fails at 10 %, restored; with this reason, and these names. */
function fallen(reason = "5 % of 100 requests failed", who = "ann@box") {
  const plan = planFor(["web"], acts, { version: "2", commit: "abc1234", repository: "https://git/x" });
  const [deploy, shift, analyse] = plan.steps.map((s) => s.id) as [string, string, string];
  const verdict = {
    verdict: "fail" as const,
    reason,
    findings: [
      {
        judge: "errors",
        verdict: "fail" as const,
        reason,
        figures: { rate: 0.05, nan: Number.NaN },
        evidence: {
          ...{ against: 4, for: -7, p: 0.018, bad: 15, needed: 3, sample: 300 },
          intervals: { canary: [0.01, 0.14] as const, [reason]: [0, 1] as const },
        },
      },
    ],
    rule: `evidence against the release, by ${reason}`,
    states: { errors: { secret: "kept in the journal only" } },
  };
  const failure = { code: "verdict-fail", message: reason, hint: "Look at `logs`.", verdict };
  const facts: (Fact & { after?: number })[] = [
    ...done(deploy),
    ...done(shift),
    { type: "step.started", step: analyse, attempt: 1 },
    ...[0, 5, 10].map((s, i) => ({
      type: "sample.taken" as const,
      step: analyse,
      target: "prod",
      tick: tick(BEGAN + 10_000 + s * 1000, i * 5),
      after: 5,
    })),
    { type: "answer.given", answer: "reject", who, reason, plan: "another" },
    { type: "step.finished", step: analyse, outcome: "failed", failure },
    { type: "rollback.begun", reason, step: analyse, failure, after: 0 },
    { type: "traffic.diverted", target: "prod", moved: true, after: 0 },
    {
      type: "restore.failed",
      target: "prod",
      attempt: 1,
      failure: { code: "stack-locked", message: reason },
      until: 0,
    },
    { type: "target.restored", target: "prod", handle: standing("web"), after: 4 },
    { type: "run.finished", outcome: "rolled-back", reason },
  ];
  return { plan, events: journal(plan, facts) };
}

describe("The report", () => {
  it("does not say that all is as before where a wave that was through keeps the release", async () => {
    const targets = [{ first: false }, { first: false }];
    const { events } = await tell({ ...PLAIN, targets, wave: 1, onFailure: "wave", failing: ["t1/live"] });
    const headline = makeReport(events)?.headline ?? "";
    assert.match(
      headline,
      /^prod: a wave was rolled back, and t0 of those before it keep release [0-9a-f]{12}\. check smoke/,
    );
  });

  it("says outcome and why first, then all that happened", () => {
    const report = reportOf(fallen().events, { prod: ["boom", "last words"] });
    assert.equal(report.headline, "prod: rolled back, everything is as before. 5 % of 100 requests failed.");
    assert.equal(report.exit, 1);
    const [target] = report.targets;
    assert.deepEqual(
      [target?.from?.slot, target?.to.slot, target?.to.version, target?.result],
      ["blue", "green", "2", "restored"],
    );
    assert.deepEqual(report.failure?.code, "verdict-fail");
    assert.deepEqual(report.steps[2]?.verdict?.findings[0]?.figures, { rate: 0.05 });
    assert.deepEqual(report.answers[0], {
      at: "2026-11-24T06:00:23.000Z",
      answer: "reject",
      who: "ann@box",
      verified: false,
      counts: false,
      reason: "5 % of 100 requests failed",
    });
    const way = report.rollback?.targets[0];
    assert.deepEqual([way?.moved, way?.failures.length, way?.logs], [true, 1, ["boom", "last words"]]);
    assert.ok(way?.diverted && way.restored && way.diverted < way.restored);
    const points = report.samples[0]?.points ?? [];
    assert.deepEqual(
      points.map((p) => p.canary.errors),
      [0, 5, 10],
    );
    assert.equal(points[0]?.canary.p99, 0.091);
    assert.deepEqual(
      report.samples[0]?.weights.map((w) => w.percent),
      [10],
    );
    assert.match(markdown(report), /lines: `npm run logs -- prod`\. Correct/);
    for (const shown of [markdown(report), html(report), reportLines(report).join("\n")]) {
      const head = shown.includes("<h1") ? shown.slice(shown.indexOf("<h1")) : shown;
      assert.match(head.split("\n")[0] ?? "", /rolled back, everything is as before\. 5 % of 100/);
      for (const part of ["last words", "unverified", "ann@box", "analyse", "promote", "stack"])
        assert.ok(shown.includes(part), part);
    }
  });

  it("tells how sure a verdict is: in a paragraph, in figures, and over time where its judges are known", async () => {
    const { events } = await rollout({ seed: 5, rps: 2000, rate: 0.005 });
    const report = makeReport(events, {}, judged(SILENT))!;
    reportSchema.parse(JSON.parse(JSON.stringify(report)));
    const verdicts = report.steps.flatMap((s) => s.verdict ?? []);
    assert.equal(verdicts.length, 5);
    for (const { said = "", rule, findings } of verdicts) {
      assert.ok(said.length > 100 && rule !== undefined && findings[0]?.evidence?.intervals?.canary);
      for (const text of [html(report), markdown(report)]) assert.ok(text.includes(said.slice(0, 60)), said);
    }
    const [course] = report.evidence ?? [];
    const { evidence } = verdicts.at(-1)!.findings[0]!;
    assert.ok(Math.abs((course?.points.at(-1)?.for ?? 0) - evidence!.for) < 1e-3);
    assert.ok((course?.points.length ?? 0) <= 125);
    const page = html(report);
    assert.match(page, /<h2>Evidence<\/h2>/);
    const drawn = [...page.matchAll(/<polyline class="(?:against|for)" points="([^"]*)"/g)];
    assert.equal(drawn.length, 2);
    for (const pair of drawn.flatMap(([, points = ""]) => points.split(" "))) {
      const [x, y] = pair.split(",").map(Number) as [number, number];
      assert.ok(x >= 0 && x <= 600 && y >= 0 && y <= 120, pair);
    }
    assert.match(markdown(report), /against it less than even, for it over 1,000,000 to 1, p [\d.]+/);
    // Without judges nothing is drawn; with others it would be another story.
    assert.equal(makeReport(events)?.evidence, undefined);
    const other = analysis({ source: SILENT, judges: [errorRate({ max: "20%" })] });
    assert.equal(makeReport(events, {}, other)?.evidence, undefined);
    assert.equal(makeReport(events)?.steps[2]?.verdict?.said, report.steps[2]?.verdict?.said);
  }).timeout(30_000);

  it("leaves out evidence that is no number, and the states that a verdict was made from", () => {
    const { events } = fallen();
    const broken = events.map((event) => {
      if (event.type !== "step.finished" || !event.failure?.verdict) return event;
      const [finding] = event.failure.verdict.findings;
      const evidence = { ...finding!.evidence!, for: Number.NaN };
      const verdict = { ...event.failure.verdict, findings: [{ ...finding!, evidence }] };
      return { ...event, failure: { ...event.failure, verdict } };
    });
    assert.equal(reportOf(broken).steps[2]?.verdict?.findings[0]?.evidence, undefined);
    assert.equal(reportOf(events).steps[2]?.verdict?.findings[0]?.evidence?.against, 4);
    assert.doesNotMatch(JSON.stringify(reportOf(events)), /kept in the journal only/);
  });

  it("is the same for the same journal, and for its data read back", () => {
    const { events } = fallen();
    const kept = { prod: ["x"] };
    const report = reportOf(events, kept);
    assert.deepEqual(reportOf(structuredClone(events), kept), report);
    assert.equal(html(JSON.parse(JSON.stringify(report))), html(report));
    assert.equal(markdown(JSON.parse(JSON.stringify(report))), markdown(report));
  });

  it("tells waits, pauses and acts that were cut off, each once", () => {
    const plan = planFor(["web"], [{ act: "gate", gate: "people" }, ...acts]);
    const [gate, deploy] = plan.steps.map((s) => s.id) as [string, string];
    const wait: Fact = { type: "step.waiting", step: gate, reason: "1 of 2 said yes", until: 0 };
    const events = journal(plan, [
      { type: "step.started", step: gate, attempt: 1 },
      wait,
      { type: "step.started", step: gate, attempt: 2, after: 30 },
      wait,
      { type: "run.paused", reason: "waiting", diverted: [] },
      { type: "step.started", step: gate, attempt: 3, after: 60 },
      { type: "answer.given", answer: "approve", who: "bob", plan: reportOf(journal(plan, [])).plan },
      { type: "step.finished", step: gate, outcome: "done" },
      { type: "step.started", step: deploy, attempt: 1 },
      { type: "step.started", step: deploy, attempt: 2, after: 9 },
      { type: "run.paused", reason: "interrupted", diverted: [] },
      { type: "step.started", step: deploy, attempt: 3, after: 7 },
    ]);
    const report = reportOf(events);
    assert.deepEqual(
      report.interruptions.map((i) => [i.kind, i.milliseconds]),
      [
        ["wait", 94_000],
        ["pause", 60_000],
        ["again", 0],
        ["pause", 7000],
      ],
    );
    assert.equal(report.outcome, "open");
    assert.equal(report.exit, undefined);
    assert.equal(report.answers[0]?.counts, true);
    assert.equal(report.steps[1]?.attempts, 3);
  });

  it("tells a person what to do, by outcome, with commands that name the environment", () => {
    const { plan } = fallen();
    const failure = { code: "up-failed", message: "no room", hint: "Make room." };
    const ends: [Report["outcome"], Fact[], RegExp][] = [
      ["open", [], /npm run promote -- staging prod[\s\S]*npm run abort -- prod/],
      ["promoted", [{ type: "run.finished", outcome: "promoted", reason: "" }], /npm run rollback -- prod/],
      [
        "paused",
        [{ type: "run.paused", reason: "interrupted", diverted: [] }],
        /npm run promote -- staging prod/,
      ],
      [
        "stuck",
        [{ type: "run.paused", reason: "stuck: no room", diverted: [] }],
        /npm run resolve -- prod --reason/,
      ],
      ["resolved", [{ type: "run.resolved", who: "ann", reason: "by hand" }], /npm run status -- prod/],
      [
        "refused",
        [
          {
            type: "step.finished",
            step: plan.steps[0]!.id,
            outcome: "failed",
            failure: { ...failure, untouched: true },
          },
          { type: "rollback.begun", reason: "no room", step: plan.steps[0]!.id, failure },
          { type: "run.finished", outcome: "refused", reason: "no room" },
        ],
        /Make room\.[\s\S]*npm run logs -- prod/,
      ],
    ];
    for (const [outcome, facts, what] of ends) {
      const report = reportOf(journal(plan, facts));
      assert.equal(report.outcome, outcome);
      const next = report.next.map((n) => `${n.do} ${n.run ?? ""}`).join("\n");
      assert.match(next, what, outcome);
      assert.doesNotMatch(next, /<environment>|undefined/);
    }
  });

  it("of any run, cut off anywhere, fits the schema and can be shown", async function () {
    this.timeout(60_000);
    await fc.assert(
      fc.asyncProperty(tales, fc.double({ min: 0, max: 1, noNaN: true }), async (tale, where) => {
        const { events, outcome } = await tell(tale);
        const whole = reportOf(events);
        if (outcome) assert.equal(whole.outcome, outcome);
        const part = reportOf(events.slice(0, 1 + Math.floor(where * (events.length - 1))));
        for (const report of [whole, part])
          for (const text of [html(report), markdown(report), reportLines(report).join("\n")])
            assert.doesNotMatch(text, /undefined|NaN|\[object/);
      }),
      { numRuns: 30 },
    );
  });

  it("of each journal that an earlier version left fits the schema, and says how it ended", () => {
    const folder = join(__dirname, "../engine/recorded");
    const names = readdirSync(folder);
    assert.ok(names.length > 0);
    for (const name of names) {
      const { events } = parse(readFileSync(join(folder, name)), name);
      const report = reportOf(events);
      assert.equal(report.outcome, fold(events)?.outcome, name);
      assert.ok(html(report).length > 1000 && markdown(report).length > 500, name);
    }
  });

  it("is drawn within a second, and takes less than 2 MB, of 50 services judged for 15 minutes", () => {
    const names = Array.from({ length: 50 }, (_, i) => `service-${i}`);
    const plan = planFor(names, [
      ...acts.slice(0, 1),
      ...[10, 25, 50, 100].flatMap((to) => [
        { act: "shift" as const, to },
        { act: "analyse" as const, analysis: "default" },
      ]),
      ...acts.slice(4),
    ]);
    const reason =
      "canary 0 % of 504 requests failed, limit 1 %; canary P99 9.27 ms of 504 requests, limit 2 times that";
    const figures = { requests: 504, errors: 0, rate: 0, limit: 0.01 };
    const findings = ["errors", "latency"].map((judge) => ({
      judge,
      verdict: "pass" as const,
      reason,
      figures,
    }));
    const facts = plan.steps.flatMap((s): (Fact & { after?: number })[] => {
      const began: Fact & { after?: number } = { type: "step.started", step: s.id, attempt: 1, after: 0 };
      const samples = Array.from({ length: s.act === "analyse" ? 45 : 0 }, (_, i) => ({
        type: "sample.taken" as const,
        step: s.id,
        target: s.target,
        tick: tick(BEGAN + i * 5000, i % 7),
        after: 0.02,
      }));
      const verdict = s.act === "analyse" ? { verdict: { verdict: "pass" as const, reason, findings } } : {};
      return [
        began,
        ...samples,
        { type: "step.finished", step: s.id, outcome: "done", handle: standing("web"), ...verdict },
      ];
    });
    const events = journal(plan, [...facts, { type: "run.finished", outcome: "promoted", reason: "" }]);
    const logs = Object.fromEntries(
      plan.targets.map((t) => [t.key, Array<string>(200).fill("x".repeat(1000))]),
    );
    const began = process.cpuUsage();
    const report = makeReport(events, logs)!;
    const texts = [JSON.stringify(report), html(report), markdown(report)];
    // Of the processor, for the machine may be busy with something else.
    const took = process.cpuUsage(began).user / 1000;
    assert.ok(took < 1000, `${took} ms`);
    for (const text of texts) assert.ok(Buffer.byteLength(text) < 2e6, `${Buffer.byteLength(text)} bytes`);
    assert.equal(report.samples.length, 50);
  });

  it("shows the last of a failing slot's lines, however many and long they are", () => {
    const lines = Array.from({ length: 1000 }, (_, i) => `${i} ${"x".repeat(100_000)}`);
    const logs = reportOf(fallen().events, { prod: lines }).rollback?.targets[0]?.logs ?? [];
    assert.equal(logs.length, 20);
    assert.match(logs.at(-1) ?? "", /^999 x+ \[… \d+ characters …\] x+$/);
    for (const line of logs) assert.ok(line.length < 600, `${line.length}`);
  });

  it("sums up the samples of a day, and loses no request and no error", () => {
    const plan = planFor(["web"], acts);
    const analyse = plan.steps[2]!.id;
    const samples = Array.from({ length: 10_000 }, (_, i) => ({
      type: "sample.taken" as const,
      step: analyse,
      target: "prod",
      tick: tick(BEGAN + i * 5000, i % 2),
      after: 5,
    }));
    const points = reportOf(journal(plan, samples)).samples[0]?.points ?? [];
    assert.ok(points.length <= 125, `${points.length}`);
    const sum = (of: "requests" | "errors" | "seconds") =>
      points.reduce((all, p) => all + (of === "seconds" ? p.seconds : p.canary[of]), 0);
    assert.deepEqual([sum("requests"), sum("errors"), sum("seconds")], [1_000_000, 5000, 50_000]);
  });

  it("has a schema that is kept with it", () => {
    const file = join(__dirname, "../../automation/report/report.schema.json");
    assert.deepEqual(
      JSON.parse(readFileSync(file, "utf8")),
      JSON.parse(JSON.stringify(jsonSchema())),
      "`npm run docs` writes it anew",
    );
  });
});

describe("Foreign text in a report", () => {
  const hostile = [
    `<script>alert(1)</script>`,
    `]]></style><script>x</script>`,
    `"><img src=x onerror=alert(1)>`,
    `' onload='x`,
    `&lt;b&gt; \`a\` <a href="javascript:x">`,
    "\u202Eevil\u2066\u200f",
    "a\u0000b\u001b[31mred\u0007\u009b",
    "line\r\nnext\u2028more",
    "| a | b |\n| --- | --- |\n# head\n```",
    "[x](javascript:alert(1)) ![y](http://elsewhere/z.png) <https://elsewhere>",
    "\ud800 lone",
    "```\n</pre></code>",
  ];

  for (const [i, text] of hostile.entries())
    it(`is text, whatever it says (${i})`, () => {
      const { events } = fallen(text, text);
      const report = reportOf(events, { prod: [text] });
      safe(html(report));
      const md = markdown(report);
      assert.doesNotMatch(md, CONTROL);
      for (const line of md.split("\n")) {
        // In a code span and in an indented block nothing is obeyed.
        const free = line.startsWith("    ") ? "" : line.replace(/`[^`]*`/g, "");
        assert.doesNotMatch(free.replace(/\\./g, ""), /<|\]\(|!\[|^```/, line);
      }
      for (const line of reportLines(report)) assert.doesNotMatch(stripVTControlCharacters(line), CONTROL);
    });

  it("could load and run nothing, even if it left its element: the page's policy says so", () => {
    const page = html(reportOf(fallen().events));
    const style = /<style>([\s\S]*?)<\/style>/.exec(page)?.[1] ?? "";
    const hash = createHash("sha256").update(style).digest("base64");
    assert.ok(page.includes(`content="default-src 'none'; style-src 'sha256-${hash}'`));
    assert.doesNotMatch(style, /url\(|@import|https?:/);
  });

  it("never leaves its element: only the tags and attributes of ours are there", () => {
    fc.assert(
      fc.property(
        fc.string({
          unit: fc.constantFrom("<", ">", '"', "'", "&", "`", "/", "a", " ", "\u202e", "\n", "-", "!", "]"),
        }),
        (text) => {
          const { events } = fallen(text || "x", text);
          safe(html(reportOf(events, { prod: [text] })));
        },
      ),
      { numRuns: 100 },
    );
  });

  /** Takes a page apart: every tag is one that the renderer writes, without anything that could act. */
  function safe(page: string): void {
    const tags = [
      ...page.matchAll(/<(?:!doctype html|\/?([a-z0-9]+)((?:\s+[a-z-]+(?:="[^"<>]*")?)*))\s*\/?>/gi),
    ];
    const left = page
      .replace(/<style>[\s\S]*?<\/style>/, "")
      .replace(/<(?:!doctype html|\/?[a-z0-9]+(?:\s+[a-zA-Z0-9-]+(?:="[^"<>]*")?)*)\s*\/?>/gi, "");
    assert.doesNotMatch(left, /[<>]/, left.match(/.{0,40}[<>].{0,40}/)?.[0]);
    const known = new Set(
      "html head meta title style body h1 h2 h3 p dl dt dd ol li div table thead tbody tr th td code pre bdi b br span time svg rect line text polyline circle".split(
        " ",
      ),
    );
    for (const [, name, attributes = ""] of tags) {
      if (name) assert.ok(known.has(name), `<${name}>`);
      assert.doesNotMatch(attributes, /\son\w+=|src=|href=|style=/i);
    }
    assert.doesNotMatch(page, CONTROL);
  }
});

describe("A report on disk", () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "sluice report-ü-"));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));
  const ended = {
    environment: "prod",
    left: "finished" as const,
    outcome: "rolled-back" as const,
    reason: "",
  };

  it("is there whole, three times, for its owner's eyes, with what was kept of the logs", async () => {
    mkdirSync(join(directory, "logs"));
    writeFileSync(join(directory, "logs", "prod.log"), "boom\nlast words\n");
    const { events } = fallen();
    const file = await writeReport({ ...ended, directory, events });
    assert.equal(file, join(directory, "report.md"));
    assert.deepEqual(readdirSync(directory).sort(), ["logs", "report.html", "report.json", "report.md"]);
    for (const name of ["report.html", "report.json", "report.md"])
      assert.equal(statSync(join(directory, name)).mode & 0o777, 0o600, name);
    const report = reportSchema.parse(JSON.parse(readFileSync(join(directory, "report.json"), "utf8")));
    assert.deepEqual(report.rollback?.targets[0]?.logs, ["boom", "last words"]);
    assert.equal(readFileSync(join(directory, "report.html"), "utf8"), html(report));
  });

  it("holds no secret", async () => {
    mkdirSync(join(directory, "logs"));
    writeFileSync(join(directory, "logs", "prod.log"), "token hunter2hunter2\n");
    const { events } = fallen("it said hunter2hunter2");
    await writeReport({ ...ended, directory, events }, createRedactor(["hunter2hunter2"]).json);
    for (const name of ["report.html", "report.json", "report.md"])
      assert.doesNotMatch(readFileSync(join(directory, name), "utf8"), /hunter2/, name);
  });

  it("is written over the one before, and leaves nothing half written where it can't be", async () => {
    const { events } = fallen();
    await writeReport({ ...ended, directory, events: events.slice(0, 3) });
    await writeReport({ ...ended, directory, events });
    assert.match(readFileSync(join(directory, "report.md"), "utf8"), /^# prod: rolled back/);
    rmSync(join(directory, "report.html"));
    mkdirSync(join(directory, "report.html", "taken"), { recursive: true });
    await assert.rejects(writeReport({ ...ended, directory, events }));
    assert.deepEqual(readdirSync(directory).sort(), ["report.html", "report.json", "report.md"]);
  });

  it("is none where no run was begun", async () => {
    assert.equal(await writeReport({ environment: "prod", left: "nothing", reason: "" }), undefined);
    assert.equal(await writeReport({ ...ended, directory, events: [] }), undefined);
    assert.equal(existsSync(join(directory, "report.json")), false);
  });

  it("goes with an exit code for every outcome", () => {
    for (const [outcome, code] of [
      ["promoted", 0],
      ["rolled-back", 1],
      ["stuck", 3],
      ["refused", 4],
      ["resolved", 0],
    ] as const)
      assert.equal(exitCode([{ ...ended, outcome }]), code, outcome);
  });
});
