import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Clone, clone } from "../support/clone";
import { edit, get } from "../support/driver";

const ROOT = join(__dirname, "..", "..");

/** The commands of a Markdown file's `sh` blocks, a line each. */
function commands(file: string): string[] {
  return [...readFileSync(join(ROOT, file), "utf8").matchAll(/```sh\n([\s\S]*?)```/g)].flatMap((block) =>
    (block[1] ?? "").split("\n").filter((line) => line && !line.startsWith("#")),
  );
}

describe("the README, followed in a fresh clone", function () {
  this.timeout(300_000);
  let c: Clone;
  before(async () => {
    c = await clone();
  });
  after(() => c?.dispose());

  it("shows only commands that are run here, or by CI", () => {
    const known = new Set([
      "npm ci && npm run promote -- staging prod",
      "npm run promote -- staging prod --build",
      "npm run status",
      "npm run history",
      "npm run explain -- prod",
      "npm run replay -- prod",
      "npm run simulate -- --rps 100 --max 1%",
      "npm run rollback -- prod",
      "npm run doctor",
      "npm run local -- down",
      "npm ci && npm test",
      // In adopt.test.ts, with the package as it is published.
      "npx sluice init && npm run promote -- staging prod",
    ]);
    assert.deepEqual(new Set(commands("README.md")), known);
    // The last one is what CI runs: here it would run itself.
    const ci = readFileSync(join(ROOT, ".ci", "run"), "utf8");
    assert.match(ci, /^npm ci$/m);
    assert.match(ci, /^npm test$/m);
  });

  it("runs the main job with one command, and leaves the clone clean", async () => {
    const { code, output } = await c.sh("npm ci && npm run promote -- staging prod");
    assert.equal(code, 0, output);
    assert.match(output, /prod: promoted/);
    assert.match((await get(c.ports.prod ?? 0)).text, /sample 1/);
    assert.equal(execFileSync("git", ["status", "--porcelain"], { cwd: c.root, encoding: "utf8" }), "");
  });

  it("promotes what was edited as a canary", async () => {
    edit(c, "2");
    const { code, output } = await c.sh("npm run promote -- staging prod --build");
    assert.equal(code, 0, output);
    assert.match(output, /shift to 10 %[\s\S]*analyse[\s\S]*shift to 50 %[\s\S]*prod: promoted/);
    assert.match((await get(c.ports.prod ?? 0)).text, /sample 2/);
  });

  it("rolls back by itself what fails 5 % of its requests", async () => {
    edit(c, "3", 0.05);
    const { code, output } = await c.sh("npm run promote -- staging prod --build");
    assert.equal(code, 1, output);
    assert.match(output, /verdict-fail: The release fails: canary/);
    assert.match((await get(c.ports.prod ?? 0)).text, /sample 2/);
  });

  it("explains how sure it was, and what the rules of others would have made of it", async () => {
    const why = await c.sh("npm run explain -- prod");
    assert.equal(why.code, 0, why.output);
    assert.match(
      why.output,
      /the release failed[\s\S]*fewer than 1 of [\d,]+ rollouts[\s\S]*[●#] against the release/,
    );
    const others = await c.sh("npm run replay -- prod");
    assert.match(others.output, /sluice +rolled back[\s\S]*flagger[\s\S]*argo[\s\S]*kayenta/);
    const before = await c.sh("npm run simulate -- --rps 100 --max 1%");
    assert.match(before.output, /sluice +0 %[\s\S]*is rolled back after/);
  });

  it("tells, mends and ends", async () => {
    const status = await c.sh("npm run status");
    assert.match(status.output, /prod\n {2}sample: dir:/);
    const history = await c.sh("npm run history");
    assert.match(history.output, /rolled-back/);
    const back = await c.sh("npm run rollback -- prod");
    assert.equal(back.code, 0, back.output);
    assert.match((await get(c.ports.prod ?? 0)).text, /sample 1/);
    const doctor = await c.sh("npm run doctor");
    assert.equal(doctor.code, 0, doctor.output);
    const down = await c.sh("npm run local -- down");
    assert.equal(down.code, 0, down.output);
    await assert.rejects(get(c.ports.prod ?? 0));
  });
});
