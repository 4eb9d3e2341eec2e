import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { edit, essence, get, handleOf, journalOf, judging, quicken, start, until } from "../support/driver";
import { type Project, project } from "../support/project";

describe("bad input and faults, each with its code, its hint and its exit code", function () {
  this.timeout(240_000);
  let p: Project;
  before(async () => {
    p = await project();
    quicken(p);
  });
  after(() => p?.dispose());
  const ported = (stack: string) => p.ports[stack] ?? 0;
  const services = () => join(p.root, "stacks", "services.ts");
  let kept = "";
  /** Changes the service's definition for one test. */
  function redefine(from: string | RegExp, to: string) {
    kept = readFileSync(services(), "utf8");
    writeFileSync(services(), kept.replace(from, to));
  }
  afterEach(() => {
    if (kept) writeFileSync(services(), kept);
    kept = "";
  });

  it("an unknown environment, service or word", async () => {
    for (const [args, code, said] of [
      [["promote", "staging", "prodd"], 2, /unknown-environment: .*Known: dev, staging, prod/],
      [["promote", "staging", "prod", "--service", "web"], 2, /unknown-service: .*Known: sample/],
      [["promote", "staging"], 2, /wrong-use/],
      [["promote"], 2, /wrong-use/],
      [["promot", "staging", "prod"], 2, /Did you mean promote/],
      [["status", "nowhere"], 2, /unknown-environment/],
      [["abort", "prod"], 4, /no-run-open/],
      [["rollback", "prod"], 4, /nothing-previous/],
      [["redeploy", "prod"], 2, /nothing-live/],
    ] as const) {
      const ended = await p.sluice([...args]);
      assert.equal(ended.code, code, `${args.join(" ")}: ${ended.stderr}`);
      assert.match(ended.stderr, said);
      assert.doesNotMatch(ended.stderr, /\n\s+at /, "no stack trace");
    }
  });

  it("a backend that can't be reached", async () => {
    const { code, stderr } = await p.sluice(["promote", "staging", "prod"], {
      env: { PULUMI_BACKEND_URL: `file://${join(p.root, "nowhere", "at", "all")}` },
    });
    assert.equal(code, 2, stderr);
    assert.match(stderr, /backend-unreachable: The Pulumi backend .*\n.*npm run doctor/s);
  });

  it("a start command that is not there leaves a first environment empty", async () => {
    redefine('start: ["node", "server.js"]', 'start: ["no-such-command"]');
    const { code, stdout } = await p.sluice(["promote", "staging", "prod"]);
    assert.equal(code, 1, stdout);
    assert.match(stdout, /start-missing/);
    assert.match(stdout, /staging: rolled back/);
    const staging = await handleOf(p, "staging");
    assert.deepEqual([staging?.live, staging?.slots, staging?.run], [undefined, {}, undefined]);
  });

  it("a sample that never gets ready", async () => {
    redefine('health: "/healthz"', 'health: "/nowhere", startSeconds: 3');
    const server = join(p.root, "stacks", "sample", "server.js");
    const text = readFileSync(server, "utf8");
    writeFileSync(
      server,
      text.replace("response.statusCode = ", 'response.statusCode = request.url === "/nowhere" ? 503 : '),
    );
    const { code, stdout } = await p.sluice(["promote", "staging", "prod"]);
    writeFileSync(server, text);
    assert.equal(code, 1, stdout);
    assert.match(stdout, /not-ready|health-path/);
    assert.match(stdout, /503/);
  });

  it("a port in use", async () => {
    const occupant = createServer((_q, s) => s.end("somebody else")).listen(ported("dev"), "127.0.0.1");
    await new Promise((resolve) => occupant.once("listening", resolve));
    try {
      const { code, stdout } = await p.sluice(["promote", "dev", "staging"]);
      assert.equal(code, 1, stdout);
      assert.match(stdout, new RegExp(`port-in-use[\\s\\S]*${ported("dev")}`));
      assert.equal((await get(ported("dev"))).text, "somebody else");
    } finally {
      occupant.close();
      occupant.closeAllConnections();
    }
  });

  it("and after all of that the first release comes up", async () => {
    const { code, stdout, stderr } = await p.sluice(["promote", "staging", "prod"]);
    assert.equal(code, 0, stdout + stderr);
  });

  it("a release that crashes is rolled back with its last words", async () => {
    const before = await handleOf(p, "staging");
    const server = join(p.root, "stacks", "sample", "server.js");
    const text = readFileSync(server, "utf8");
    writeFileSync(server, `console.error("cannot read the configuration"); process.exit(3);\n${text}`);
    const { code, stdout } = await p.sluice(["promote", "staging", "prod", "--build"]);
    writeFileSync(server, text);
    assert.equal(code, 1, stdout);
    assert.match(stdout, /crash-loop[\s\S]*exit(ed with)? (code )?3[\s\S]*cannot read the configuration/);
    assert.deepEqual(essence(await handleOf(p, "staging")), essence(before));
    assert.match((await get(ported("staging"))).text, /sample 1/);
  });

  it("a driver killed as a release that never started is being rolled back ends that with the same command", async () => {
    const before = await handleOf(p, "staging");
    const server = join(p.root, "stacks", "sample", "server.js");
    const text = readFileSync(server, "utf8");
    writeFileSync(server, `process.exit(4);\n${text}`);
    const driver = start(p, ["promote", "staging", "prod", "--build"]);
    const began = () => journalOf(p, "staging").some((e) => e.type === "rollback.begun");
    const former = journalOf(p, "staging")[0]?.at;
    await until("the rollback", () => journalOf(p, "staging")[0]?.at !== former && began());
    driver.kill("SIGKILL");
    await driver.ended;
    writeFileSync(server, text);
    const { code, stdout, stderr } = await p.sluice(["promote", "staging", "prod", "--build"]);
    assert.equal(code, 1, stdout + stderr);
    assert.deepEqual(essence(await handleOf(p, "staging")), essence(before));
    assert.match((await get(ported("staging"))).text, /sample 1/);
  });

  it("a journal corrupted in the middle is not guessed at", async () => {
    quicken(p, { bake: 600 });
    edit(p, "2");
    const driver = await judging(p, ["promote", "staging", "prod", "--build"]);
    driver.kill("SIGINT");
    assert.equal((await driver.ended).code, 75);
    const folder = join(p.root, ".sluice", "runs", "prod");
    const run =
      readdirSync(folder)
        .filter((n) => existsSync(join(folder, n, "journal.jsonl")))
        .sort()
        .at(-1) ?? "";
    const file = join(folder, run, "journal.jsonl");
    const whole = readFileSync(file, "utf8");
    writeFileSync(file, whole.replace('"step.started"', '"step.startet"'));
    const { code, stderr } = await p.sluice(["promote", "staging", "prod", "--build"]);
    assert.equal(code, 3, stderr);
    assert.match(stderr, /journal-corrupt: .*journal\.jsonl/);
    // What the hint says: move it away; then the stack alone knows of the run, and an abort keeps what is live.
    renameSync(join(folder, run), join(folder, `${run}.damaged`));
    const elsewhere = await p.sluice(["promote", "staging", "prod"]);
    assert.equal(elsewhere.code, 4, elsewhere.stderr);
    assert.match(elsewhere.stderr, /journal-elsewhere[\s\S]*npm run abort -- prod/);
    assert.match((await p.sluice(["status", "prod"])).stdout, /journal-elsewhere: Run \S+ is open on prod/);
    const ended = await p.sluice(["abort", "prod"]);
    assert.equal(ended.code, 0, ended.stdout + ended.stderr);
    const prod = await handleOf(p, "prod");
    assert.equal(prod?.run, undefined);
    assert.deepEqual(Object.keys(prod?.slots ?? {}), [prod?.live]);
    assert.match((await get(ported("prod"))).text, /sample 1/);
  });

  it("a dry run and an interrupt leave an open run, and everything else, alone", async () => {
    quicken(p, { bake: 600 });
    edit(p, "2b");
    const driver = await judging(p, ["promote", "staging", "prod", "--build"]);
    driver.kill("SIGINT");
    assert.equal((await driver.ended).code, 75);
    const events = journalOf(p, "prod").length;
    const dry = await p.sluice(["promote", "staging", "prod", "--build", "--dry-run"]);
    assert.equal(dry.code, 4, dry.stdout + dry.stderr);
    assert.match(dry.stderr, /run-open-other/);
    assert.equal(journalOf(p, "prod").length, events);
    assert.equal((await p.sluice(["abort", "prod"])).code, 0);
    // Interrupted while it looks, long before it has a run.
    const early = start(p, ["promote", "staging", "prod", "--build"]);
    await until("an engine at work", () => hasChild(early.pid), 20);
    early.kill("SIGINT");
    const ended = await early.ended;
    assert.equal(ended.code, 75, ended.stdout + ended.stderr);
    assert.match(ended.stdout, /Paused: interrupted/);
  });

  it("a stack that declares nothing does not take over what another one runs", async () => {
    const other = join(p.root, ".sluice", "other-backend");
    mkdirSync(other);
    const lost = await p.sluice(["promote", "staging", "prod"], {
      env: { PULUMI_BACKEND_URL: `file://${other}` },
    });
    assert.equal(lost.code, 4, lost.stdout + lost.stderr);
    assert.match(lost.stderr, /world-moved: .*this stack declares nothing/);
    assert.equal((await get(ported("staging"))).status, 200);
  });

  it("a disk that is full takes the new slot out of the traffic first, exit 3, and goes on once there is room", async function () {
    if (process.getuid?.() !== 0) return this.skip();
    quicken(p, { bake: 600 });
    edit(p, "3");
    const staged = await p.sluice(["promote", "dev", "staging", "--build"]);
    assert.equal(staged.code, 0, staged.stdout + staged.stderr);
    // The runs of prod move to a disk of 256 KiB.
    const folder = join(p.root, ".sluice", "runs", "prod");
    mkdirSync(folder, { recursive: true });
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs", folder]);
    try {
      const driver = start(p, ["promote", "staging", "prod"]);
      await until("a sample", () => journalOf(p, "prod").some((e) => e.type === "sample.taken"));
      try {
        writeFileSync(join(folder, "ballast"), Buffer.alloc(1 << 20));
      } catch (e) {
        assert.equal((e as NodeJS.ErrnoException).code, "ENOSPC");
      }
      const { code, stderr, stdout } = await driver.ended;
      assert.equal(code, 3, stdout + stderr);
      assert.match(stderr, /journal-full/);
      for (let i = 0; i < 30; i++) assert.doesNotMatch((await get(ported("prod"))).text, /sample 3/);
      execFileSync("rm", [join(folder, "ballast")]);
      quicken(p);
      const again = await p.sluice(["promote", "staging", "prod"]);
      assert.equal(again.code, 0, again.stdout + again.stderr);
      assert.match((await get(ported("prod"))).text, /sample 3/);
    } finally {
      execFileSync("umount", ["-l", folder]);
    }
  });
});

/** Whether a process has started one of its own: Linux tells. */
function hasChild(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim() !== "";
  } catch {
    return false;
  }
}
