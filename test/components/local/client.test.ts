import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import * as path from "node:path";
import { promisify } from "node:util";
import { type Client, connect, PROTOCOL } from "../../../components/local/client";
import { down } from "../../../components/local/down";
import { markedProcesses } from "../../../components/local/process";
import { markOf } from "../../../components/local/state";
import { alive, openStage, type Stage, until } from "./stage";

const LOCAL = path.join(__dirname, "..", "..", "..", "components", "local");
const fence = { run: "run-1", token: 1 };

const refused = (code: string) => (thrown: unknown) => {
  assert.ok(thrown instanceof Error && "code" in thrown && "hint" in thrown, String(thrown));
  assert.equal(thrown.code, code, thrown.message);
  assert.ok(thrown.hint);
  return true;
};

describe("the client", function () {
  this.timeout(60_000);
  let stage: Stage;
  const spawned: number[] = [];
  beforeEach(() => {
    stage = openStage();
  });
  afterEach(async () => {
    await stage.close();
    for (const pid of spawned.splice(0)) if (alive(pid)) process.kill(pid, "SIGKILL");
  });

  /** A supervisor of another protocol, as another version of Sluice would start it. */
  async function another(protocol: number): Promise<Client> {
    const entry = path.join(LOCAL, "entry.js");
    const child = spawn(process.execPath, [entry, "--directory", stage.directory], {
      env: { ...process.env, SLUICE_PROTOCOL: String(protocol) },
      stdio: "ignore",
    });
    spawned.push(child.pid ?? 0);
    return until(() =>
      connect(stage.directory, { start: false }).catch(
        (thrown) => thrown.code === "supervisor-newer" && thrown,
      ),
    );
  }

  it("starts a supervisor that has nothing of the run in its environment", async () => {
    Object.assign(process.env, { SLUICE_RUN: "run-1", SLUICE_FENCE: "1", PULUMI_CONFIG: "{}" });
    const client = await stage.connect();
    for (const name of ["SLUICE_RUN", "SLUICE_FENCE", "PULUMI_CONFIG"]) delete process.env[name];
    const { pid, protocol, directory } = await client.info();
    assert.equal(protocol, PROTOCOL);
    assert.equal(directory, stage.directory);
    const environ = readFileSync(`/proc/${pid}/environ`, "utf8");
    assert.doesNotMatch(environ, /SLUICE_RUN|SLUICE_FENCE|PULUMI_/);
    // Its own session: no terminal and no process group of ours takes it along.
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ");
    assert.equal(stat?.[3], String(pid));
  });

  it("starts one supervisor where ten processes ask at once", async () => {
    const script = `
      const { connect } = require(${JSON.stringify(path.join(LOCAL, "client.js"))});
      connect(${JSON.stringify(stage.directory)}).then(async (client) => {
        console.log((await client.info()).pid);
        client.close();
      });`;
    const run = promisify(execFile);
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => run(process.execPath, ["-e", script], { timeout: 50_000 })),
    );
    assert.equal(new Set(answers.map(({ stdout }) => stdout.trim())).size, 1);
    const log = readFileSync(path.join(stage.directory, "supervisor.log"), "utf8");
    assert.equal(log.match(/process \d+/g)?.length, 1, log);
  });

  it("never has two supervisors for one directory: the second ends at once", async () => {
    const client = await stage.connect();
    const { pid } = await client.info();
    const entry = path.join(LOCAL, "entry.js");
    const second = spawn(process.execPath, [entry, "--directory", stage.directory], { stdio: "ignore" });
    spawned.push(second.pid ?? 0);
    assert.equal(await new Promise((resolve) => second.on("exit", resolve)), 75);
    assert.equal((await client.info()).pid, pid);
  });

  it("does not start one where it is told not to", async () => {
    await assert.rejects(connect(stage.directory, { start: false }), refused("supervisor-unreachable"));
  });

  it("starts the supervisor again, once, where it died between two calls", async () => {
    const client = await stage.connect();
    const { pid } = await client.info();
    process.kill(pid, "SIGKILL");
    await until(() => !alive(pid));
    const calls = await Promise.all([client.info(), client.services(), client.info()]);
    assert.notEqual(calls[0].pid, pid);
    assert.equal(calls[0].pid, calls[2].pid);
  });

  it("knows no service that was never written", async () => {
    const client = await stage.connect();
    assert.equal(await client.service("web.test"), undefined);
    assert.deepEqual(await client.services(), []);
    await assert.rejects(client.logs("web.test", "blue", 10), refused("service-unknown"));
  });

  it("has an older supervisor hand over without touching its replicas", async () => {
    const old = await another(PROTOCOL - 1);
    await old.fill("web.test", "blue", await stage.fill("one"), { fence });
    await old.ready("web.test", "blue", 15);
    const before = await old.route("web.test", { split: { blue: 100, green: 0 }, live: "blue", fence });
    const { pid } = await old.info();
    const client = await stage.connect();
    const info = await client.info();
    assert.notEqual(info.pid, pid);
    assert.equal(info.protocol, PROTOCOL);
    assert.equal(alive(pid), false);
    const after = await client.service("web.test");
    assert.deepEqual(after?.slots.blue.replicas, before.slots.blue.replicas);
    assert.equal(after?.port, before.port);
    assert.match(await (await fetch(before.url)).text(), /^one/);
  });

  it("refuses a newer supervisor with a hint, and leaves it alone", async () => {
    await another(PROTOCOL + 1);
    await assert.rejects(stage.connect(), (thrown: Error & { hint: string }) => {
      assert.match(thrown.hint, /Update/);
      return refused("supervisor-newer")(thrown);
    });
    const [pid] = spawned;
    assert.ok(pid && alive(pid));
    process.kill(pid, "SIGTERM");
    await until(() => !alive(pid));
  });

  it("says why a supervisor could not start", async () => {
    mkdirSync(path.join(stage.directory, "services"), { recursive: true });
    const file = path.join(stage.directory, "services", "web.test.json");
    writeFileSync(file, '{"version":1,"name":');
    await assert.rejects(stage.connect(), (thrown: Error) => {
      assert.ok(thrown.message.includes(file));
      return refused("state-unreadable")(thrown);
    });
    rmSync(file);
    await stage.connect();
  });

  it("does not trust a folder of sockets that others can enter", async () => {
    const runtime = path.join(stage.root, "runtime");
    const folder = path.join(runtime, `sluice-${process.getuid?.()}`);
    mkdirSync(folder, { recursive: true });
    chmodSync(folder, 0o755);
    const former = process.env.XDG_RUNTIME_DIR;
    process.env.XDG_RUNTIME_DIR = runtime;
    try {
      await assert.rejects(stage.connect(), refused("socket-directory-unsafe"));
    } finally {
      if (former === undefined) delete process.env.XDG_RUNTIME_DIR;
      else process.env.XDG_RUNTIME_DIR = former;
    }
  });

  it("finds the supervisor whatever XDG_RUNTIME_DIR says now, and even when its socket was swept away", async () => {
    const client = await stage.connect();
    const { pid } = await client.info();
    const former = process.env.XDG_RUNTIME_DIR;
    process.env.XDG_RUNTIME_DIR = stage.root;
    try {
      const second = await stage.connect();
      assert.equal((await second.info()).pid, pid);
      rmSync(readFileSync(path.join(stage.directory, "socket"), "utf8").trim());
      const third = await stage.connect();
      assert.equal((await third.info()).pid, pid);
    } finally {
      if (former === undefined) delete process.env.XDG_RUNTIME_DIR;
      else process.env.XDG_RUNTIME_DIR = former;
    }
  });

  it("stops waiting when its signal fires", async () => {
    const client = await stage.connect();
    await client.fill("web.test", "blue", await stage.fill("one", { arguments: ["node", "deaf.js"] }), {
      fence,
    });
    const signal = AbortSignal.timeout(100);
    await assert.rejects(client.ready("web.test", "blue", 30, signal), { name: "AbortError" });
  });

  describe("waiting for an error", () => {
    const NAME = "web.test";
    /** Answers 200 to its health check and 500 to all else. */
    const ERRING = `require("node:http").createServer((request, response) => {
      response.writeHead(request.url === "/" ? 200 : 500).end();
    }).listen(Number(process.env.PORT), "127.0.0.1");`;
    let client: Client;
    let url: string;
    beforeEach(async () => {
      client = await stage.connect();
      await client.fill(NAME, "blue", await stage.fill("one", { arguments: ["node", "-e", ERRING] }), {
        fence,
      });
      await client.ready(NAME, "blue", 15);
      ({ url } = await client.route(NAME, { split: { blue: 100, green: 0 }, live: "blue", fence }));
    });
    const ask = async (where: string): Promise<number> => {
      const response = await fetch(url + where, { headers: { connection: "close" } });
      await response.arrayBuffer();
      return response.status;
    };

    it("hears of it as soon as a user has met it", async () => {
      assert.equal(await ask("/"), 200);
      let heard = false;
      const waits = client.errors(NAME, "blue", 0, 50).then((answer) => {
        heard = true;
        return answer;
      });
      assert.equal(await ask("/"), 200);
      assert.deepEqual(await client.errors(NAME, "blue", 0, 0), { errors: 0, requests: 2 });
      assert.equal(heard, false);
      assert.equal(await ask("/broken"), 500);
      assert.deepEqual(await waits, { errors: 1, requests: 3 });
      assert.deepEqual(await client.errors(NAME, "blue", 0, 50), { errors: 1, requests: 3 });
      assert.deepEqual(await client.errors(NAME, "green", 0, 0), { errors: 0, requests: 0 });
    });

    it("never keeps a divert waiting, however many wait", async () => {
      const leaving = Array.from({ length: 200 }, () => new AbortController());
      const waits = Promise.allSettled(
        leaving.map(({ signal }) => client.errors(NAME, "blue", 0, 50, signal)),
      );
      const began = performance.now();
      await client.route(NAME, { split: { blue: 0, green: 0 }, live: null, fence });
      assert.ok(performance.now() - began < 10_000);
      for (const each of leaving) each.abort();
      assert.ok((await waits).every((one) => one.status === "rejected" && one.reason.name === "AbortError"));
    });

    it("goes on with the next supervisor where this one dies", async () => {
      const waits = client.errors(NAME, "blue", 0, 50);
      process.kill((await client.info()).pid, "SIGKILL");
      await until(async () => (await ask("/broken").catch(() => 0)) === 500);
      assert.equal((await waits).errors, 1);
    });

    it("goes on with the next supervisor where this one hands over, and tells at once that its counts fell", async () => {
      await ask("/broken");
      const waits = client.errors(NAME, "blue", 1, 50);
      const other = await stage.connect();
      const { pid } = await other.info();
      await other.stop({ keepReplicas: true });
      assert.deepEqual(await waits, { errors: 0, requests: 0 });
      assert.notEqual((await client.info()).pid, pid);
    });

    it("starts no supervisor where it was told not to, when the one that it waits for ends", async () => {
      const reader = await stage.connect({ start: false });
      const waits = reader.errors(NAME, "blue", 0, 50);
      const refusal = assert.rejects(waits, refused("supervisor-unreachable"));
      const { pid } = await client.info();
      await client.stop();
      await refusal;
      assert.equal(alive(pid), false);
      await assert.rejects(connect(stage.directory, { start: false }), refused("supervisor-unreachable"));
    });

    it("is told at once that the service is gone", async () => {
      // Longer than this test may take.
      const refusal = assert.rejects(client.errors(NAME, "blue", 0, 3000), refused("service-unknown"));
      await client.route(NAME, { split: { blue: 100, green: 0 }, run: null, fence });
      await client.remove(NAME);
      await refusal;
    });

    it("refuses what is no count, no time and no slot", async () => {
      const wrong: [string, number, number][] = [
        ["red", 0, 1],
        ["blue", -1, 1],
        ["blue", Number.NaN, 1],
        ["blue", 0, -1],
        ["blue", 0, Number.NaN],
      ];
      // Many at once, so that a time limit made from such seconds would show.
      const all = Array.from({ length: 40 }, () => wrong).flat();
      await Promise.all(
        all.map(([slot, after, seconds]) =>
          assert.rejects(client.errors(NAME, slot as "blue", after, seconds), refused("request-malformed")),
        ),
      );
      for (const seconds of [-1, Number.NaN])
        await assert.rejects(client.history(NAME, seconds), refused("request-malformed"));
      await assert.rejects(client.errors("cart.test", "blue", 0, 1), refused("service-unknown"));
      await assert.rejects(client.history("cart.test", 1), refused("service-unknown"));
    });
  });

  it("stops the supervisor, and does so again without complaint", async () => {
    const client = await stage.connect();
    const { pid } = await client.info();
    await client.stop();
    assert.equal(alive(pid), false);
    await client.stop();
  });

  it("loads nothing but Node's own modules", () => {
    const seen = new Set(["./client"]);
    for (const name of seen) {
      const text = readFileSync(path.join(LOCAL, `${name}.js`), "utf8");
      for (const [, required = ""] of text.matchAll(/require\("([^"]+)"\)/g)) {
        if (required.startsWith("./")) seen.add(required);
        else assert.match(required, /^node:/);
      }
    }
    assert.deepEqual([...seen].sort(), ["./call", "./client", "./launch"]);
  });

  it("takes a whole state directory down, even where its supervisor was killed", async () => {
    const client = await stage.connect();
    await client.fill("web.test", "blue", await stage.fill("one"), { fence });
    await client.ready("web.test", "blue", 15);
    const { pid } = await client.info();
    process.kill(pid, "SIGKILL");
    await until(() => !alive(pid));
    assert.equal(markedProcesses(`${markOf(stage.directory)}/`).length, 1);
    assert.equal(await down(stage.directory), true);
    assert.deepEqual(markedProcesses(`${markOf(stage.directory)}/`), []);
    assert.equal(await down(stage.directory), false);
    assert.equal(await down(path.join(stage.root, "nowhere")), false);
    await stage.connect();
    assert.equal(await down(stage.directory), true);
  });
});
