import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Report, reportSchema } from "../../automation/report/schema";
import { edit, judging, quicken } from "../support/driver";
import { type Project, project } from "../support/project";

describe("A run, looked at while it goes on and afterwards", function () {
  this.timeout(600_000);
  let p: Project;
  before(async () => {
    p = await project();
    quicken(p, { bake: 2 });
    const first = await p.sluice(["promote", "staging", "prod"]);
    assert.equal(first.code, 0, first.stdout + first.stderr);
  });
  after(() => p?.dispose());

  const newest = () => {
    const folder = join(p.root, ".sluice", "runs", "prod");
    const run =
      readdirSync(folder)
        .filter((name) => /^\d/.test(name))
        .sort()
        .at(-1) ?? "";
    return join(folder, run);
  };
  async function shown(word: string): Promise<Report> {
    const { code, stdout, stderr } = await p.sluice(["show", word, "--json"]);
    assert.equal(code, 0, stdout + stderr);
    const { type, v: _v, ...report } = JSON.parse(stdout);
    assert.equal(type, "report");
    return reportSchema.parse(report);
  }

  it("leaves its report three times, and `show` tells the same", async () => {
    const directory = newest();
    for (const name of ["report.json", "report.md", "report.html"])
      assert.equal(statSync(join(directory, name)).mode & 0o777, 0o600, name);
    const kept = reportSchema.parse(JSON.parse(readFileSync(join(directory, "report.json"), "utf8")));
    assert.deepEqual([kept.outcome, kept.exit], ["promoted", 0]);
    assert.deepEqual(await shown(kept.run), kept);
    const { stdout } = await p.sluice(["show", "prod"]);
    assert.match(stdout, /^prod: promoted\. It runs release [0-9a-f]{12}; every step is done\./);
  });

  it("is told while it judges, and ends as it would have although its report can't be written", async () => {
    edit(p, "2");
    // Judged for longer than anybody looks.
    const judges = 'judges: [errorRate({ max: "1%" })]';
    quicken(p, {
      extra: `analysis: analysis({ source: scrape(), ${judges}, every: 0.5, stepBake: 6000, maxDuration: 60000 }),`,
    });
    const built = await p.sluice(["promote", "dev", "staging", "--build"]);
    assert.equal(built.code, 0, built.stdout + built.stderr);
    const driver = await judging(p, ["promote", "staging", "prod"]);
    const report = await shown("prod");
    assert.equal(report.outcome, "open");
    assert.match((await p.sluice(["show", "prod"])).stdout, new RegExp(`driven by .*pid ${driver.pid}`));
    const slot = await p.sluice(["logs", "prod", "--lines", "5"]);
    assert.equal(slot.code, 0, slot.stderr);
    mkdirSync(join(newest(), "report.json", "taken"), { recursive: true });
    assert.equal((await p.sluice(["abort", "prod", "--reason", "seen enough"])).code, 0);
    const ended = await driver.ended;
    assert.equal(ended.code, 1, ended.stdout + ended.stderr);
    assert.match(ended.stderr, /report could not be written/);
    const after = await shown(report.run);
    assert.deepEqual([after.outcome, after.answers[0]?.reason], ["rolled-back", "seen enough"]);
    assert.ok((after.samples[0]?.points.length ?? 0) > 0);
    assert.ok(after.rollback?.targets[0]?.diverted && after.rollback.targets[0].restored);
  });

  it("is unknown by a name that no run has: exit 2, with the newest", async () => {
    const { code, stderr } = await p.sluice(["logs", "20200101"]);
    assert.equal(code, 2);
    assert.match(stderr, /^unknown-run: .*newest are \d{8}T/);
  });
});
