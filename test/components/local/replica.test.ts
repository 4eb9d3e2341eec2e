import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import * as path from "node:path";
import fc from "fast-check";
import { rotate, scrub, tail } from "../../../components/local/logs";
import { endStrays, markedProcesses, startOf } from "../../../components/local/process";
import { backOff, createReplica, type Replica } from "../../../components/local/replica";
import { createSecrets } from "../../../components/local/secrets";
import { createRedactor } from "../../../components/redact";
import { alive, type FillChange, fillOf, PROGRAMS, until } from "./stage";

const ARTIFACT = `dir:app@sha256:${"a".repeat(64)}`;

describe("a replica", () => {
  let root = "";
  let mark = "";
  const replicas: Replica[] = [];
  const lines: string[] = [];

  beforeEach(() => {
    root = mkdtempSync(path.join(tmpdir(), "sluice-replica-"));
    mark = path.basename(root);
    mkdirSync(path.join(root, "app"));
    for (const [name, text] of Object.entries(PROGRAMS)) writeFileSync(path.join(root, "app", name), text);
    lines.length = 0;
  });
  afterEach(async () => {
    await Promise.all(replicas.splice(0).map((replica) => replica.stop(500)));
    assert.equal(await endStrays(mark, 0, new Set()), 0, "it left processes behind");
    rmSync(root, { recursive: true, force: true });
  });

  function start(change: FillChange = {}, extra: Partial<Parameters<typeof createReplica>[0]> = {}): Replica {
    const replica = createReplica({
      service: "web.test",
      slot: "blue",
      fill: fillOf(ARTIFACT, root, "one", change),
      mark,
      logFile: path.join(root, "blue.log"),
      home: root,
      secrets: createSecrets(),
      locate: async () => path.join(root, "app"),
      changed: () => undefined,
      log: (line) => lines.push(line),
      ...extra,
    });
    replicas.push(replica);
    return replica;
  }
  const ready = (replica: Replica) => until(() => replica.status().ready && replica.status());
  const failed = (replica: Replica) => until(() => replica.status().failure);
  const get = async (replica: Replica, where: string): Promise<string> =>
    (await fetch(`http://127.0.0.1:${replica.status().port}${where}`)).text();

  it("is ready once its health path answers 2xx, and not before", async () => {
    const replica = start({ variables: { DELAY: "150" } });
    const pid = await until(() => replica.status().pid);
    assert.equal(replica.status().ready, false);
    await ready(replica);
    assert.equal(await get(replica, "/"), `one ${pid}`);
  });

  it("gets the environment it declares and nothing of the supervisor's own", async () => {
    process.env.SLUICE_TEST_SECRET = "s3cret";
    process.env.SLUICE_TEST_OTHER = "not for you";
    const replica = start({ variables: { COLOUR: "red" }, secrets: { TOKEN: "env:SLUICE_TEST_SECRET@3" } });
    await ready(replica);
    const env = JSON.parse(await get(replica, "/env")) as Record<string, string>;
    delete process.env.SLUICE_TEST_SECRET;
    delete process.env.SLUICE_TEST_OTHER;
    assert.deepEqual(Object.keys(env).sort(), [
      "COLOUR",
      "HOME",
      "LANG",
      "PATH",
      "PORT",
      "SLUICE_REPLICA",
      "TAG",
      "TOKEN",
    ]);
    assert.equal(env.TOKEN, "s3cret");
    assert.equal(env.HOME, root);
    assert.equal(env.PORT, String(replica.status().port));
  });

  it("is started again at once when it is killed", async () => {
    const replica = start();
    const { pid } = await ready(replica);
    process.kill(pid ?? 0, "SIGKILL");
    const again = await until(
      () => replica.status().ready && replica.status().pid !== pid && replica.status(),
    );
    assert.equal(again.restarts, 1);
    assert.equal(again.failure, undefined);
  });

  it("is in a crash loop after two exits, with code and last lines", async () => {
    const failure = await failed(start({ arguments: ["node", "crash.js"] }));
    assert.equal(failure.code, "crash-loop");
    assert.equal(failure.exitCode, 7);
    assert.deepEqual(failure.logs, ["cannot go on"]);
  });

  it("is not ready where it never answers, and is started anew", async () => {
    const replica = start({ arguments: ["node", "deaf.js"], startSeconds: 0.4 });
    const pid = await until(() => replica.status().pid);
    const failure = await failed(replica);
    assert.equal(failure.code, "not-ready");
    assert.match(failure.reason, /gave no 2xx within 0.4 s: .*ECONNREFUSED/);
    await until(() => !alive(pid));
  });

  it("has a wrong health path where the answer is 404 until the end", async () => {
    const failure = await failed(start({ health: "/missing", startSeconds: 0.6 }));
    assert.equal(failure.code, "health-path");
    assert.match(failure.reason, /it answered 404/);
  });

  it("has a port conflict where it insists on a port that is taken", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await until(() => other.listening);
    const fixed = String((other.address() as AddressInfo).port);
    const failure = await failed(start({ arguments: ["node", "greedy.js"], variables: { FIXED: fixed } }));
    await new Promise((resolve) => other.close(resolve));
    assert.equal(failure.code, "port-conflict");
    assert.match(
      failure.reason,
      new RegExp(`EADDRINUSE.*${fixed} \\(process ${process.pid} \\(.+\\) listens there\\)`),
    );
  });

  it("has a port conflict where another process answers on its port", async () => {
    writeFileSync(
      path.join(root, "app", "foreign.js"),
      `const env = { PATH: process.env.PATH, PORT: process.env.PORT, TAG: "foreign" };
       const child = require("node:child_process").spawn("node", ["server.js"], { env, detached: true, stdio: "ignore" });
       require("node:fs").writeFileSync("pid", String(child.pid));
       setInterval(() => {}, 1000);`,
    );
    const failure = await failed(start({ arguments: ["node", "foreign.js"] }));
    process.kill(Number(readFileSync(path.join(root, "app", "pid"), "utf8")), "SIGKILL");
    assert.equal(failure.code, "port-conflict");
    assert.match(failure.reason, /answered by process \d+ \(node\), not by this replica/);
  });

  it("says at once that the start command is missing", async () => {
    const failure = await failed(start({ arguments: ["no-such-command"] }));
    assert.equal(failure.code, "start-missing");
    assert.match(failure.reason, /no-such-command/);
    assert.equal((await failed(start({ arguments: [] }))).code, "start-missing");
  });

  it("says at once that artifact or secret is missing, and never a secret's value", async () => {
    const locate = () => Promise.reject(new Error("it is not in the store"));
    assert.equal((await failed(start({}, { locate }))).code, "artifact-missing");
    const failure = await failed(start({ secrets: { TOKEN: "env:SLUICE_TEST_NOWHERE@1" } }));
    assert.equal(failure.code, "secret-missing");
    assert.match(failure.reason, /SLUICE_TEST_NOWHERE/);
  });

  it("recovers by itself once what was missing is there", async () => {
    const locate = async (): Promise<string> => {
      if (lines.length === 0) throw new Error("not yet");
      return path.join(root, "app");
    };
    const replica = start({}, { locate });
    await failed(replica);
    assert.equal((await ready(replica)).failure, undefined);
  });

  it("takes what it started with it, even what left its process group", async () => {
    writeFileSync(
      path.join(root, "app", "family.js"),
      `const { spawn } = require("node:child_process");
       spawn("node", ["deaf.js"], { stdio: "ignore" });
       spawn("node", ["stubborn.js"], { stdio: "inherit", detached: true });
       process.on("SIGTERM", () => {});
       require("./server.js");`,
    );
    const replica = start({ arguments: ["node", "family.js"] });
    await ready(replica);
    await until(() => markedProcesses(`${mark}/`).length === 3);
    await until(() => tail(path.join(root, "blue.log"), 9, createRedactor([])).includes("up"));
    await replica.stop(100);
    assert.deepEqual(markedProcesses(`${mark}/`), []);
  });

  it("is ended by SIGKILL after its grace where it ignores SIGTERM, and that is logged", async () => {
    const replica = start({ arguments: ["node", "stubborn.js"] });
    const pid = await until(() => replica.status().pid);
    await until(() => tail(path.join(root, "blue.log"), 9, createRedactor([])).includes("up"));
    const began = performance.now();
    await replica.stop(300);
    const took = performance.now() - began;
    assert.ok(took >= 300 && took < 1500, `${took} ms`);
    assert.equal(alive(pid), false);
    assert.deepEqual(lines, [
      `web.test blue: replica ${pid} went on after SIGTERM; SIGKILL ended it after 300 ms`,
    ]);
  });

  it("ends without a word where it obeys SIGTERM", async () => {
    const replica = start();
    await ready(replica);
    await replica.stop(5000);
    assert.deepEqual(lines, []);
  });

  it("serves without a log where none can be written, and says so", async () => {
    const replica = start({}, { logFile: path.join(root, "app", "server.js", "blue.log") });
    await ready(replica);
    assert.match(lines.join(), /what it prints is lost.*(ENOTDIR|EEXIST)/);
  });

  it("gets its folders made again where somebody removed them", async () => {
    const home = path.join(root, "home", "of it");
    const logFile = path.join(root, "logs", "of it", "blue.log");
    await ready(start({}, { home, logFile }));
    assert.ok(existsSync(home) && existsSync(logFile));
  });

  it("can be left running and taken over, with its process and port", async () => {
    const first = start();
    const { pid, port } = await ready(first);
    const record = first.record();
    assert.ok(record && record.start === startOf(record.pid));
    await first.leave();
    assert.ok(pid && alive(pid));
    const second = start({}, { adopt: record });
    await second.probed;
    assert.deepEqual([second.status().pid, second.status().port, second.status().ready], [pid, port, true]);
    process.kill(pid, "SIGKILL");
    await until(() => second.status().ready && second.status().pid !== pid);
  });

  it("is taken out while it does not answer, and comes back", async () => {
    const replica = start();
    const { pid } = await ready(replica);
    process.kill(pid ?? 0, "SIGSTOP");
    await until(() => !replica.status().ready);
    process.kill(pid ?? 0, "SIGCONT");
    await ready(replica);
    assert.equal(replica.status().pid, pid);
  });

  it("waits longer after each exit, at most 30 s", () => {
    assert.deepEqual([1, 2, 3, 4].map(backOff), [0, 500, 1000, 2000]);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1000 }), (exits) => {
        assert.ok(backOff(exits) <= backOff(exits + 1) && backOff(exits) <= 30_000);
      }),
    );
  });
});

describe("a slot's log", () => {
  const plain = createRedactor([]);

  it("keeps its last lines across a rotation, and its writers write on", () => {
    const folder = mkdtempSync(path.join(tmpdir(), "sluice-log-"));
    const file = path.join(folder, "blue.log");
    execFileSync("sh", ["-c", `for i in 1 2 3 4; do echo line $i; done >> ${file}`]);
    assert.deepEqual(tail(file, 2, plain), ["line 3", "line 4"]);
    assert.equal(rotate(file, 27), true);
    execFileSync("sh", ["-c", `echo line 5 >> ${file}`]);
    assert.deepEqual(tail(file, 3, plain), ["line 3", "line 4", "line 5"]);
    assert.equal(rotate(file, 27), false);
    assert.equal(readFileSync(`${file}.1`, "utf8"), "line 2\nline 3\nline 4\n", "a cut line was kept");
    rmSync(folder, { recursive: true });
  });

  it("shows no part of a secret, also where its bound or a rotation cuts it in two", async () => {
    const folder = mkdtempSync(path.join(tmpdir(), "sluice-log-"));
    const file = path.join(folder, "blue.log");
    const redact = createRedactor(["first-half-second-half", "one line\nother line"]);
    writeFileSync(`${file}.1`, "a\nfirst-half-");
    writeFileSync(file, "second-half\none line\nother line\nb\n");
    assert.deepEqual(tail(file, 10, redact), ["a", "***", "***", "b"]);
    assert.deepEqual(tail(file, 2, redact), ["***", "b"]);
    // The last 256 KiB begin in the middle of the secret.
    const rest = `half\n${"x".repeat(256 * 1024 - 8)}\nb\n`;
    writeFileSync(file, `first-half-second-${rest}`);
    const long = `${"x".repeat(1000)} [… ${256 * 1024 - 2008} characters …] ${"x".repeat(1000)}`;
    assert.deepEqual(tail(file, 10, redact, 1), [long, "b"]);
    await scrub(file, redact, () => false);
    assert.equal(readFileSync(file, "utf8"), `first-half-second-${rest}`);
    await scrub(file, redact);
    assert.equal(readFileSync(file, "utf8"), `***${rest.slice(4)}`);
    rmSync(folder, { recursive: true });
  });

  it("shows a line without end in bounded memory, cut where it says so, and no half of a secret", async () => {
    const folder = mkdtempSync(path.join(tmpdir(), "sluice-log-"));
    const file = path.join(folder, "blue.log");
    const redact = createRedactor(["s3cret-token"]);
    writeFileSync(file, `${"s3cret-token".repeat(900_000)} the end`);
    assert.deepEqual(tail(file, 10, redact), ["[…]"]);
    writeFileSync(file, `${"z".repeat(10 * 1024 * 1024)}s3cret-token the end`);
    assert.deepEqual(tail(file, 10, redact), [`[…]${"z".repeat(1000 - 11)}*** the end`]);
    // Ended, and with another one behind it.
    appendFileSync(file, `\nshort\n${"y".repeat(5000)}\n`);
    const [, short, cut] = tail(file, 10, redact);
    assert.deepEqual(
      [short, cut],
      ["short", `${"y".repeat(1000)} [… 3000 characters …] ${"y".repeat(1000)}`],
    );
    assert.equal(rotate(file), true);
    assert.deepEqual(tail(file, 10, redact).slice(0, 1), ["short"], "what was left of a cut line was kept");
    writeFileSync(file, `a s3cret-token\n${"s3cret-token".repeat(200_000)}\nb s3cret-token\n`);
    await scrub(file, redact);
    const masked = readFileSync(file, "utf8").split("\n");
    assert.deepEqual(masked, ["a ***", "[a line of more than 1048576 characters was left out]", "b ***", ""]);
    rmSync(folder, { recursive: true });
  });

  it("is emptied where it can't be copied or masked, the disk being full", async () => {
    const folder = mkdtempSync(path.join(tmpdir(), "sluice-log-"));
    const file = path.join(folder, "blue.log");
    writeFileSync(file, "one\ntwo s3cret-token\n");
    mkdirSync(path.join(folder, "blue.log.1", "in the way"), { recursive: true });
    assert.throws(() => rotate(file, 10), /blue\.log\.1/);
    assert.equal(readFileSync(file, "utf8"), "");
    writeFileSync(file, "s3cret-token\n");
    mkdirSync(path.join(folder, "blue.log.tmp"));
    await assert.rejects(scrub(file, createRedactor(["s3cret-token"])));
    assert.equal(readFileSync(file, "utf8"), "");
    rmSync(folder, { recursive: true });
  });

  it("sends nothing to a terminal that it would obey, and hides what that held apart", () => {
    const folder = mkdtempSync(path.join(tmpdir(), "sluice-log-"));
    const file = path.join(folder, "blue.log");
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
    writeFileSync(file, Buffer.concat([bytes, Buffer.from("\n\u001b[31mred\u001b[0m\r\ns3cr\u001b[0met\n")]));
    const shown = tail(file, 10, createRedactor(["s3cret"]));
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
    assert.doesNotMatch(shown.join(""), /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/);
    assert.deepEqual(shown.slice(-2), ["red", "***"]);
    rmSync(folder, { recursive: true });
  });
});
