import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import * as path from "node:path";
import type { Surroundings } from "../../../components/local/around";
import type { Client } from "../../../components/local/client";
import { MAX_LOG_BYTES } from "../../../components/local/logs";
import { createMetrics } from "../../../components/local/metrics";
import { markedProcesses } from "../../../components/local/process";
import { fresh } from "../../../components/local/rules";
import { createService } from "../../../components/local/service";
import { markOf, openStore } from "../../../components/local/state";
import { alive, openStage, type Stage, until } from "./stage";

const NAME = "web.test";
const fence = { run: "run-1", token: 5 };
const BLUE = { blue: 100, green: 0 };
const HALF = { blue: 50, green: 50 };

describe("the supervisor at its worst", function () {
  this.timeout(60_000);
  let stage: Stage;
  let client: Client;
  let unmount = (): void => undefined;

  const status = () => until(() => client.service(NAME));
  const ask = async (where = "/"): Promise<string> => {
    const response = await fetch((await status()).url + where, { headers: { connection: "close" } });
    return response.status === 200 ? response.text() : String(response.status);
  };
  async function serve(slot: "blue" | "green", tag: string, change = {}): Promise<void> {
    await client.fill(NAME, slot, await stage.fill(tag, change), { fence });
    assert.deepEqual(await client.ready(NAME, slot, 15), { ready: true });
  }
  /** Both slots serve half of the traffic each. */
  async function halves(): Promise<void> {
    await serve("blue", "one");
    await serve("green", "two");
    await client.route(NAME, { split: HALF, live: "blue", fence });
  }
  const kept = () => JSON.parse(readFileSync(path.join(stage.directory, "services", `${NAME}.json`), "utf8"));
  const said = () => readFileSync(path.join(stage.directory, "supervisor.log"), "utf8");

  afterEach(async () => {
    const mark = markOf(stage.directory);
    const running = await stage.connect({ start: false }).catch(() => undefined);
    await running?.stop();
    unmount();
    unmount = () => undefined;
    await stage.close();
    assert.deepEqual(markedProcesses(`${mark}/`), [], "replicas are left");
  });

  describe("on a disk of its own", () => {
    beforeEach(async function () {
      stage = openStage({ SLUICE_SILENCE_MS: "20000" });
      mkdirSync(stage.directory, { mode: 0o700 });
      try {
        execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", stage.directory], {
          stdio: "ignore",
        });
      } catch {
        // Only root may mount.
        return this.skip();
      }
      unmount = () => void execFileSync("umount", ["-l", stage.directory]);
      client = await stage.connect();
    });
    const ballast = () => path.join(stage.directory, "ballast");
    const fill = (): void => {
      const full = (fd: number, bytes: number): boolean => {
        try {
          writeSync(fd, Buffer.alloc(bytes, "\n"));
          return false;
        } catch {
          return true;
        }
      };
      // The last page of the supervisor's own log too.
      for (const [file, bytes] of [
        [ballast(), 4096],
        [path.join(stage.directory, "supervisor.log"), 1],
      ] as const) {
        const fd = openSync(file, "a");
        while (!full(fd, bytes));
        closeSync(fd);
      }
    };

    it("takes traffic home although it can't be written down, refuses all else, and writes it down later", async () => {
      await halves();
      fill();
      const home = await client.route(NAME, { split: BLUE, live: "blue", fence });
      assert.deepEqual([home.split, home.unsaved], [BLUE, true]);
      for (let i = 0; i < 20; i++) assert.match(await ask(), /^one /);
      assert.deepEqual(kept().split, HALF);
      const full = { code: "state-unwritable" };
      await assert.rejects(client.route(NAME, { split: HALF, fence }), full);
      await assert.rejects(client.fill(NAME, "green", null, { fence }), full);
      await assert.rejects(client.fill(NAME, "green", await stage.fill("three"), { fence }), full);
      assert.deepEqual((await status()).split, BLUE);
      // Whoever takes the run over is heard, and fences the one before.
      const newer = { run: "run-1", token: 6 };
      await client.route(NAME, { split: BLUE, live: "blue", fence: newer });
      await assert.rejects(client.route(NAME, { split: HALF, fence }), { code: "fenced" });
      rmSync(ballast());
      await until(async () => !(await status()).unsaved);
      assert.deepEqual([kept().split, kept().fence], [BLUE, 6]);
      assert.match(said(), /its state is on disk again/);
    });

    it("comes back on a full disk after kill -9 and takes its replicas over", async () => {
      await halves();
      const before = (await status()).slots.blue.replicas;
      fill();
      const { pid } = await client.info();
      process.kill(pid, "SIGKILL");
      await until(() => !alive(pid));
      const after = await status();
      assert.deepEqual([after.slots.blue.replicas, after.split], [before, HALF]);
      await client.route(NAME, { split: BLUE, live: "blue", fence });
      assert.match(await ask(), /^one /);
    });

    it("goes on on a read-only disk: requests, the way home, and replicas that end", async () => {
      await halves();
      // A whole file system can't be made read-only under those who write to it; what they open anew can.
      const folders = ["services", "replicas", "logs", "home"].map((one) => path.join(stage.directory, one));
      for (const folder of folders) {
        execFileSync("mount", ["--bind", folder, folder]);
        execFileSync("mount", ["-o", "remount,bind,ro", folder]);
      }
      await client.route(NAME, { split: BLUE, live: "blue", fence });
      const victim = (await status()).slots.blue.replicas[0]?.pid ?? 0;
      process.kill(victim, "SIGKILL");
      const again = await until(async () => {
        const { ready, replicas } = (await status()).slots.blue;
        return ready === 1 && replicas[0]?.pid !== victim && replicas[0];
      });
      assert.equal(await ask(), `one ${again.pid}`);
      assert.match(said(), /what it prints is lost, .*EROFS/);
      for (const folder of folders) execFileSync("umount", ["-l", folder]);
      await until(async () => !(await status()).unsaved);
      assert.deepEqual(kept().split, BLUE);
    });
  });

  it("stays bounded and quick while a service floods its log, be there lines or none", async () => {
    stage = openStage();
    client = await stage.connect();
    const flood = (end: string) =>
      `const text = Buffer.from("\\0\\x1b[31m" + "x".repeat(1 << 18) + ${JSON.stringify(end)});
       setInterval(() => require("node:fs").writeSync(1, text), 20); require("./server.js");`;
    for (const [slot, end] of [
      ["blue", ""],
      ["green", "\n"],
    ] as const)
      await serve(slot, slot, { arguments: ["node", "-e", flood(end)] });
    await client.route(NAME, { split: HALF, live: "blue", fence });
    const log = (slot: string) => path.join(stage.directory, "logs", NAME, `${slot}.log`);
    const { pid } = await client.info();
    await until(async () => {
      const began = performance.now();
      assert.match(await ask(), /^(blue|green) \d+$/);
      assert.ok(performance.now() - began < 3000);
      for (const slot of ["blue", "green"] as const) {
        const lines = await client.logs(NAME, slot, 10_000);
        assert.ok(lines.join("\n").length < 300_000);
        // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
        assert.doesNotMatch(lines.join(""), /[\u0000\u001b]/);
      }
      return ["blue", "green"].every((slot) => existsSync(`${log(slot)}.1`));
    }, 30_000);
    for (const file of [log("blue"), `${log("blue")}.1`, log("green"), `${log("green")}.1`])
      assert.ok(statSync(file).size < 4 * MAX_LOG_BYTES, file);
    const resident = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
    assert.ok(resident < 300 * 1024, `${resident} KiB resident`);
  });

  it("bears spaces and unicode in every path", async () => {
    stage = openStage({}, "sluice stäge 船 ' \" $HOME ");
    client = await stage.connect();
    await halves();
    assert.match(await ask(), /^(one|two) \d+$/);
    assert.deepEqual(await client.logs(NAME, "blue", 1), ["listening one"]);
    const { pid } = await client.info();
    process.kill(pid, "SIGKILL");
    await until(() => !alive(pid));
    assert.match(await ask(), /^(one|two) \d+$/);
    const { HOME } = JSON.parse(await ask("/env"));
    assert.equal(HOME, path.join(stage.directory, "home", NAME));
  });

  for (const home of [undefined, "/nowhere/at/all"])
    it(`needs no HOME of its own (${home ?? "none"})`, async () => {
      const former = process.env.HOME;
      delete process.env.HOME;
      if (home) process.env.HOME = home;
      try {
        stage = openStage();
        client = await stage.connect();
        await halves();
        assert.match(await ask(), /^(one|two) \d+$/);
      } finally {
        process.env.HOME = former;
      }
    });

  it("ends what forks and ignores SIGTERM after its grace, and empties the slot in that time", async () => {
    stage = openStage({ SLUICE_GRACE_MS: "500" });
    client = await stage.connect();
    const family = `const { spawn } = require("node:child_process");
      spawn("node", ["stubborn.js"], { stdio: "ignore" });
      spawn("node", ["stubborn.js"], { stdio: "ignore", detached: true });
      process.on("SIGTERM", () => {}); require("./server.js");`;
    await serve("blue", "one", { arguments: ["node", "-e", family] });
    const mark = `${markOf(stage.directory)}/`;
    await until(() => markedProcesses(mark).length === 3);
    const began = performance.now();
    await client.fill(NAME, "blue", null, { fence });
    const took = performance.now() - began;
    assert.ok(took >= 500 && took < 2500, `${took} ms`);
    assert.deepEqual(markedProcesses(mark), []);
    assert.match(said(), /web\.test blue: replica \d+ went on after SIGTERM; SIGKILL ended it after 500 ms/);
  });

  it("empties a slot although requests on it never end: they are cut at the drain's deadline", async () => {
    stage = openStage({ SLUICE_DRAIN_MS: "400", SLUICE_GRACE_MS: "400" });
    client = await stage.connect();
    await halves();
    const { url } = await client.route(NAME, { split: { blue: 0, green: 100 }, live: "green", fence });
    await client.route(NAME, { split: BLUE, live: "blue", fence });
    const held = await fetch(`${url}/never`);
    const text = held.text().catch(() => "cut");
    await until(async () => (await status()).slots.blue.inFlight === 1);
    await client.route(NAME, { split: { blue: 0, green: 100 }, live: "green", fence });
    const began = performance.now();
    const { slots } = await client.fill(NAME, "blue", null, { fence });
    const took = performance.now() - began;
    assert.ok(took >= 400 && took < 2500, `${took} ms`);
    assert.deepEqual([slots.blue.state, slots.blue.inFlight], ["empty", 0]);
    assert.equal(await text, "cut");
  });
});

describe("a clock that jumps", () => {
  const now = Date.now;
  afterEach(() => {
    Date.now = now;
  });

  it("gives no traffic back early, and does not hold it back", async () => {
    const directory = mkdtempSync(path.join(tmpdir(), "sluice-clock-"));
    const store = openStore(directory);
    const timing = { silenceMs: 700, drainMs: 100, graceMs: 100 };
    const log = (): void => undefined;
    const around: Surroundings = { store, mark: "x", metrics: createMetrics(), timing, log };
    const service = await createService({ ...fresh(NAME), split: HALF, run: "run-1" }, [], around);
    try {
      for (const days of [1, -1, 0]) {
        Date.now = () => now() + days * 86_400_000;
        await service.tick();
        assert.equal(service.status().givenBack, false, `${days} days`);
      }
      Date.now = () => now() - 86_400_000;
      await until(async () => {
        await service.tick();
        return service.status().givenBack;
      });
    } finally {
      await service.close(false);
      rmSync(directory, { recursive: true });
    }
  });
});
