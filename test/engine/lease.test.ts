import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { hostname, tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { acquireLease, leaseHolder, whoami } from "../../automation/engine/lease";

const RUN = "20261124T055217-1a2b3c";

describe("The lease of an environment", () => {
  let root: string;
  let directory: string;
  let file: string;
  const started: number[] = [];
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "sluice-lease-"));
    directory = join(root, ".sluice", "runs", "prod");
    file = join(directory, "lease");
  });
  afterEach(() => {
    for (const pid of started.splice(0)) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It ended by itself.
      }
    }
    rmSync(root, { recursive: true, force: true });
  });

  function start(script: string, ...args: string[]): ChildProcess {
    const path = `test/engine/children/${script}.ts`;
    const child = spawn(process.execPath, ["--import", "tsx", path, directory, ...args], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    started.push(child.pid as number);
    return child;
  }

  async function holder(): Promise<{ child: ChildProcess; token: number; heir: number }> {
    const child = start("holder");
    const [line] = await once(createInterface(child.stdout as NodeJS.ReadableStream), "line");
    const { token, heir } = JSON.parse(line);
    started.push(heir);
    return { child, token, heir };
  }

  it("is held by one at a time inside a process", async () => {
    const lease = await acquireLease(directory);
    await assert.rejects(acquireLease(directory), { code: "run-held" });
    await lease.release();
    await lease.release();
    const all = await Promise.allSettled(Array.from({ length: 8 }, () => acquireLease(directory)));
    const got = all.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    assert.equal(got.length, 1);
    await got[0]?.release();
  });

  it("is held by one at a time among processes, and its token only grows", async () => {
    const tokens: number[] = [];
    const contend = async () => {
      const child = start("contender", "40");
      for await (const line of createInterface(child.stdout as NodeJS.ReadableStream))
        tokens.push(Number(line));
      assert.equal(child.exitCode ?? (await once(child, "exit"))[0], 0);
    };
    await Promise.all([contend(), contend(), contend()]);
    assert.equal(new Set(tokens).size, 120);
    const lease = await acquireLease(directory);
    assert.ok(tokens.every((token) => token < lease.token));
    await lease.release();
  });

  it("tells who has it: pid, user, host, run and since when", async () => {
    const before = Date.now();
    const { child } = await holder();
    await assert.rejects(acquireLease(directory), (e: { code: string; message: string; hint: string }) => {
      assert.equal(e.code, "run-held");
      const { username } = userInfo();
      for (const part of [`pid ${child.pid}`, username, hostname().slice(0, 40), RUN, "prod", "since 2"])
        assert.ok(e.message.includes(part), `${part}: ${e.message}`);
      assert.match(e.hint, /npm run abort -- prod/);
      return true;
    });
    const seen = await leaseHolder(directory);
    assert.equal(seen?.pid, child.pid);
    assert.ok(seen && seen.since >= before && seen.since <= Date.now());
  });

  it("names its run when that is known only later", async () => {
    assert.equal(await leaseHolder(directory), undefined);
    const lease = await acquireLease(directory);
    assert.equal((await leaseHolder(directory))?.run, undefined);
    await lease.name(RUN);
    assert.equal((await leaseHolder(directory))?.run, RUN);
    assert.equal((await leaseHolder(directory))?.token, lease.token);
    await lease.release();
    assert.equal(await leaseHolder(directory), undefined);
    const next = await acquireLease(directory);
    assert.ok(next.token > lease.token);
    await next.release();
  });

  it("is free once its holder was killed, although a process it started lives on", async () => {
    const { child, token, heir } = await holder();
    const exit = once(child, "exit");
    child.kill("SIGKILL");
    await exit;
    process.kill(heir, 0);
    assert.equal(await leaseHolder(directory), undefined);
    const lease = await acquireLease(directory);
    assert.ok(lease.token > token);
    await lease.release();
  });

  it("is neither lost nor refused because somebody looks who has it", async () => {
    await (await acquireLease(directory)).release();
    const child = start("looker");
    await once(createInterface(child.stdout as NodeJS.ReadableStream), "line");
    for (let n = 0; n < 100; n++) {
      const lease = await acquireLease(directory);
      assert.equal((await leaseHolder(directory))?.token, lease.token);
      await lease.release();
    }
    const lease = await acquireLease(directory);
    await assert.rejects(acquireLease(directory), { code: "run-held" });
    await lease.release();
  });

  it("gives a greater token each time, although the clock stands still or goes back", async () => {
    const tokens: number[] = [];
    for (const now of [5000, 5000, 4000, 4000, 9000]) {
      const lease = await acquireLease(directory, { now: () => now });
      tokens.push(lease.token);
      await lease.release();
    }
    assert.deepEqual(tokens, [5000, 5001, 5002, 5003, 9000]);
  });

  it("gives a greater token after its directory was lost, or a greater one was seen elsewhere", async () => {
    const lost = await acquireLease(directory);
    await lost.release();
    rmSync(directory, { recursive: true });
    while (Date.now() <= lost.token) await new Promise(setImmediate);
    const found = await acquireLease(directory);
    assert.ok(found.token > lost.token);
    await found.release();
    const far = await acquireLease(directory, { above: 2 * found.token });
    assert.equal(far.token, 2 * found.token + 1);
    await far.release();
  });

  it("gives a greater token although its last record was cut short at any byte", async () => {
    for (const odd of [false, true]) {
      for (let size = 0; size <= 1024; size += 93) {
        rmSync(directory, { recursive: true, force: true });
        for (const now of odd ? [1000, 2000, 3000] : [1000, 2000]) {
          const lease = await acquireLease(directory, { now: () => now });
          await lease.release();
        }
        const [before, last] = odd ? [2000, 3000] : [1000, 2000];
        const whole = readFileSync(file);
        const content = Buffer.from(whole);
        content.fill(0, (odd ? 0 : 1024) + size, odd ? 1024 : 2048);
        writeFileSync(file, content);
        const lease = await acquireLease(directory, { now: () => 1 });
        // A token whose record is not whole was never handed out.
        assert.equal(lease.token, (content.equals(whole) ? (last as number) : (before as number)) + 1);
        await lease.release();
      }
    }
  });

  it("survives any content of its file", async () => {
    await (await acquireLease(directory)).release();
    for (const content of ["", "junk", "{}", "\0".repeat(2048), "x".repeat(9000)]) {
      writeFileSync(file, content);
      const lease = await acquireLease(directory);
      assert.equal((await leaseHolder(directory))?.pid, process.pid);
      await lease.release();
    }
    truncateSync(file, 100);
    await (await acquireLease(directory)).release();
  });

  it("is never held on a file that was removed between opening and locking it", async () => {
    const waiting = acquireLease(directory);
    // While this thread is busy another one opens the file; it is gone when the lock is asked for.
    for (let removed = false; !removed; ) {
      await new Promise(setImmediate);
      for (const until = performance.now() + 2; performance.now() < until; );
      removed = existsSync(file);
      if (removed) unlinkSync(file);
    }
    const lease = await waiting;
    await assert.rejects(acquireLease(directory), { code: "run-held" });
    await lease.release();
  });

  it("is its owner's alone", async () => {
    const lease = await acquireLease(directory);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.equal(statSync(directory).mode & 0o777, 0o700);
    await lease.release();
  });

  it("says so when it can't be had for another reason", async () => {
    writeFileSync(join(root, ".sluice"), "a file where the directory should be");
    await assert.rejects(acquireLease(directory), { code: "lease-unusable" });
  });
});

describe("The user of a process", () => {
  it("is its number where that has no name, as in a container", () => {
    const os: { userInfo: unknown } = require("node:os");
    const real = os.userInfo;
    assert.equal(whoami(), userInfo().username);
    os.userInfo = () => {
      throw new Error("uv_os_get_passwd returned ENOENT");
    };
    try {
      assert.equal(whoami(), `user ${process.getuid?.()}`);
    } finally {
      os.userInfo = real;
    }
  });
});
