import assert from "node:assert/strict";
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect } from "../../components/local/client";
import { stateDirectory } from "../../components/local/release";
import { edit, essence, get, handleOf, journalOf, quicken, users } from "../support/driver";
import { type Project, project } from "../support/project";

// One project, told in order: each law begins where the one before it ended.
describe("a release that rolls out in place, with the real CLI, stacks, processes and proxy", function () {
  this.timeout(180_000);
  let p: Project;
  before(async () => {
    p = await project();
    quicken(p, { strategy: "rolling()" });
    const file = join(p.root, "stacks", "Pulumi.prod.yaml");
    writeFileSync(file, readFileSync(file, "utf8").replace(/^config:$/m, 'config:\n  sluice:replicas: "3"'));
    const { code, stdout, stderr } = await p.sluice(["promote", "staging", "prod"]);
    assert.equal(code, 0, stdout + stderr);
  });
  after(() => p?.dispose());
  const port = () => p.ports.prod ?? 0;

  async function promote(code: number) {
    const crowd = users(port(), 50);
    const ended = await p.sluice(["promote", "staging", "prod", "--build"]);
    const seen = await crowd.stop();
    assert.equal(ended.code, code, ended.stdout + ended.stderr);
    return { ...ended, seen };
  }

  async function replicas() {
    const client = await connect(stateDirectory(p.root), { start: false });
    const status = await client.service("sample.prod");
    client.close();
    return status?.slots.blue;
  }

  it("changes the slot that is live, replica by replica, without failing a request", async () => {
    const before = await handleOf(p, "prod");
    edit(p, "2");
    const { seen } = await promote(0);
    assert.deepEqual(seen.failed, []);
    assert.deepEqual(Object.keys(seen.bySlot), ["blue"]);
    assert.match((await get(port())).text, /sample 2/);
    const after = await handleOf(p, "prod");
    assert.equal(after?.live, "blue");
    assert.deepEqual(after?.previous, before?.slots.blue);
    assert.deepEqual(after?.split, { blue: 100, green: 0 });
    assert.equal(after?.run, undefined);
    const acts = journalOf(p, "prod").flatMap((e) => (e.type === "step.finished" ? [e.step] : []));
    assert.deepEqual(
      acts.map((id) => id.replace(/^prod\/\d+-/, "")),
      ["replace", "await", "verify-live", "analyse", "settle"],
    );
    const now = await replicas();
    assert.deepEqual([now?.state, now?.ready, now?.wanted], ["ready", 3, 3]);
  });

  it("that crashes leaves the old replicas serving, fails nobody, and everything is as before", async () => {
    const before = await handleOf(p, "prod");
    edit(p, "3");
    // Only where it counts: in staging it comes up.
    const server = join(p.root, "stacks", "sample", "server.js");
    const good = readFileSync(server, "utf8");
    appendFileSync(
      server,
      `\nif (process.env.PORT && process.cwd() && require("fs").existsSync(${JSON.stringify(join(p.root, "break"))})) process.exit(7);\n`,
    );
    const staged = await p.sluice(["promote", "dev", "staging", "--build"]);
    assert.equal(staged.code, 0, staged.stdout + staged.stderr);
    writeFileSync(join(p.root, "break"), "");
    const crowd = users(port(), 50);
    const ended = await p.sluice(["promote", "staging", "prod"]);
    const seen = await crowd.stop();
    writeFileSync(server, good);
    assert.equal(ended.code, 1, ended.stdout + ended.stderr);
    assert.match(ended.stdout, /crash-loop/);
    assert.deepEqual(seen.failed, []);
    assert.deepEqual(essence(await handleOf(p, "prod")), essence(before));
    assert.match((await get(port())).text, /sample 2/);
    const now = await replicas();
    assert.deepEqual([now?.state, now?.ready], ["ready", 3]);
  });

  it("that answers with errors is judged by absolute limits, and the former release is rolled out again", async () => {
    const before = await handleOf(p, "prod");
    edit(p, "4", 0.3);
    const { stdout } = await promote(1);
    assert.match(
      stdout,
      /verdict-fail: The release fails: canary [\d.]+ % of \d+ requests failed, limit 1 %/,
    );
    assert.deepEqual(essence(await handleOf(p, "prod")), essence(before));
    for (let i = 0; i < 20; i++) assert.match((await get(port())).text, /sample 2/);
  });

  it("is taken back in place too", async () => {
    const crowd = users(port(), 50);
    const { code, stdout, stderr } = await p.sluice(["rollback", "prod"]);
    assert.equal(code, 0, stdout + stderr);
    assert.deepEqual((await crowd.stop()).failed, []);
    assert.match((await get(port())).text, /sample 1/);
    assert.equal((await handleOf(p, "prod"))?.live, "blue");
  });
});
