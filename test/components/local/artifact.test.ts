import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SluiceError } from "../../../components/errors";
import { locateArtifact, type Source, storeArtifact, storeRoot } from "../../../components/local/artifact";

let root: string;
let cache: string | undefined;

/** Writes files of the source; a name that ends in `*` is executable. */
function write(files: Record<string, string>): void {
  for (const [name, text] of Object.entries(files)) {
    const path = join(root, "app", name.replace(/\*$/, ""));
    mkdirSync(join(path, ".."), { recursive: true });
    writeFileSync(path, text, { mode: name.endsWith("*") ? 0o755 : 0o644 });
  }
}

function store(source: Partial<Source> = {}, log?: (line: string) => void, signal?: AbortSignal) {
  return storeArtifact({ directory: "app", ...source }, { root, log, signal });
}

async function refused(work: Promise<unknown>, code: string, text = /./): Promise<void> {
  await assert.rejects(work, (thrown: SluiceError) => {
    assert.equal(thrown.code, code, String(thrown));
    assert.match(String(thrown), text);
    assert.ok(thrown.hint);
    return true;
  });
}

/** What the store holds, drafts included. */
function stored(): string[] {
  return existsSync(storeRoot()) ? readdirSync(storeRoot()).sort() : [];
}

/** Stores in a process of its own. */
function elsewhere(source: Partial<Source>, shell = 'exec "$@"'): ChildProcess {
  const module = join(__dirname, "../../../components/local/artifact.ts");
  const script = `require(${JSON.stringify(module)}).storeArtifact(${JSON.stringify({ directory: "app", ...source })},
    { root: ${JSON.stringify(root)} }).then((made) => console.log(JSON.stringify(made)), (e) => console.log(e.code))`;
  return spawn("bash", ["-c", shell, "bash", process.execPath, "--import", "tsx", "-e", script], {
    cwd: join(__dirname, "../../.."),
    stdio: ["ignore", "pipe", "inherit"],
    detached: true,
  });
}

async function output(child: ChildProcess): Promise<string> {
  let text = "";
  for await (const chunk of child.stdout!) text += chunk;
  return text.trim();
}

async function until(fact: () => boolean): Promise<void> {
  while (!fact()) await new Promise((next) => setTimeout(next, 5));
}

/** Waits until a process has ended, be it as a zombie that nobody has collected. */
async function ended(pid: string): Promise<void> {
  await until(() => {
    try {
      return readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
    } catch {
      return true;
    }
  });
}

describe("artifact", () => {
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "sluice-artifact-"));
    cache = process.env.XDG_CACHE_HOME;
    process.env.XDG_CACHE_HOME = join(root, "cache");
    write({ "server.js": "console.log(1)", "bin/run*": "#!/bin/sh\n", "lib/a/b.txt": "b" });
  });

  afterEach(() => {
    if (cache === undefined) delete process.env.XDG_CACHE_HOME;
    else process.env.XDG_CACHE_HOME = cache;
    execFileSync("chmod", ["-R", "u+rwX", root]);
    rmSync(root, { recursive: true, force: true });
  });

  it("copies a tree as it is, read-only, under its hash, and names it by path and hash", async () => {
    write({
      ".git/HEAD": "x",
      ".sluice/state": "x",
      "node_modules/dep/index.js": "dep",
      "with space/ü.txt": "u",
    });
    symlinkSync("../server.js", join(root, "app/bin/link"));
    const made = await store();
    assert.equal(made.artifact, `dir:app@sha256:${made.hash}`);
    assert.equal(made.path, join(root, "cache/sluice/artifacts", made.hash));
    assert.equal(made.built, true);
    assert.equal(readFileSync(join(made.path, "server.js"), "utf8"), "console.log(1)");
    assert.equal(readFileSync(join(made.path, "node_modules/dep/index.js"), "utf8"), "dep");
    assert.equal(readFileSync(join(made.path, "with space/ü.txt"), "utf8"), "u");
    assert.equal(readlinkSync(join(made.path, "bin/link")), "../server.js");
    assert.equal(existsSync(join(made.path, ".git")), false);
    assert.equal(existsSync(join(made.path, ".sluice")), false);
    const mode = (path: string): string => (lstatSync(join(made.path, path)).mode & 0o777).toString(8);
    assert.deepEqual(["", "lib/a", "server.js", "bin/run"].map(mode), ["500", "500", "400", "500"]);
    assert.equal((lstatSync(storeRoot()).mode & 0o777).toString(8), "700");
    assert.deepEqual(stored(), [made.hash]);
  });

  it("makes the same tree once, wherever it lies and whatever its times are", async () => {
    const first = await store();
    cpSync(join(root, "app"), join(root, "other"), { recursive: true });
    const again = await store();
    const other = await storeArtifact({ directory: join(root, "other") }, { root });
    assert.deepEqual(again, { ...first, built: false });
    assert.deepEqual([other.hash, other.artifact], [first.hash, `dir:other@sha256:${first.hash}`]);
    assert.equal(other.built, false);
  });

  const changes: [string, () => void, Partial<Source>?][] = [
    ["a byte", () => write({ "server.js": "console.log(2)" })],
    ["a name", () => write({ "server.mjs": "console.log(1)" })],
    ["an executable bit", () => chmodSync(join(root, "app/server.js"), 0o755)],
    ["a link for a file of that text", () => symlinkSync("b", join(root, "app/new"))],
    ["an empty directory", () => mkdirSync(join(root, "app/empty"))],
    ["a file moved", () => write({ "lib/b.txt": "b" })],
    ["the build command", () => undefined, { build: ["true"] }],
    ["what is ignored", () => undefined, { ignore: ["lib"] }],
  ];
  for (const [what, change, source] of changes) {
    it(`gives another hash where this differs: ${what}`, async () => {
      const { hash } = await store();
      change();
      assert.notEqual((await store(source)).hash, hash);
    });
  }

  it("builds once, in the copy, with an allow-listed environment", async () => {
    process.env.SLUICE_TEST_SECRET = "hunter2";
    const lines: string[] = [];
    const build = [
      "sh",
      "-c",
      "echo building; echo x >> count; pwd > where; env | sort > env; echo hi > $HOME/kept",
    ];
    const made = await store({ build }, (line) => lines.push(line));
    delete process.env.SLUICE_TEST_SECRET;
    const again = await store({ build });
    assert.deepEqual([made.built, again.built, again.path], [true, false, made.path]);
    assert.deepEqual(lines, ["building"]);
    const text = (name: string): string => readFileSync(join(made.path, name), "utf8");
    assert.equal(text("count"), "x\n");
    assert.ok(text("where").startsWith(storeRoot()));
    const names = text("env")
      .split("\n")
      .map((line) => line.split("=")[0])
      .filter(Boolean);
    // The shell adds the last three itself.
    assert.deepEqual(
      names.filter((name) => !["PWD", "OLDPWD", "_", "SHLVL"].includes(name!)),
      ["HOME", "LANG", "PATH"],
    );
    assert.equal(existsSync(join(root, "app/count")), false);
    assert.deepEqual(stored(), [made.hash]);
  });

  it("keeps nothing of a failed build and shows its last lines", async () => {
    const build = ["sh", "-c", "seq 1 50; echo the reason >&2; exit 7"];
    await refused(
      store({ build }),
      "build-failed",
      /ended with exit code 7.*\n(.*\n)*(50\n)?(.*\n)*the reason|the reason/,
    );
    await refused(store({ build: ["no-such-command"] }), "build-failed", /could not be started \(ENOENT\)/);
    await refused(store({ build: [] }), "build-failed");
    assert.deepEqual(stored(), []);
  });

  it("ends what a build leaves running", async () => {
    const pidFile = join(root, "pid");
    await store({ build: ["sh", "-c", `sleep 1000 & echo $! > ${pidFile}`] });
    await ended(readFileSync(pidFile, "utf8").trim());
  });

  it("stops a build with all it started when it is aborted", async () => {
    const stop = new AbortController();
    const pidFile = join(root, "pid");
    const build = ["sh", "-c", `sleep 1000 & echo $! > ${pidFile}.tmp; mv ${pidFile}.tmp ${pidFile}; wait`];
    const work = store({ build }, undefined, stop.signal);
    await Promise.race([until(() => existsSync(pidFile)), work]);
    stop.abort();
    await assert.rejects(work, { name: "AbortError" });
    assert.deepEqual(stored(), []);
    await ended(readFileSync(pidFile, "utf8").trim());
  });

  for (const to of ["/etc/hostname", "../../outside", "lib/../../outside", "..", "a/../server.js"]) {
    it(`refuses the link ${to}`, async () => {
      writeFileSync(join(root, "outside"), "secret");
      symlinkSync(to, join(root, "app/link"));
      await refused(store(), "artifact-escapes", /link/);
      assert.deepEqual(stored(), []);
      assert.equal((await store({ ignore: ["link"] })).built, true);
    });
  }

  it("refuses a link that leaves through another one, each of which looks harmless", async () => {
    writeFileSync(join(root, "outside"), "secret");
    symlinkSync("..", join(root, "app/lib/up"));
    symlinkSync("up/../outside", join(root, "app/lib/link"));
    assert.equal(readFileSync(join(root, "app/lib/link"), "utf8"), "secret");
    await refused(store(), "artifact-escapes", /lib\/link/);
  });

  it("refuses a link out of the tree that the build made", async () => {
    await refused(store({ build: ["ln", "-s", "/etc/passwd", "p"] }), "artifact-escapes", /\/etc\/passwd/);
    assert.deepEqual(stored(), []);
  });

  it("refuses pipes, and directories that are none", async () => {
    execFileSync("mkfifo", [join(root, "app/pipe")]);
    await refused(store(), "artifact-special-file", /pipe/);
    await refused(store({ directory: "nowhere" }), "artifact-source-missing", /nowhere/);
    await refused(store({ directory: "app/server.js" }), "artifact-source-missing");
    assert.deepEqual(stored(), []);
  });

  it("never copies the store into itself", async () => {
    const inside = await storeArtifact({ directory: "." }, { root });
    assert.match(inside.artifact, /^dir:\.@/);
    assert.equal((await storeArtifact({ directory: "." }, { root })).built, false);
  });

  it("names what it copied, also where files change meanwhile", async () => {
    write(Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`many/${i}`, "x".repeat(20_000)])));
    let on = true;
    const change = (async () => {
      for (let i = 0; on; i++) {
        write({ [`many/${i % 200}`]: `${i}`.repeat(5000) });
        await new Promise((next) => setImmediate(next));
      }
    })();
    const made = await store();
    on = false;
    await change;
    // The copy, stored as a source of its own, must come to the same name.
    assert.equal((await storeArtifact({ directory: made.path }, { root })).hash, made.hash);
  });

  it("comes out whole and once where two processes store at the same time", async () => {
    write(Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`many/${i}`, `${i}`])));
    // Each build waits until both have begun.
    const began = join(root, "began");
    const both = `while [ $(ls ${began}.* | wc -l) -lt 2 ]; do sleep 0.02; done`;
    const build = ["sh", "-c", `: > ${began}.$$; ${both}; echo $$ > who`];
    const made = await Promise.all([elsewhere({ build }), elsewhere({ build })].map(output));
    const [a, b] = made.map((text) => JSON.parse(text) as { path: string; built: boolean });
    assert.equal(a!.path, b!.path);
    assert.equal([a, b].filter((one) => one!.built).length, 1);
    assert.equal(stored().length, 1);
    assert.equal(readdirSync(join(a!.path, "many")).length, 300);
  });

  it("leaves no artifact when it is killed, and the next one clears what it left, its build included", async () => {
    const started = join(root, "started");
    const build = [
      "sh",
      "-c",
      `test -e ${started} || { echo $$ > ${started}.tmp; mv ${started}.tmp ${started}; exec sleep 1000; }`,
    ];
    const child = elsewhere({ build });
    await until(() => existsSync(started));
    process.kill(-child.pid!, "SIGKILL");
    await once(child, "close");
    assert.ok(stored().length > 0 && stored().every((name) => name.startsWith(".draft-")));
    const made = await store({ build });
    assert.deepEqual(stored(), [made.hash]);
    await ended(readFileSync(started, "utf8").trim());
  });

  it("says so and keeps nothing when there is no room", async () => {
    write({ big: "x".repeat(100_000) });
    // A limit on the size of a file: the same short write and error, without a disk to fill.
    const text = await output(elsewhere({}, 'ulimit -f 16; exec "$@"'));
    assert.equal(text, "artifact-store-full");
    assert.deepEqual(stored(), []);
  });

  it("finds a stored copy, or makes it again from an unchanged source", async () => {
    const { artifact, path } = await store();
    assert.equal(await locateArtifact(artifact, root), path);
    execFileSync("chmod", ["-R", "u+w", path]);
    rmSync(path, { recursive: true });
    assert.equal(await locateArtifact(artifact, root), path);
    assert.equal(readFileSync(join(path, "lib/a/b.txt"), "utf8"), "b");
  });

  it("says what is missing where the source has changed, is gone or needs its build", async () => {
    const plain = await store();
    const built = await store({ build: ["true"] });
    execFileSync("chmod", ["-R", "u+w", storeRoot()]);
    rmSync(storeRoot(), { recursive: true });
    await refused(locateArtifact(built.artifact, root), "artifact-missing", /needs its build/);
    write({ "server.js": "other" });
    await refused(locateArtifact(plain.artifact, root), "artifact-missing", /has changed/);
    rmSync(join(root, "app"), { recursive: true });
    await refused(locateArtifact(plain.artifact, root), "artifact-missing", /can't be read/);
    assert.deepEqual(stored(), []);
  });

  it("refuses what is no dir: artifact", async () => {
    await refused(locateArtifact("dir:app@latest", root), "malformed-artifact");
    await refused(locateArtifact(`web@sha256:${"0".repeat(64)}`, root), "artifact-unsupported");
    mkdirSync(join(root, "a@b"));
    await refused(store({ directory: "a@b" }), "malformed-artifact");
  });
});
