import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:net";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { doctorLines } from "../../automation/commands/doctor";
import type { Fact } from "../../automation/core/events";
import type { Act } from "../../automation/core/model";
import { type Finding, probe } from "../../automation/doctor/finding";
import { clock, descriptors, home, node, place, skew, system } from "../../automation/doctor/machine";
import { platforms, source, supervisor } from "../../automation/doctor/platforms";
import { locks, marks, runs } from "../../automation/doctor/runs";
import { backend, git, languageHost, pulumi, secrets } from "../../automation/doctor/tools";
import { createJournal } from "../../automation/engine/journal";
import { acquireLease } from "../../automation/engine/lease";
import { environmentDirectory, JOURNAL, runDirectory } from "../../automation/engine/runs";
import { EMBEDDED, pulumiEnvironment } from "../../automation/toolchain/environment";
import { planFor } from "../report/story";
import { corner } from "../support/corner";
import { type Project as Copy, freePorts, project } from "../support/project";

const RUN = "20261124T060000-1a2b3c";
const ACTS: Act[] = [
  { act: "deploy", pin: { artifact: "" } },
  { act: "shift", to: 100 },
  { act: "adopt" },
  { act: "settle" },
];
const GIB = 1024 ** 3;

/** The state, and that whoever has to mend it is told how. */
function states(found: Finding | Finding[]): string {
  for (const f of [found].flat()) assert.ok(f.state === "good" || f.mend, `${f.what} has no mend`);
  return [found]
    .flat()
    .map((f) => f.state)
    .join();
}

describe("The doctor", () => {
  let root: string;
  const servers: Server[] = [];
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "sluice-doctor ü-"));
    mkdirSync(join(root, "stacks"));
    writeFileSync(join(root, "Pulumi.yaml"), `name: x\nruntime: nodejs\nbackend:\n  url: ${EMBEDDED}\n`);
  });
  afterEach(() => {
    for (const server of servers.splice(0)) server.close();
    rmSync(root, { recursive: true, force: true });
  });

  it("finds an old Node, and a system that it was not tested on", () => {
    assert.deepEqual([node("20.18.3"), node("18.0.0"), node("20.19.0"), node("22.1.0")].map(states), [
      "bad",
      "bad",
      "good",
      "good",
    ]);
    assert.equal(states(system("darwin")), "warning");
    assert.equal(states(system("linux")), "good");
  });

  it("finds too few descriptors", () => {
    const limits = (soft: string) =>
      `Limit  Soft Limit  Hard Limit  Units\nMax open files            ${soft}    4096    files\n`;
    assert.deepEqual(
      ["100", "512", "1024", "unlimited"].map((n) => states(descriptors(limits(n)))),
      ["bad", "warning", "good", "good"],
    );
    assert.deepEqual(descriptors(""), []);
    const script = `require("tsx/cjs"); process.stdout.write(require("./automation/doctor/machine.ts").descriptors()[0].state)`;
    const { stdout } = spawnSync("sh", ["-c", `ulimit -n 200; exec "$0" -e '${script}'`, process.execPath], {
      cwd: join(__dirname, "../.."),
      encoding: "utf8",
    });
    assert.equal(stdout, "bad");
  });

  it("finds a home that is missing, is none, or can't be written, unless nothing needs it", () => {
    const file = join(root, "file");
    writeFileSync(file, "");
    for (const HOME of [undefined, "", join(root, "missing"), "relative", file, "/proc"])
      assert.equal(states(home({ HOME })), "bad", HOME);
    assert.equal(states(home({ PULUMI_HOME: "/x", XDG_CACHE_HOME: "/y" })), "good");
    assert.equal(states(home({ HOME: root })), "good");
  });

  it("finds a place that is full, has no inodes left, or can't be written, also before it is made", () => {
    const room = (bytes: number, files: number) => () => ({ bytes, files });
    const at = join(root, "a", "b");
    assert.equal(states(place("runs", at, room(GIB / 10, 1e6))), "bad");
    assert.equal(states(place("runs", at, room(GIB / 2, 1e6))), "warning");
    assert.equal(states(place("runs", at, room(10 * GIB, 10))), "bad");
    assert.equal(states(place("runs", at, room(10 * GIB, 5000))), "warning");
    assert.equal(states(place("runs", at, room(10 * GIB, Number.POSITIVE_INFINITY))), "good");
    assert.match(place("runs", "/proc/sluice").found, /\/proc can't be written/);
    assert.equal(states(place("runs", at)), states(place("runs", root)));
  });

  it("finds a place that was mounted read-only", function () {
    const script = `
      mount -t tmpfs -o size=1m tmpfs "$1" && mkdir "$1/.sluice" && mount -o remount,ro "$1" &&
      exec "$0" -e 'require("tsx/cjs"); const f = require("./automation/doctor/machine.ts").place("runs", process.argv[1] + "/.sluice"); process.stdout.write(f.state + " " + f.found)' "$1"`;
    const args = ["--mount", "--map-root-user", "sh", "-c", script, process.execPath, root];
    const { status, stdout, stderr } = spawnSync("unshare", args, {
      cwd: join(__dirname, "../.."),
      encoding: "utf8",
    });
    if (status !== 0 && /unshare|mount/.test(stderr)) return this.skip();
    assert.match(stdout, /^bad .*can't be written: EROFS/);
  });

  it("finds a clock that is behind what was written here, or differs from the disk's", async () => {
    const now = Date.UTC(2026, 10, 24, 6);
    assert.equal(states(clock(now, [])), "good");
    assert.equal(states(clock(now, [{ of: "run x", at: now + 30_000 }])), "good");
    const ahead = clock(now, [
      { of: "run x", at: now + 3_600_000 },
      { of: "run y", at: now },
    ]);
    assert.match(ahead.found, /run x is from 2026-11-24T07/);
    assert.equal(states(ahead), "bad");
    assert.equal(
      states(
        clock(
          now,
          skew(root, () => now),
        ),
      ),
      "bad",
    );
    assert.equal(states(clock(Date.now(), skew(root))), "good");
    await leave([]);
    assert.deepEqual(await marks(corner(root)), [{ of: `run ${RUN}`, at: now }]);
  });

  it("finds a CLI, an SDK and a language host that are missing or don't fit", async () => {
    const cli = (version: string) => async () => ({
      version,
      path: join(root, "pulumi"),
      origin: "PATH" as const,
    });
    const repository = join(__dirname, "../..");
    const none = await pulumi({ root, cli: async () => Promise.reject(new Error("There is none")) });
    assert.equal(states({ ...none[0]!, mend: "as the catalogue says" }), "bad");
    assert.match(
      (await pulumi({ root, cli: cli("3.245.0") })).map((f) => `${f.what} ${f.state}`).join(),
      /Pulumi CLI good,Pulumi SDK bad/,
    );
    assert.match(
      (await pulumi({ root: repository, cli: cli("4.0.0") })).map((f) => `${f.what} ${f.state}`).join(),
      /Pulumi SDK bad/,
    );
    assert.match(
      (await pulumi({ root: repository, cli: cli("3.1.0") })).map((f) => `${f.what} ${f.state}`).join(),
      /Pulumi SDK good/,
    );
    writeFileSync(join(root, "pulumi"), "");
    assert.equal(states(languageHost(join(root, "pulumi"), { PATH: "/nowhere" })), "bad");
    writeFileSync(join(root, "pulumi-language-nodejs"), "");
    assert.equal(states(languageHost(join(root, "pulumi"), {})), "good");
  });

  it("finds a backend that does not answer, and one of files that can't be written", async () => {
    const fake = join(root, "pulumi");
    writeFileSync(fake, `#!/bin/sh\necho "error: no such bucket" >&2; exit 1\n`);
    chmodSync(fake, 0o755);
    const cli = async () => ({ version: "3.245.0", path: fake, origin: "PATH" as const });
    const of = (url: string) => ({
      root,
      cli,
      pulumi: pulumiEnvironment(root, { ...process.env, PULUMI_BACKEND_URL: url }),
    });
    const s3 = await backend(of("s3://nowhere"));
    assert.equal(states(s3), "bad");
    assert.match(s3[0]?.found ?? "", /no such bucket/);
    writeFileSync(fake, "#!/bin/sh\necho '[]'\n");
    assert.match((await backend(of("s3://somewhere")))[0]?.found ?? "", /\(S3\) answers/);
    assert.equal(states(await backend(of("file:///proc/sluice"))), "good,bad");
    assert.equal(states(await backend(of(pathToFileURL(root).href))), "good,good");
  });

  it("finds secrets that nothing protects, and a passphrase that is missing", async () => {
    const look = async (env: Record<string, string>) =>
      (await secrets({ root, pulumi: pulumiEnvironment(root, env) })).map((f) => f.state).join();
    const file = join(root, "stacks", "Pulumi.prod.yaml");
    assert.equal(await look({}), "warning,good");
    writeFileSync(file, "encryptionsalt: v1:x\nconfig:\n  sluice:token:\n    secure: v1:y\n");
    assert.equal(await look({}), "warning,bad");
    assert.equal(await look({ PULUMI_CONFIG_PASSPHRASE: "x" }), "good,good");
    assert.equal(await look({ PULUMI_BACKEND_URL: "s3://x" }), "bad,good");
    assert.equal(await look({ PULUMI_BACKEND_URL: "s3://x", PULUMI_CONFIG_PASSPHRASE: "x" }), "good,good");
    writeFileSync(file, "secretsprovider: awskms://alias/x\nencryptionsalt: v1:x\n");
    assert.equal(await look({ PULUMI_BACKEND_URL: "s3://x" }), "good,good");
  });

  it("finds git missing: a fault only where a service is made from a repository", async () => {
    assert.equal(states(await git(true, { PATH: root })), "bad");
    assert.equal(states(await git(false, { PATH: root })), "warning");
    assert.equal(states(await git(true)), "good");
  });

  async function leave(facts: readonly Fact[]): Promise<string> {
    const directory = runDirectory(root, "prod", RUN);
    const journal = await createJournal(directory);
    await journal.append(
      {
        type: "run.planned",
        run: RUN,
        plan: planFor(["web"], ACTS),
        actor: "ann",
      },
      0,
    );
    for (const fact of facts) await journal.append(fact, 0);
    await journal.close();
    return directory;
  }
  const prod = async () => (await runs(corner(root))).find((f) => f.what === "run on prod")!;

  it("finds open runs: driven, cut off, paused, stuck, damaged", async () => {
    assert.equal(states(await prod()), "good");
    const directory = await leave([]);
    assert.match((await prod()).found, /was cut off; nobody drives it/);
    assert.match((await prod()).mend ?? "", /npm run promote -- staging prod.*npm run abort -- prod/);
    const lease = await acquireLease(environmentDirectory(root, "prod"), { run: RUN });
    assert.match((await prod()).found, new RegExp(`${RUN} is driven by .*pid ${process.pid}`));
    await lease.release();
    rmSync(directory, { recursive: true });
    await leave([{ type: "run.paused", reason: "stuck: no room", diverted: [] }]);
    assert.equal(states(await prod()), "bad");
    assert.match((await prod()).mend ?? "", /npm run resolve -- prod --reason/);
    appendFileSync(join(directory, JOURNAL), "no event\n");
    assert.match((await prod()).found, /is damaged/);
    assert.match((await prod()).mend ?? "", /mv /);
    rmSync(directory, { recursive: true });
    await leave([{ type: "run.finished", outcome: "promoted", reason: "" }]);
    assert.equal(states(await prod()), "good");
  });

  it("finds a lease that can't be locked", async () => {
    mkdirSync(join(environmentDirectory(root, "prod"), "lease"), { recursive: true });
    assert.equal(states(await prod()), "bad");
    assert.match((await prod()).mend ?? "", /ls -l/);
  });

  it("finds locks of processes that are gone, by stack", () => {
    const folder = join(root, ".pulumi", "locks", "organization", "sluice", "prod");
    mkdirSync(folder, { recursive: true });
    const url = pathToFileURL(root).href;
    const lock = (name: string, value: unknown) =>
      writeFileSync(join(folder, name), typeof value === "string" ? value : JSON.stringify(value));
    assert.deepEqual(locks("s3://x"), []);
    assert.deepEqual(locks(url), []);
    const gone = Number(execFileSync("sh", ["-c", "echo $$"], { encoding: "utf8" }));
    lock("a.json", { pid: gone, hostname: hostname(), timestamp: "then" });
    const [found] = locks(url);
    assert.deepEqual([found?.what, found?.state], ["lock of prod", "warning"]);
    assert.match(found?.mend ?? "", /npm run pulumi -- cancel -s prod --yes/);
    lock("a.json", { pid: process.pid, hostname: hostname(), timestamp: "then" });
    assert.equal(states(locks(url)), "good");
    lock("a.json", { pid: 1, hostname: "elsewhere", timestamp: "then" });
    assert.equal(states(locks(url)), "warning");
    lock("a.json", "torn");
    assert.equal(states(locks(url)), "warning");
  });

  it("finds a service without its source, start command or platform", async () => {
    mkdirSync(join(root, "web"));
    const service = { name: "web", source: { directory: "web" }, start: ["node", "server.js"] };
    assert.equal(states(source(root, service)), "good");
    assert.equal(states(source(root, { ...service, source: { directory: "gone" } })), "bad");
    assert.equal(states(source(root, { ...service, start: ["nodde"] })), "bad");
    assert.equal(states(source(root, { ...service, start: ["./made"] })), "good");
    assert.equal(
      states(source(root, { ...service, source: { directory: "web", build: ["make"] }, start: ["made"] })),
      "good",
    );
    const desk = corner(root, ["web"]);
    Object.assign(desk.project.pipeline.services[0]!, { platform: "moon" });
    assert.match((await platforms(desk))[0]?.found ?? "", /no platform "moon"/);
  });

  it("finds an older supervisor", () => {
    assert.equal(states(supervisor(undefined)), "good");
    assert.equal(states(supervisor({ version: "0.0.1", pid: 1 })), "warning");
    const { version } = JSON.parse(readFileSync(join(__dirname, "../../package.json"), "utf8"));
    assert.equal(states(supervisor({ version, pid: 1 })), "good");
  });

  it("finds ports that are not set, shared, or somebody else's, and whose", async () => {
    mkdirSync(join(root, "sample"));
    const { free } = await freePorts(["free"]);
    const theirs = createServer().listen(0, "127.0.0.1");
    servers.push(theirs);
    await new Promise((resolve) => theirs.once("listening", resolve));
    const taken = (theirs.address() as { port: number }).port;
    const set = (stack: string, port: number) =>
      writeFileSync(join(root, "stacks", `Pulumi.${stack}.yaml`), `config:\n  sluice:port: ${port}\n`);
    set("staging", free);
    set("prod", taken);
    const of = async (stack: string) =>
      (await platforms(corner(root))).find((f) => f.what === `port of ${stack}`)!;
    assert.match((await of("dev")).found, /none is set/);
    assert.match((await of("staging")).found, /free/);
    assert.match((await of("prod")).found, new RegExp(`${taken} is taken by process ${process.pid}`));
    assert.match((await of("prod")).mend ?? "", /ss -ltnp[\s\S]*config set sluice:port <port> -s prod/);
    set("prod", free);
    assert.match((await of("prod")).found, /is the port of staging too/);
  });

  it("takes what is thrown for a finding, with the hint that mends it", async () => {
    const [found] = await probe("it", () => Promise.reject(new Error("no")), "Mend it.");
    assert.deepEqual(found, { what: "it", state: "bad", found: "no", mend: "Mend it." });
  });

  it("says what mends what, and counts", () => {
    const lines = doctorLines([
      { what: "a", state: "bad", found: "gone", mend: "Bring it." },
      { what: "b", state: "good", found: "there" },
    ]);
    assert.match(
      lines.join("\n"),
      /✗.* a: gone\n {4}Bring it\.\n.*b: there\n1 to mend, 0 to know of, 1 good\./,
    );
  });
});

describe("sluice doctor", function () {
  this.timeout(60_000);
  let copy: Copy;
  before(async () => {
    copy = await project();
  });
  after(() => copy?.dispose());

  it("ends with 0 where all is well, and with 2 where something is bad; a finding is an object", async () => {
    const well = await copy.sluice(["doctor", "--json"]);
    assert.equal(well.code, 0, well.stdout);
    const found = well.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Finding & { type: string });
    assert.ok(
      found.length > 15 && found.every((f) => f.type === "finding" && f.what && f.found && f.state !== "bad"),
    );
    const ill = await copy.sluice(["doctor"], {
      env: { HOME: undefined, PULUMI_HOME: undefined, XDG_CACHE_HOME: undefined },
    });
    assert.equal(ill.code, 2, ill.stdout);
    assert.match(ill.stdout, /✗ home: HOME is not set\n {4}export HOME=/);
  });
});
