import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { connect } from "../../components/local/client";
import { stateDirectory } from "../../components/local/release";
import { edit, essence, get, handleOf, journalOf, judging, quicken, users } from "../support/driver";
import { type Project, project } from "../support/project";

// One project, told in order: each law begins where the one before it ended.
describe("the main job, with the real CLI, stacks, processes and proxy", function () {
  this.timeout(180_000);
  let p: Project;
  before(async () => {
    p = await project();
    quicken(p);
  });
  after(() => p?.dispose());
  const ported = (stack: string) => p.ports[stack] ?? 0;

  it("brings a first release through staging to prod, although nothing ran anywhere", async () => {
    const { code, stdout, stderr } = await p.sluice(["promote", "staging", "prod"]);
    assert.equal(code, 0, stdout + stderr);
    assert.match(stderr, /Nothing runs in staging yet, so a first release is built/);
    assert.match((await get(ported("prod"))).text, /sample 1/);
    const [staging, prod] = [await handleOf(p, "staging"), await handleOf(p, "prod")];
    assert.equal(prod?.slots.blue?.pin.artifact, staging?.slots.blue?.pin.artifact);
    assert.equal(prod?.proved?.release, staging?.proved?.release);
    assert.deepEqual(prod?.split, { blue: 100, green: 0 });
    assert.equal(prod?.run, undefined);
  });

  it("does nothing, and says so, when the same release is promoted again", async () => {
    const before = await handleOf(p, "prod");
    const { code, stdout } = await p.sluice(["promote", "staging", "prod"]);
    assert.equal(code, 0);
    assert.match(stdout, /prod: nothing to do/);
    assert.deepEqual(await handleOf(p, "prod"), before);
  });

  it("shows a plan and changes nothing in a dry run", async () => {
    edit(p, "2");
    const before = await handleOf(p, "staging");
    const { code, stdout } = await p.sluice(["promote", "staging", "prod", "--build", "--dry-run"]);
    assert.equal(code, 0, stdout);
    assert.match(stdout, /staging: would take release[\s\S]*green is filled[\s\S]*prod: would take release/);
    assert.match(stdout, /shift to 20 %/);
    assert.deepEqual(await handleOf(p, "staging"), before);
    assert.match((await get(ported("staging"))).text, /sample 1/);
  });

  it("promotes a canary under real traffic without failing a request", async () => {
    edit(p, "2");
    const crowd = users(ported("prod"), 50);
    const { code, stdout, stderr } = await p.sluice(["promote", "staging", "prod", "--build"]);
    const seen = await crowd.stop();
    assert.equal(code, 0, stdout + stderr);
    assert.deepEqual(seen.failed, []);
    assert.ok((seen.bySlot.blue ?? 0) > 0 && (seen.bySlot.green ?? 0) > 0, JSON.stringify(seen));
    assert.match((await get(ported("prod"))).text, /sample 2/);
    const prod = await handleOf(p, "prod");
    assert.equal(prod?.live, "green");
    assert.equal(prod?.slots.blue, undefined, "the old slot is emptied");
    assert.ok(prod?.previous);
    const samples = journalOf(p, "prod").filter((e) => e.type === "sample.taken");
    assert.ok(samples.length >= 2, "each weight was judged on samples");
  });

  it("rolls a regression back by itself, with the evidence, exit 1 and prod as before", async () => {
    const before = await handleOf(p, "prod");
    edit(p, "3", 0.2);
    const { code, stdout, stderr } = await p.sluice(["promote", "staging", "prod", "--build"]);
    assert.equal(code, 1, stdout + stderr);
    assert.match(
      stdout,
      /verdict-fail: The release fails: canary [\d.]+ % of \d+ requests failed, limit 1 %/,
    );
    assert.match(stdout, /prod: rolled back, everything is as before/);
    const after = await handleOf(p, "prod");
    assert.deepEqual(essence(after), essence(before));
    for (let i = 0; i < 20; i++) assert.match((await get(ported("prod"))).text, /sample 2/);
    const types = journalOf(p, "prod").map((e) => e.type);
    assert.ok(types.indexOf("rollback.begun") < types.indexOf("traffic.diverted"));
    assert.ok(types.indexOf("traffic.diverted") < types.indexOf("target.restored"));
    const report = /report: (.*prod.*report\.md)/.exec(stdout)?.[1] ?? "";
    assert.match(readFileSync(report, "utf8"), /Verdict: \*\*fail\*\*/);
    const logs = join(report, "..", "logs", "prod.log");
    assert.ok(existsSync(logs), "the failing slot's last lines are kept");
  });

  it("keeps the release when `pulumi up` is run by hand between runs", async () => {
    const before = await handleOf(p, "prod");
    const { code, stdout, stderr } = await p.pulumi(["up", "--yes", "--skip-preview", "-s", "prod"]);
    assert.equal(code, 0, stdout + stderr);
    assert.deepEqual(await handleOf(p, "prod"), before);
    assert.match((await get(ported("prod"))).text, /sample 2/);
  });

  it("refuses a source that proved nothing, unless somebody owns the risk", async () => {
    const { artifact } = (await handleOf(p, "prod"))?.previous?.pin ?? { artifact: "" };
    await p.pulumi(["stack", "init", "dev", "--no-select"]);
    await p.pulumi(["config", "set", "sluice:pin", artifact, "-s", "dev"]);
    const byHand = await p.pulumi(["up", "--yes", "--skip-preview", "-s", "dev"]);
    assert.equal(byHand.code, 0, byHand.stdout + byHand.stderr);
    const refused = await p.sluice(["promote", "dev", "staging"]);
    assert.equal(refused.code, 4, refused.stderr);
    assert.match(refused.stderr, /unproven-source: dev runs dir:/);
    const owned = await p.sluice(["promote", "dev", "staging", "--unproven"]);
    assert.equal(owned.code, 0, owned.stdout + owned.stderr);
    assert.match((await get(ported("staging"))).text, /sample 1/);
    const planned = journalOf(p, "staging").find((e) => e.type === "run.planned");
    assert.ok(planned?.type === "run.planned" && planned.plan.unproven, "who said so is in the journal");
  });

  it("goes back to the former release with the settings it had", async () => {
    const before = await handleOf(p, "prod");
    const { code, stdout, stderr } = await p.sluice(["rollback", "prod"]);
    assert.equal(code, 0, stdout + stderr);
    assert.match((await get(ported("prod"))).text, /sample 1/);
    const after = await handleOf(p, "prod");
    const live = after?.live && after.slots[after.live];
    assert.equal(live?.hash, before?.previous?.hash);
    assert.equal(live?.pin.artifact, before?.previous?.pin.artifact);
  });

  it("tells what runs where and what was done, for people and as JSON", async () => {
    const people = await p.sluice(["status"]);
    assert.equal(people.code, 0, people.stderr);
    assert.match(people.stdout, /prod\n {2}sample: dir:stacks\/sample@sha256:/);
    const json = await p.sluice(["status", "--json"]);
    const prod = json.stdout
      .trim()
      .split("\n")
      .map((l) => JSON.parse(l))
      .find((e) => e.environment === "prod");
    assert.deepEqual(prod.targets[0].drift, []);
    const history = await p.sluice(["history", "prod", "--json"]);
    const outcomes = history.stdout
      .trim()
      .split("\n")
      .map((l) => JSON.parse(l).outcome);
    assert.deepEqual(outcomes, ["promoted", "rolled-back", "promoted", "promoted"]);
  });

  it("takes changed settings alone with redeploy, after status said that they wait", async () => {
    const set = await p.pulumi([
      "config",
      "set",
      "--path",
      "sluice:variables.GREETING",
      "hello",
      "-s",
      "prod",
    ]);
    assert.equal(set.code, 0, set.stderr);
    const bare = await p.pulumi(["up", "--yes", "--skip-preview", "-s", "prod"]);
    assert.equal(bare.code, 0, bare.stderr);
    assert.equal(
      (await handleOf(p, "prod"))?.slots.blue?.settings.variables.GREETING,
      undefined,
      "a bare up moves no settings",
    );
    assert.match((await p.sluice(["status", "prod"])).stdout, /settings wait/);
    const { code, stdout, stderr } = await p.sluice(["redeploy", "prod"]);
    assert.equal(code, 0, stdout + stderr);
    const prod = await handleOf(p, "prod");
    assert.equal(prod?.live && prod.slots[prod.live]?.settings.variables.GREETING, "hello");
  });
});

describe("a run that is disturbed", function () {
  this.timeout(240_000);
  let p: Project;
  before(async () => {
    p = await project();
    quicken(p);
    const first = await p.sluice(["promote", "staging", "prod"]);
    assert.equal(first.code, 0, first.stdout + first.stderr);
  });
  after(() => p?.dispose());
  const ported = (stack: string) => p.ports[stack] ?? 0;

  it("refuses a bare `pulumi up`, a second driver and another request while it is open; an abort rolls it back", async () => {
    const before = await handleOf(p, "prod");
    quicken(p, { bake: 600 });
    edit(p, "2");
    const driver = await judging(p, ["promote", "staging", "prod", "--build"]);
    const byHand = await p.pulumi(["up", "--yes", "--skip-preview", "-s", "prod"]);
    assert.notEqual(byHand.code, 0);
    assert.match(byHand.stdout + byHand.stderr, /run-open/);
    const second = await p.sluice(["promote", "staging", "prod", "--build"]);
    assert.equal(second.code, 4, second.stderr);
    assert.match(second.stderr, /run-held/);
    const other = await p.sluice(["promote", "staging", "prod"]);
    assert.equal(other.code, 4, other.stderr);
    assert.match(other.stderr, /run-open/);
    const ended = await p.sluice(["abort", "prod", "--reason", "wrong day"]);
    assert.equal(ended.code, 0, ended.stdout + ended.stderr);
    const { code, stdout } = await driver.ended;
    assert.equal(code, 1, stdout);
    assert.match(stdout, /aborted by .*: wrong day/);
    assert.deepEqual(essence(await handleOf(p, "prod")), essence(before));
  });

  it("leaves on Ctrl-C with the new slot out of the traffic, exit 75, and goes on with the same command", async () => {
    quicken(p, { bake: 600 });
    edit(p, "3");
    const driver = await judging(p, ["promote", "staging", "prod", "--build"]);
    driver.kill("SIGINT");
    const left = await driver.ended;
    assert.equal(left.code, 75, left.stdout + left.stderr);
    for (let i = 0; i < 30; i++) assert.doesNotMatch((await get(ported("prod"))).text, /sample 3/);
    assert.match(
      (await p.sluice(["status", "prod"])).stdout,
      /is open, going up, begun by .*, driven by nobody/,
    );
    quicken(p);
    const again = await p.sluice(["promote", "staging", "prod", "--build"]);
    assert.equal(again.code, 0, again.stdout + again.stderr);
    assert.match(again.stderr, /Going on with run/);
    assert.match((await get(ported("prod"))).text, /sample 3/);
  });

  it("survives its supervisor being killed in mid-canary", async () => {
    quicken(p, { bake: 4 });
    edit(p, "4");
    const driver = await judging(p, ["promote", "staging", "prod", "--build"]);
    process.kill(await supervisorOf(p), "SIGKILL");
    const { code, stdout, stderr } = await driver.ended;
    assert.ok(code === 0 || code === 1, stdout + stderr);
    // Whatever was decided, the world is what the stack says.
    const { stdout: json } = await p.sluice(["status", "prod", "--json"]);
    const prod = JSON.parse(json.trim());
    assert.deepEqual(prod.targets[0].drift, []);
    assert.equal(prod.run, undefined);
    assert.match((await get(ported("prod"))).text, code === 0 ? /sample 4/ : /sample 3/);
  });

  it("refuses what a policy forbids with exit 4, before anything exists", async () => {
    const before = await handleOf(p, "staging");
    const runs = readdirSync(join(p.root, ".sluice", "runs", "staging"));
    const set = await p.pulumi([
      "config",
      "set",
      "--path",
      "sluice:variables.API_TOKEN",
      "s3cr3t-value-1234",
      "-s",
      "staging",
    ]);
    assert.equal(set.code, 0, set.stderr);
    edit(p, "5");
    const { code, stdout, stderr } = await p.sluice(["promote", "staging", "prod", "--build"]);
    assert.equal(code, 4, stdout + stderr);
    assert.match(stderr, /policy-violation/);
    assert.doesNotMatch(stdout + stderr, /s3cr3t-value-1234/);
    assert.deepEqual(await handleOf(p, "staging"), before);
    assert.deepEqual(readdirSync(join(p.root, ".sluice", "runs", "staging")), runs);
  });
});

async function supervisorOf(p: Project): Promise<number> {
  const client = await connect(stateDirectory(p.root), { start: false });
  const { pid } = await client.info();
  client.close();
  return pid;
}
