import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Fact } from "../../automation/core/events";
import { createJournal, openJournal, readJournal } from "../../automation/engine/journal";
import {
  environmentDirectory,
  isRunId,
  listRuns,
  newRunId,
  runDirectory,
} from "../../automation/engine/runs";

const fact = (n: number): Fact => ({ type: "traffic.diverted", target: `t${n}` });
const targets = (events: readonly object[]) => events.map((e) => (e as { target: string }).target);

describe("The journal of a run", () => {
  let root: string;
  let directory: string;
  let file: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "sluice-journal-"));
    directory = runDirectory(root, "prod", newRunId(Date.now()));
    file = join(directory, "journal.jsonl");
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  async function written(count: number): Promise<void> {
    const journal = await createJournal(directory);
    for (let n = 0; n < count; n++) await journal.append(fact(n), n);
    await journal.close();
  }
  const lines = () => readFileSync(file, "utf8").split("\n").slice(0, -1);
  const put = (all: string[]) => writeFileSync(file, all.map((line) => `${line}\n`).join(""));

  it("gives back what was appended, in order, to any reader", async () => {
    const journal = await createJournal(directory);
    const own = await Promise.all([0, 1, 2].map((n) => journal.append(fact(n), 1000 + n)));
    const read = await readJournal(directory);
    assert.deepEqual(read, { events: own, torn: false });
    assert.deepEqual(journal.events, own);
    assert.deepEqual(own.map((e) => [e.v, e.seq, e.at]), [[1, 0, 1000], [1, 1, 1001], [1, 2, 1002]]); // biome-ignore format: a table
    assert.equal(own[0]?.prev, "0".repeat(32));
    await journal.close();
  });

  it("is its owner's alone", async () => {
    await written(1);
    for (const path of [directory, join(directory, ".."), join(root, ".sluice")])
      assert.equal(statSync(path).mode & 0o777, 0o700);
    assert.equal(statSync(file).mode & 0o777, 0o600);
  });

  it("folds in memory what a reader folds from disk", async () => {
    const journal = await createJournal(directory);
    const event = await journal.append({ type: "run.paused", reason: undefined as never, diverted: [] }, 1);
    assert.deepEqual(Object.keys(event), ["v", "seq", "at", "prev", "type", "diverted"]);
    await journal.close();
  });

  it("resolves an append only when its batch is on disk, and lets those that arrive meanwhile share the next", async () => {
    let synced = 0;
    let release: (() => void) | undefined;
    const journal = await createJournal(directory, {
      sync: async (f) => {
        await new Promise<void>((resolve) => {
          release = resolve;
        });
        await f.datasync();
        synced += 1;
      },
    });
    const done: number[] = [];
    const append = (n: number) => journal.append(fact(n), n).then((e) => void done.push(e.seq));
    const first = append(0);
    while (!release) await new Promise(setImmediate);
    const rest = Array.from({ length: 50 }, (_, n) => append(n + 1));
    await new Promise(setImmediate);
    assert.deepEqual(done, []);
    release();
    await first;
    assert.deepEqual(done, [0]);
    release = undefined;
    while (!release) await new Promise(setImmediate);
    (release as () => void)();
    await Promise.all(rest);
    assert.equal(synced, 2);
    assert.deepEqual(
      done,
      Array.from({ length: 51 }, (_, n) => n),
    );
    await journal.close();
  });

  it("syncs once for all that is appended in one turn", async () => {
    let syncs = 0;
    const sync = async () => void syncs++;
    const journal = await createJournal(directory, { sync });
    await Promise.all([0, 1, 2, 3].map((n) => journal.append(fact(n), n)));
    assert.equal(syncs, 1);
    await journal.close();
  });

  it("puts a note on disk with the next append, in its place", async () => {
    let syncs = 0;
    const sync = async () => void syncs++;
    const journal = await createJournal(directory, { sync, lag: 3_600_000 });
    journal.note(fact(0), 1);
    await journal.append(fact(1), 2);
    assert.equal(syncs, 1);
    assert.deepEqual(targets((await readJournal(directory)).events), ["t0", "t1"]);
    await journal.close();
  });

  it("puts a note on disk by itself after its lag, and at closing", async () => {
    let heard = () => {};
    const synced = new Promise<void>((resolve) => {
      heard = resolve;
    });
    const journal = await createJournal(directory, { sync: async () => heard(), lag: 1 });
    journal.note(fact(0), 1);
    await synced;
    assert.equal((await readJournal(directory)).events.length, 1);
    await journal.close();
    const again = await openJournal(directory, { lag: 3_600_000 });
    again.note(fact(1), 1);
    await again.close();
    assert.equal((await readJournal(directory)).events.length, 2);
    await assert.rejects(again.append(fact(2), 1), { code: "journal-closed" });
  });

  it("never goes back in time, whatever the clock does", async () => {
    const journal = await createJournal(directory);
    for (const at of [5000, 4000, 6000]) await journal.append(fact(at), at);
    await journal.close();
    const again = await openJournal(directory);
    await again.append(fact(1), 1);
    await assert.rejects(again.append(fact(1), Number.NaN), RangeError);
    assert.deepEqual(again.events.map((e) => e.at), [5000, 5000, 6000, 6000]); // biome-ignore format: short
    await again.close();
  });

  it("masks before it keeps", async () => {
    const redact = (f: Fact) => JSON.parse(JSON.stringify(f).replaceAll("hunter2", "***")) as Fact;
    const journal = await createJournal(directory, { redact });
    await journal.append({ type: "run.paused", reason: "hunter2 was wrong", diverted: [] }, 1);
    assert.ok(!readFileSync(file, "utf8").includes("hunter2"));
    assert.ok(!JSON.stringify(journal.events).includes("hunter2"));
    await journal.close();
  });

  it("drops a last line cut at any byte, says so, and goes on", async () => {
    await written(4);
    const whole = readFileSync(file);
    const before = whole.lastIndexOf("\n", whole.length - 2) + 1;
    for (let size = before; size < whole.length; size++) {
      writeFileSync(file, whole.subarray(0, size));
      assert.equal((await readJournal(directory)).torn, size > before);
      assert.equal(statSync(file).size, size, "a reader changes nothing");
      const journal = await openJournal(directory);
      assert.equal(journal.torn, size > before);
      await journal.append(fact(9), 9);
      await journal.close();
      const { events, torn } = await readJournal(directory);
      assert.deepEqual(targets(events), ["t0", "t1", "t2", "t9"]);
      assert.equal(torn, false);
    }
  });

  it("opens when it was cut at any byte at all", async () => {
    await written(3);
    const whole = readFileSync(file);
    for (let size = 0; size <= whole.length; size++) {
      truncateSync(file, size);
      writeFileSync(file, whole.subarray(0, size));
      const { events } = await readJournal(directory);
      assert.equal(events.length, whole.subarray(0, size).toString().split("\n").length - 1);
    }
  });

  it("drops a tail of zeros, as some file systems leave one after a power cut", async () => {
    await written(2);
    appendFileSync(file, Buffer.alloc(5000));
    const journal = await openJournal(directory);
    assert.equal(journal.events.length, 2);
    await journal.close();
  });

  it("refuses damage anywhere in a whole line, naming file and line, and leaves the file alone", async () => {
    await written(5);
    const good = lines();
    const damage: [number, string[]][] = [
      [3, good.with(2, "{half")],
      [4, good.with(2, (good[2] as string).replace("t2", "t7"))],
      [3, good.toSpliced(2, 1)],
      [4, good.toSpliced(2, 0, good[2] as string)],
      [2, good.toSpliced(1, 2, good[2] as string, good[1] as string)],
      [5, good.with(4, "null")],
      [5, good.with(4, "")],
      [5, good.with(4, (good[4] as string).replace('"seq":4', '"seq":5'))],
      [5, good.with(4, (good[4] as string).replace('"at":4', '"at":2'))],
      [1, good.slice(1)],
    ];
    for (const [line, all] of damage) {
      put(all);
      const bytes = readFileSync(file);
      for (const read of [readJournal, openJournal])
        await assert.rejects(read(directory), (e: { code: string; message: string; hint: string }) => {
          assert.equal(e.code, "journal-corrupt");
          assert.ok(e.message.includes(`${file}:${line} `), e.message);
          assert.match(e.hint, /npm run status.*npm run abort -- prod/);
          return true;
        });
      assert.deepEqual(readFileSync(file), bytes);
    }
  });

  it("refuses a journal of a newer Sluice, unchanged even if its last line is torn", async () => {
    await written(2);
    put(lines().with(1, '{"v":2,"something":"else"}'));
    appendFileSync(file, '{"v":2,"cut');
    const bytes = readFileSync(file);
    await assert.rejects(readJournal(directory), { code: "journal-newer" });
    await assert.rejects(openJournal(directory), { code: "journal-newer" });
    assert.deepEqual(readFileSync(file), bytes);
  });

  it("is begun once, and is missing where it was never begun", async () => {
    await assert.rejects(openJournal(directory), { code: "journal-missing" });
    await assert.rejects(readJournal(directory), { code: "journal-missing" });
    await written(1);
    await assert.rejects(createJournal(directory), { code: "journal-exists" });
    assert.equal(lines().length, 1);
  });

  it("takes nothing for written once a sync has failed, and refuses everything after", async () => {
    let broken = false;
    const sync = async () => {
      if (broken) throw Object.assign(new Error("EIO: i/o error, fdatasync"), { code: "EIO" });
    };
    const journal = await createJournal(directory, { sync });
    await journal.append(fact(0), 0);
    broken = true;
    const both = await Promise.allSettled([journal.append(fact(1), 1), journal.append(fact(2), 2)]);
    for (const one of both) assert.equal(one.status === "rejected" && one.reason.code, "journal-unwritable");
    broken = false;
    await assert.rejects(journal.append(fact(3), 3), { code: "journal-unwritable" });
    await assert.rejects(journal.flush(), { code: "journal-unwritable" });
    assert.throws(() => journal.note(fact(3), 3), { code: "journal-unwritable" });
    assert.deepEqual(targets(journal.events), ["t0"]);
    await journal.close();
    assert.deepEqual(targets((await readJournal(directory)).events), ["t0"]);
  });

  // A real short write, then a real refusal: the shell limits the size of files in blocks of 512 or 1,024 bytes.
  it("stops at the last whole event when the file may not grow, and finds just those again", () => {
    const run = 'ulimit -f 8 && trap "" XFSZ && exec "$0" --import tsx test/engine/children/filler.ts "$1"';
    const { stdout, stderr } = spawnSync("sh", ["-c", run, process.execPath, directory], {
      encoding: "utf8",
    });
    const { codes, written, kept, found } = JSON.parse(stdout || `"${stderr}"`);
    assert.deepEqual(codes, ["journal-full", "journal-full", "journal-full"]);
    assert.ok(written > 5);
    assert.deepEqual([kept, found], [written, written]);
  });

  it("stops at the last whole event when the disk is full, and finds just those again", function () {
    // In a mount namespace of its own, so that nothing is left behind. Needs root, or user namespaces.
    const space = process.getuid?.() === 0 ? "-m" : "-rm";
    const run =
      'mount -t tmpfs -o size=64k none "$1" && exec "$0" --import tsx test/engine/children/filler.ts "$1/run"';
    const probe = spawnSync("unshare", [space, "mount", "-t", "tmpfs", "none", root]);
    if (probe.status !== 0) return this.skip();
    const args = [space, "sh", "-c", run, process.execPath, root];
    const { stdout, stderr } = spawnSync("unshare", args, { encoding: "utf8" });
    const { codes, written, kept, found } = JSON.parse(stdout || `"${stderr}"`);
    assert.deepEqual(codes, ["journal-full", "journal-full", "journal-full"]);
    assert.ok(written > 50);
    assert.deepEqual([kept, found], [written, written]);
  });

  it("has every acknowledged event after SIGKILL at any moment, in order, the chain whole", async () => {
    let seed = 20261124;
    const random = () => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return seed / 2 ** 32;
    };
    let total = 0;
    for (let round = 0; round < 6; round++) {
      const args = ["--import", "tsx", "test/engine/children/appender.ts", directory, String(total)];
      const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
      const exit = once(child, "exit");
      const killAt = 1 + Math.floor(random() * 2500);
      const acknowledged: string[] = [];
      for await (const line of createInterface(child.stdout)) {
        acknowledged.push(line);
        if (acknowledged.length === killAt) child.kill("SIGKILL");
      }
      await exit;
      const { events } = await readJournal(directory);
      assert.ok(acknowledged.length >= killAt);
      for (const line of acknowledged) {
        const [seq, number] = line.split(" ").map(Number) as [number, number];
        assert.equal(targets(events)[seq], `t${number}`);
      }
      assert.deepEqual(targets(events), events.map((_, n) => `t${n}`)); // biome-ignore format: short
      const journal = await openJournal(directory);
      await journal.close();
      total = journal.events.length;
    }
    assert.ok(total > 2000, `${total} events are too few to say anything`);
  }).timeout(60_000);
});

describe("The runs of an environment", () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "sluice-runs-"));
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  it("have names that sort by time, to the millisecond", () => {
    assert.match(newRunId(Date.UTC(2026, 10, 24, 5, 52, 17, 418)), /^20261124T055217-1a2[0-9a-f]{3}$/);
    const names = [0, 1, 15, 16, 999, 1000, 86_400_000].map((ms) => newRunId(1_790_000_000_000 + ms));
    assert.deepEqual(names.toSorted(), names);
    assert.ok(names.every(isRunId));
  });

  it("are listed newest first, whatever else lies there", async () => {
    assert.deepEqual(await listRuns(root, "prod"), []);
    const names = [3, 1, 2].map((s) => newRunId(1_790_000_000_000 + s * 1000));
    for (const run of names) await (await createJournal(runDirectory(root, "prod", run))).close();
    const parent = environmentDirectory(root, "prod");
    writeFileSync(join(parent, "lease"), "");
    writeFileSync(join(parent, newRunId(1)), "a file with the name of a run");
    assert.deepEqual((await listRuns(root, "prod")).map(({ run }) => run), names.toSorted().reverse()); // biome-ignore format: short
  });

  it("never lie outside their place, whatever they are called", () => {
    for (const name of ["..", "../prod", "a/b", "", ".", "-x", "a\0b"]) {
      assert.throws(() => environmentDirectory(root, name), { code: "bad-run-name" });
      assert.throws(() => runDirectory(root, "prod", name), { code: "bad-run-name" });
    }
  });
});
