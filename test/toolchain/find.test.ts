import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type FindOptions, findPulumi, PulumiMissing, PulumiUnusable } from "../../automation/toolchain/find";
import { build, pinnedVersion, type Way } from "../../automation/toolchain/make";

const pinned = pinnedVersion();

const refuse: Way = async () => {
  throw new Error("not in this test");
};

describe("finding the Pulumi CLI", () => {
  let home: string;
  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), "sluice find-"));
  });
  afterEach(() => {
    rmSync(home, { recursive: true, force: true });
  });

  /** A launcher that says a version, and counts in `<directory>/started` how often it was asked. */
  function launcher(directory: string, says: string): string {
    const path = join(home, directory, "pulumi");
    mkdirSync(join(home, directory), { recursive: true });
    writeFileSync(path, `#!/bin/sh\necho x >> '${home}/${directory}/started'\n${says}\n`, { mode: 0o700 });
    return path;
  }
  const cachedBin = join("cache", "sluice", "pulumi", pinned, "bin");
  const find = (
    env: Record<string, string> = {},
    ways: FindOptions["ways"] = { download: refuse, build: refuse },
  ) => findPulumi({ env: { XDG_CACHE_HOME: join(home, "cache"), PATH: join(home, "path"), ...env }, ways });
  const started = (directory: string) => readFileSync(join(home, directory, "started"), "utf8").length / 2;

  it("takes SLUICE_PULUMI before PATH, and PATH before the cache", async () => {
    const named = launcher("named", "echo v3.201.0");
    const onPath = launcher("path", "echo v3.202.0");
    const cached = launcher(cachedBin, "echo v3.203.0");
    assert.deepEqual(await find({ SLUICE_PULUMI: named }), {
      path: named,
      version: "3.201.0",
      origin: "SLUICE_PULUMI",
    });
    assert.deepEqual(await find(), { path: onPath, version: "3.202.0", origin: "PATH" });
    rmSync(onPath);
    assert.deepEqual(await find(), { path: cached, version: "3.203.0", origin: "cache" });
  });

  it("never passes over a SLUICE_PULUMI that can't be used", async () => {
    launcher("path", "echo v3.202.0");
    const noExecutable = join(home, "text");
    writeFileSync(noExecutable, "", { mode: 0o600 });
    const cases: [string, RegExp][] = [
      [join(home, "nowhere"), /does not exist/],
      [home, /no file/],
      [noExecutable, /not executable/],
      [launcher("old", "echo v3.199.9"), /3\.199\.9, at least 3\.200\.0/],
      [launcher("broken", "echo boom >&2; exit 3"), /boom/],
      [launcher("silent", "true"), /no version/],
      ["pulumi", /absolute/],
    ];
    for (const [path, why] of cases) {
      await assert.rejects(find({ SLUICE_PULUMI: path }), (problem) => {
        assert.ok(PulumiUnusable.is(problem));
        assert.match(problem.message, why);
        return true;
      });
    }
  });

  it("asks a binary for its version once, and again only when the file has changed", async () => {
    const path = launcher("path", "echo v3.202.0");
    await find();
    await find();
    assert.equal(started("path"), 1);
    writeFileSync(path, `${readFileSync(path, "utf8")}# changed\n`);
    await find();
    assert.equal(started("path"), 2);
  });

  it("passes over an old Pulumi on PATH and names it among what was tried", async () => {
    launcher("path", "echo v3.100.0");
    await assert.rejects(find(), (problem) => {
      assert.ok(PulumiMissing.is(problem));
      assert.match(problem.message, /SLUICE_PULUMI: not set/);
      assert.match(problem.message, /PATH: .*3\.100\.0, at least/);
      assert.match(problem.message, /cache: .*does not exist/);
      assert.match(problem.message, /download: not in this test/);
      assert.match(problem.message, /build: not in this test/);
      assert.match(problem.hint, /Go >= 1\.26/);
      return true;
    });
  });

  it("replaces a broken copy in the cache, and never keeps one that doesn't run", async () => {
    launcher(cachedBin, "exit 1");
    const half: Way = async ({ root }) => {
      mkdirSync(join(root, "bin"));
      writeFileSync(join(root, "bin", "pulumi"), "#!/bin/sh\nexit 1\n", { mode: 0o700 });
    };
    const whole: Way = async ({ root, version }) => {
      mkdirSync(join(root, "bin"));
      writeFileSync(join(root, "bin", "pulumi"), `#!/bin/sh\necho v${version}\n`, { mode: 0o700 });
    };
    await assert.rejects(find({}, { download: half, build: half }), PulumiMissing.is);
    assert.match(
      readFileSync(join(home, cachedBin, "pulumi"), "utf8"),
      /started/,
      "it is still the first one",
    );
    const made = await find({}, { download: half, build: whole });
    assert.equal(made.origin, "build");
    assert.equal(made.version, pinned);
    assert.equal((await find()).origin, "cache");
    const left = readdirSync(join(home, "cache", "sluice", "pulumi")).filter((name) => name.startsWith("."));
    assert.deepEqual(left, []);
  });

  it("lets one of two processes build, and the other wait for it", async function () {
    this.timeout(60_000);
    const env = {
      PATH: "/nonexistent",
      XDG_CACHE_HOME: join(home, "cache"),
      GO: join(home, "go"),
      LOG: join(home, "log"),
    };
    const start = () =>
      spawn(process.execPath, ["--import", "tsx", join(__dirname, "children", "finder.ts")], {
        env,
        stdio: ["ignore", "pipe", "inherit"],
      });
    const first = start();
    let second: ChildProcess | undefined;
    try {
      await says(first, /building/);
      second = start();
      await says(second, /Another process is getting/);
      const ends = [says(first, /origin build/), says(second, /origin cache/)];
      writeFileSync(env.GO, "");
      await Promise.all(ends);
      assert.equal(readFileSync(env.LOG, "utf8"), "built\n");
    } finally {
      first.kill("SIGKILL");
      second?.kill("SIGKILL");
    }
  });

  it("says that Go is missing where it is", async () => {
    const root = join(home, "root");
    await assert.rejects(
      build({ version: pinned, root, env: { PATH: "/nonexistent" }, progress: () => {} }),
      /go is not on PATH/,
    );
  });

  it("gives the last lines of a build that failed, and leaves the pinned modules as they are", async () => {
    const bin = join(home, "bin");
    mkdirSync(bin);
    writeFileSync(join(bin, "go"), '#!/bin/sh\necho "$@" >&2\necho no such compiler >&2\nexit 2\n', {
      mode: 0o700,
    });
    await assert.rejects(
      build({ version: pinned, root: join(home, "root"), env: { PATH: bin }, progress: () => {} }),
      new RegExp(`-mod=readonly.*version\\.Version=v${pinned}.*no such compiler`),
    );
    assert.ok(!existsSync(join(home, "root", "bin", "pulumi")));
  });
});

/** Resolves when the process has printed a line that matches; rejects when it ends before. */
async function says(child: ChildProcess, pattern: RegExp): Promise<void> {
  let text = "";
  const stop = new AbortController();
  const ended = once(child, "exit", { signal: stop.signal }).then(([code]) => {
    if (!pattern.test(text)) throw new Error(`ended with ${code} before it said ${pattern}: ${text}`);
  });
  ended.catch(() => {});
  const said = new Promise<void>((resolve) => {
    child.stdout?.on("data", (part) => {
      text += part;
      if (pattern.test(text)) resolve();
    });
  });
  // 20 s for what takes one, so that a process that never says it is ended with the test.
  const late = delay(20_000, undefined, { signal: stop.signal }).then(() => {
    throw new Error(`never said ${pattern}: ${text}`);
  });
  late.catch(() => {});
  try {
    await Promise.race([said, ended, late]);
  } finally {
    stop.abort();
  }
}
