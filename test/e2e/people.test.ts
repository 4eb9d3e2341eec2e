import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { PlanFile } from "../../automation/engine/planfile";
import { edit, essence, get, handleOf, journalOf, quicken, users } from "../support/driver";
import { type Project, project } from "../support/project";

const APPROVAL = "gates: [approval({ requester: true })],";

// One project, told in order: each law begins where the one before it ended.
describe("what people say to a run, with the real CLI, stacks, processes and proxy", function () {
  this.timeout(180_000);
  let p: Project;
  before(async () => {
    p = await project();
    quicken(p);
    const { code, stdout, stderr } = await p.sluice(["promote", "staging", "prod"]);
    assert.equal(code, 0, stdout + stderr);
  });
  after(() => p?.dispose());
  const ported = (stack: string) => p.ports[stack] ?? 0;
  const last = () => journalOf(p, "prod").at(-1);

  async function sluice(code: number, ...args: string[]) {
    const ended = await p.sluice(args);
    assert.equal(ended.code, code, `${args.join(" ")}\n${ended.stdout}${ended.stderr}`);
    return ended;
  }

  it("leaves a CI job with 75 until the run is approved, with nothing moved, and goes on after", async () => {
    quicken(p, { extra: APPROVAL });
    edit(p, "2");
    const before = await handleOf(p, "prod");
    const waits = await sluice(75, "promote", "staging", "prod", "--build");
    assert.match(waits.stdout, /0 of 1 person approved it: `npm run approve -- prod`/);
    assert.deepEqual(await handleOf(p, "prod"), before);
    const again = await sluice(75, "promote", "staging", "prod", "--build");
    assert.match(again.stderr, /Going on with run/);

    const said = await sluice(0, "approve", "prod", "--reason", "looked at staging");
    assert.match(said.stdout, /\(unverified\): approved run \S+ on prod, plan [0-9a-f]{12}/);
    assert.match(said.stdout, /Nobody drives the run: `npm run promote -- staging prod --build` goes on/);
    await sluice(0, "promote", "staging", "prod", "--build");
    assert.match((await get(ported("prod"))).text, /sample 2/);
    const given = journalOf(p, "prod").find((e) => e.type === "answer.given");
    assert.equal(given?.type === "answer.given" && given.reason, "looked at staging");
  });

  it("refuses an answer that nobody asked for, one about another plan, and one of the requester's own", async () => {
    const nothing = await sluice(4, "approve", "prod");
    assert.match(nothing.stderr, /no-run-open/);
    edit(p, "3");
    quicken(p, { extra: "gates: [approval({ requester: false })]," });
    await sluice(75, "promote", "staging", "prod", "--build");
    assert.match((await sluice(4, "approve", "prod")).stderr, /own-approval: .+ began this run/);
    assert.match((await sluice(2, "approve", "prod", "--plan", "0".repeat(12))).stderr, /asks about plan/);
  });

  it("is refused where somebody rejects it, with nothing moved, and exit 4", async () => {
    const before = await handleOf(p, "prod");
    await sluice(0, "reject", "prod", "--reason", "not on a Friday");
    const { stdout } = await sluice(4, "promote", "staging", "prod", "--build");
    assert.match(stdout, /rejected it: not on a Friday/);
    assert.deepEqual(await handleOf(p, "prod"), before);
  });

  it("drives a plan that was kept, that one alone, and refuses it once it was edited or the world moved", async () => {
    quicken(p);
    const file = join(p.root, "plan ü.json");
    const kept = await sluice(0, "promote", "staging", "prod", "--out", file);
    assert.match(kept.stderr, /Plan [0-9a-f]{12} is in/);
    const text = readFileSync(file, "utf8");
    writeFileSync(file, text.replace('"to": 20', '"to": 90'));
    assert.match((await sluice(2, "promote", "--plan", file)).stderr, /plan-unreadable: .*edited/);
    writeFileSync(file, text);
    quicken(p, { weights: [50, 100] });
    assert.match((await sluice(4, "promote", "--plan", file)).stderr, /plan-stale: .*another plan now/);
    quicken(p);
    await sluice(0, "promote", "--plan", file);
    assert.match((await get(ported("prod"))).text, /sample 3/);
    const planned = journalOf(p, "prod")[0];
    const { plan } = JSON.parse(text) as PlanFile;
    assert.deepEqual(planned?.type === "run.planned" && planned.plan, plan);
    assert.match((await sluice(0, "promote", "--plan", file)).stdout, /nothing to do/);
  });

  it("holds a weight until somebody says go on, and lets nobody fail meanwhile", async () => {
    edit(p, "4");
    quicken(p, { strategy: "canary({ weights: [20, 100], soak: 1, hold: [20] })" });
    const crowd = users(ported("prod"), 50);
    const held = await sluice(75, "promote", "staging", "prod", "--build");
    assert.match(held.stdout, /held until somebody says go on/);
    // Nobody watches it while it waits.
    assert.equal(last()?.type, "run.paused");
    for (let i = 0; i < 20; i++) assert.match((await get(ported("prod"))).text, /sample 3/);
    await sluice(0, "approve", "prod");
    await sluice(0, "promote", "staging", "prod", "--build");
    assert.deepEqual((await crowd.stop()).failed, []);
    assert.match((await get(ported("prod"))).text, /sample 4/);
  });

  it("takes the place of an open run with --supersede, once that is rolled back", async () => {
    edit(p, "5");
    await sluice(75, "promote", "staging", "prod", "--build");
    const first = journalOf(p, "prod")[0];
    quicken(p);
    const other = await sluice(4, "promote", "staging", "prod");
    assert.match(other.stderr, /run-open-other: .*--supersede/s);
    await sluice(0, "promote", "staging", "prod", "--supersede");
    assert.match((await get(ported("prod"))).text, /sample 5/);
    const history = await sluice(0, "history", "prod", "--json");
    const runs = history.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const superseded = runs.find((r) => first?.type === "run.planned" && r.run === first.run);
    assert.equal(superseded?.outcome, "rolled-back");
  });

  it("closes a run that was put right by hand, keeps what is live, and says who did it", async () => {
    edit(p, "6");
    quicken(p, { strategy: "canary({ weights: [20, 100], hold: [20] })" });
    await sluice(75, "promote", "staging", "prod", "--build");
    assert.match((await sluice(2, "resolve", "prod")).stderr, /needs --reason/);
    await sluice(0, "resolve", "prod", "--reason", "looked at by hand");
    const resolved = last();
    assert.equal(resolved?.type === "run.resolved" && resolved.reason, "looked at by hand");
    const prod = await handleOf(p, "prod");
    assert.equal(prod?.run, undefined);
    assert.deepEqual(Object.keys(prod?.slots ?? {}), [prod?.live]);
    assert.match((await get(ported("prod"))).text, /sample 5/);
    assert.match((await sluice(4, "resolve", "prod", "--reason", "again")).stderr, /no-run-open/);
  });

  it("goes back to a release that is named, with the settings it had, and to none that it never had", async () => {
    const three = journalVersions(p).get("3");
    assert.ok(three, "release 3 was promoted");
    const unknown = await sluice(4, "rollback", "prod", "--to", "abcdef123456");
    assert.match(unknown.stderr, /unknown-release: .*Known, newest first: [0-9a-f]{12}/);
    const before = await handleOf(p, "prod");
    await sluice(0, "rollback", "prod", "--to", three);
    assert.match((await get(ported("prod"))).text, /sample 3/);
    assert.notDeepEqual(essence(await handleOf(p, "prod")), essence(before));
    await sluice(0, "rollback", "prod");
    assert.match((await get(ported("prod"))).text, /sample 5/);
  });
});

/** Ids of promoted releases by what the sample calls its version: they came in that order. */
function journalVersions(p: Project): Map<string, string> {
  const kept = JSON.parse(readFileSync(join(p.root, "plan ü.json"), "utf8")) as PlanFile;
  return new Map([["3", kept.plan.release]]);
}
