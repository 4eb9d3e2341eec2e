import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  drop,
  type Message,
  readInbox,
  removeMessage,
  take,
  watchInbox,
} from "../../automation/engine/inbox";

const NOW = 1_790_000_000_000;
const approve: Message = { kind: "approve", who: "ada", at: NOW, plan: "p1" };
const name = (at: number, rest = "000000-00000000") => `${String(at).padStart(16, "0")}-${rest}.json`;

describe("The inbox of a run", () => {
  let run: string;
  let inbox: string;
  beforeEach(() => {
    run = mkdtempSync(join(tmpdir(), "sluice-inbox-"));
    inbox = join(run, "inbox");
  });
  afterEach(() => rmSync(run, { recursive: true, force: true }));

  it("gives back what was dropped, oldest first, until it is removed", async () => {
    const abort: Message = { kind: "abort", who: "bob", at: NOW - 1, reason: "it smells\nof smoke" };
    await drop(run, approve);
    await drop(run, abort);
    const { messages, aside } = await readInbox(run, NOW);
    assert.deepEqual(aside, []);
    assert.deepEqual(messages.map(({ name: _, ...rest }) => rest), [abort, approve]); // biome-ignore format: short
    await removeMessage(run, (messages[0] as { name: string }).name);
    await removeMessage(run, (messages[0] as { name: string }).name);
    assert.deepEqual((await readInbox(run, NOW)).messages, messages.slice(1));
  });

  it("keeps the order of messages dropped within one millisecond, and loses none of many", async () => {
    const names: string[] = [];
    for (let n = 0; n < 100; n++) names.push(await drop(run, { ...approve, who: `w${n}` }));
    const { messages } = await readInbox(run, NOW);
    assert.deepEqual(messages.map((m) => m.who), Array.from({ length: 100 }, (_, n) => `w${n}`)); // biome-ignore format: short
    assert.equal(new Set(names).size, 100);
  });

  it("has no half-written message at any time, and leaves no draft behind", async () => {
    const done = Promise.all(Array.from({ length: 30 }, (_, n) => drop(run, { ...approve, at: NOW + n })));
    let finished = false;
    void done.then(() => {
      finished = true;
    });
    while (!finished) assert.deepEqual((await readInbox(run, NOW)).aside, []);
    await done;
    assert.equal((await readInbox(run, NOW)).messages.length, 30);
    assert.equal(readdirSync(inbox).length, 30);
  });

  it("hands a message out again if the holder died between journalling and removing it", async () => {
    await drop(run, approve);
    await drop(run, { ...approve, kind: "abort", at: NOW + 1 });
    const kept: string[] = [];
    const dies = take(
      run,
      async (message) => {
        kept.push(message.name);
        if (message.kind === "abort") throw new Error("killed here");
      },
      NOW,
    );
    await assert.rejects(dies, /killed here/);
    const { taken } = await take(run, async (message) => void kept.push(message.name), NOW);
    assert.equal(taken.length, 1);
    assert.equal(kept[1], kept[2], "the same name, by which it is known again");
    assert.deepEqual((await readInbox(run, NOW)).messages, []);
  });

  it("sets aside whatever is no message, with the reason, and still gives the rest", async () => {
    await drop(run, approve);
    const put = (file: string, content: string | Buffer) => writeFileSync(join(inbox, file), content);
    const text = (more: object) => JSON.stringify({ ...approve, ...more });
    put("note.txt", "hello");
    put(`${"n".repeat(250)}.json`, "");
    put(name(NOW, "000000-0000000a"), text({}).slice(0, -5));
    put(name(NOW, "000000-0000000b"), Buffer.alloc(0));
    put(name(NOW, "000000-0000000c"), text({ kind: "deploy" }));
    put(name(NOW, "000000-0000000d"), text({ extra: 1 }));
    put(name(NOW, "000000-0000000e"), text({ who: "\u001b[2J" }));
    put(name(NOW, "000000-0000000f"), `${text({})}${" ".repeat(16 * 1024)}`);
    put(name(NOW, "000001-00000000"), text({ at: NOW - 1 }));
    put(name(NOW + 300_001, "000002-00000000"), text({ at: NOW + 300_001 }));
    put(name(NOW, "000003-00000000"), "null");
    mkdirSync(join(inbox, name(NOW, "000004-00000000")));
    writeFileSync(join(run, "elsewhere"), text({ who: "eve" }));
    symlinkSync(join(run, "elsewhere"), join(inbox, name(NOW, "000005-00000000")));
    spawnSync("mkfifo", [join(inbox, name(NOW, "000006-00000000"))]);
    const { messages, aside } = await readInbox(run, NOW);
    assert.deepEqual(messages.map((m) => m.who), ["ada"]); // biome-ignore format: short
    assert.equal(aside.length, 14);
    assert.match(aside.find((a) => a.name.includes("000002-"))?.reason ?? "", /yet to come/);
    assert.match(aside.find((a) => a.name.endsWith("f.json"))?.reason ?? "", /at most 16384/);
    assert.deepEqual((await readInbox(run, NOW)).aside, [], "told once");
    assert.equal(readdirSync(inbox).length, 2);
    const reasons = readdirSync(join(inbox, "aside")).filter((file) => file.endsWith(".reason"));
    assert.equal(reasons.length, 14);
    assert.ok(reasons.some((file) => readFileSync(join(inbox, "aside", file), "utf8") === '"note.txt": its name is none that Sluice gives\n')); // biome-ignore format: long
    assert.ok(existsSync(join(run, "elsewhere")));
  });

  it("sets aside a message of another user", async function () {
    if (process.getuid?.() !== 0) return this.skip();
    const file = await drop(run, approve);
    spawnSync("chown", ["65534", join(inbox, file)]);
    const { messages, aside } = await readInbox(run, NOW);
    assert.deepEqual(messages, []);
    assert.match(aside[0]?.reason ?? "", /belongs to user 65534/);
  });

  it("takes a message from a clock that is a little ahead", async () => {
    await drop(run, { ...approve, at: NOW + 299_000 });
    assert.equal((await readInbox(run, NOW)).messages.length, 1);
  });

  it("refuses to drop what it would not take, and into a run that is not there", async () => {
    await assert.rejects(drop(run, { ...approve, reason: "x".repeat(2001) }), { code: "bad-message" });
    await assert.rejects(drop(run, { ...approve, who: "" }), { code: "bad-message" });
    await assert.rejects(drop(join(run, "none"), approve), { code: "run-missing" });
    assert.deepEqual(await readInbox(join(run, "none"), NOW), { messages: [], aside: [] });
  });

  it("never replaces a message that has the same name", async () => {
    const file = await drop(run, approve);
    writeFileSync(join(run, "other"), "other");
    assert.throws(() => linkSync(join(run, "other"), join(inbox, file)), { code: "EEXIST" });
  });

  it("is its owner's alone", async () => {
    const file = await drop(run, approve);
    assert.equal(statSync(inbox).mode & 0o777, 0o700);
    assert.equal(statSync(join(inbox, file)).mode & 0o777, 0o600);
  });

  it("calls its watcher for what lies there and for what comes, and not after the end", async () => {
    const ended = new AbortController();
    let calls = 0;
    let heard = () => {};
    const seen = () => {
      calls += 1;
      heard();
    };
    const next = () =>
      new Promise<void>((resolve) => {
        heard = resolve;
      });
    await drop(run, approve);
    const first = next();
    await watchInbox(run, seen, ended.signal);
    await first;
    await take(run, async () => undefined, NOW);
    const second = next();
    await drop(run, { ...approve, at: NOW + 1 });
    await second;
    ended.abort();
    const until = calls;
    await drop(run, { ...approve, at: NOW + 2 });
    await new Promise(setImmediate);
    assert.equal(calls, until);
  });

  it("sees what comes although the system tells of no changes", async () => {
    const ended = new AbortController();
    const heard = new EventTarget();
    await watchInbox(run, () => heard.dispatchEvent(new Event("seen")), ended.signal);
    // A directory put in the place of the watched one is one that nobody tells of.
    rmSync(inbox, { recursive: true });
    await drop(run, approve);
    await once(heard, "seen");
    ended.abort();
  });
});
