import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { Agent, createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import * as path from "node:path";
import { request as send } from "../../../components/local/call";
import type { Client } from "../../../components/local/client";
import { markedProcesses } from "../../../components/local/process";
import type { ServiceStatus } from "../../../components/local/protocol";
import { markOf } from "../../../components/local/state";
import { alive, openStage, type Stage, until } from "./stage";

const NAME = "web.test";
const fence = { run: "run-1", token: 5 };
const GREEN = { blue: 0, green: 100 };
const BLUE = { blue: 100, green: 0 };

const refused = (code: string) => (thrown: unknown) => {
  assert.ok(thrown instanceof Error && "code" in thrown && "hint" in thrown, String(thrown));
  assert.equal(thrown.name, "SluiceError");
  assert.equal(thrown.code, code, thrown.message);
  return true;
};

describe("the supervisor", function () {
  this.timeout(60_000);
  let stage: Stage;
  let client: Client;
  const opened: Stage[] = [];

  async function open(environment: Record<string, string> = {}): Promise<void> {
    stage = openStage(environment);
    opened.push(stage);
    client = await stage.connect();
  }
  /** Fills a slot and waits until it is ready. */
  async function serve(slot: "blue" | "green", tag: string, change = {}): Promise<void> {
    await client.fill(NAME, slot, await stage.fill(tag, change), { fence });
    assert.deepEqual(await client.ready(NAME, slot, 15), { ready: true });
  }
  const status = () => until(() => client.service(NAME));
  const pidsOf = async (slot: "blue" | "green") =>
    (await status()).slots[slot].replicas.map(({ pid }) => pid);
  async function ask(where = "/"): Promise<string> {
    const response = await fetch((await status()).url + where, { headers: { connection: "close" } });
    return response.status === 200 ? response.text() : String(response.status);
  }

  afterEach(async () => {
    for (const each of opened.splice(0)) {
      const mark = markOf(each.directory);
      await each.close();
      assert.deepEqual(markedProcesses(`${mark}/`), [], "replicas are left");
    }
  });

  describe("with a service", () => {
    beforeEach(() => open());

    it("serves what fills a slot once the route points there", async () => {
      await serve("blue", "one");
      assert.equal(await ask(), "503");
      await client.route(NAME, { split: BLUE, live: "blue", fence });
      assert.match(await ask(), /^one \d+$/);
      const seen = await status();
      assert.equal(seen.live, "blue");
      assert.equal(seen.run, "run-1");
      assert.equal(seen.fence, 5);
      assert.equal(seen.slots.blue.state, "ready");
      assert.equal(seen.slots.green.state, "empty");
      assert.deepEqual(
        (await client.services()).map(({ name }) => name),
        [NAME],
      );
      const { metrics } = await client.info();
      assert.match(await (await fetch(metrics)).text(), /service="web.test",slot="blue"/);
      assert.deepEqual(
        (await client.logs(NAME, "blue", 1)).map((line) => line.trim()),
        ["listening one"],
      );
    });

    it("sends no traffic to an empty or unready slot", async () => {
      await serve("blue", "one");
      await client.route(NAME, { split: BLUE, live: "blue", fence });
      await assert.rejects(
        client.route(NAME, { split: { blue: 90, green: 10 }, fence }),
        refused("slot-not-ready"),
      );
      await client.fill(NAME, "green", await stage.fill("two", { arguments: ["node", "deaf.js"] }), {
        fence,
      });
      await assert.rejects(client.route(NAME, { split: GREEN, fence }), refused("slot-not-ready"));
      assert.deepEqual((await status()).split, BLUE);
    });

    it("takes no split that does not sum to 100", async () => {
      await serve("blue", "one");
      await client.route(NAME, { split: BLUE, live: "blue", fence });
      for (const split of [
        { blue: 50, green: 0 },
        { blue: 0, green: 0 },
      ])
        await assert.rejects(client.route(NAME, { split, fence }), refused("split-malformed"));
      await assert.rejects(
        client.route(NAME, { split: { blue: 150, green: -50 }, fence }),
        refused("request-malformed"),
      );
    });

    it("never empties a slot with traffic or the live slot", async () => {
      await serve("blue", "one");
      await serve("green", "two");
      await client.route(NAME, { split: { blue: 90, green: 10 }, live: "blue", fence });
      await assert.rejects(client.fill(NAME, "blue", null, { fence }), refused("slot-is-live"));
      await assert.rejects(client.fill(NAME, "green", null, { fence }), refused("slot-has-traffic"));
      // The same content again is no change.
      const pids = await pidsOf("blue");
      await client.fill(NAME, "blue", await stage.fill("one"), { fence });
      assert.deepEqual(await pidsOf("blue"), pids);
      assert.equal((await ask()).split(" ").length, 2);
    });

    it("lets requests in flight end before it empties a slot", async () => {
      await serve("blue", "one", { arguments: ["node", "rude.js"] });
      await serve("green", "two");
      await client.route(NAME, { split: BLUE, live: "blue", fence });
      const slow = Promise.all([1, 2, 3].map(() => ask("/slow")));
      await until(async () => (await status()).slots.blue.inFlight === 3);
      await client.route(NAME, { split: GREEN, live: "green", fence });
      const pids = await pidsOf("blue");
      const emptied = client.fill(NAME, "blue", null, { fence });
      assert.match(await ask(), /^two/);
      assert.deepEqual(await slow, ["slow one", "slow one", "slow one"]);
      const after = await emptied;
      assert.equal(after.slots.blue.state, "empty");
      assert.equal(after.slots.blue.artifact, undefined);
      assert.equal(pids.some(alive), false);
    });

    it("keeps as many replicas as were asked for, each with a port of its own", async () => {
      await serve("blue", "one", { replicas: 3 });
      await client.route(NAME, { split: BLUE, live: "blue", fence });
      const { replicas } = (await status()).slots.blue;
      assert.equal(new Set(replicas.map(({ port }) => port)).size, 3);
      const [victim] = replicas;
      process.kill(victim?.pid ?? 0, "SIGKILL");
      const again = await until(async () => {
        const { blue } = (await status()).slots;
        return blue.restarts === 1 && blue.ready === 3 && blue;
      });
      assert.equal(again.state, "ready");
      assert.ok(!again.replicas.some(({ pid }) => pid === victim?.pid));
    });

    it("tells at once why a slot is lost", async () => {
      const cases = [
        ["crash-loop", { arguments: ["node", "crash.js"] }],
        ["start-missing", { arguments: ["no-such-command"] }],
        ["secret-missing", { secrets: { TOKEN: "env:SLUICE_TEST_NOWHERE@1" } }],
      ] as const;
      for (const [code, change] of cases) {
        await client.fill(NAME, "blue", await stage.fill(code, change as object), { fence });
        const found = await client.ready(NAME, "blue", 15);
        assert.ok(!found.ready && found.lost);
        assert.equal(found.code, code);
        assert.equal((await status()).slots.blue.state, "failed");
      }
      const missing = { ...(await stage.fill("x")), artifact: `dir:nowhere@sha256:${"0".repeat(64)}` };
      await client.fill(NAME, "blue", missing, { fence });
      const found = await client.ready(NAME, "blue", 15);
      assert.equal(!found.ready && found.code, "artifact-missing");
    });

    it("tells that a slot was not ready in time to whoever waited that long, and not before", async () => {
      await client.fill(
        NAME,
        "blue",
        await stage.fill("one", { arguments: ["node", "deaf.js"], startSeconds: 1 }),
        { fence },
      );
      const early = await client.ready(NAME, "blue", 0);
      assert.equal(!early.ready && early.lost, false);
      const found = await client.ready(NAME, "blue", 1);
      assert.equal(!found.ready && found.lost && found.code, "not-ready");
    });

    it("refuses a port that is taken, and forgets the service it was asked for with it", async () => {
      const other = createServer().listen(0, "127.0.0.1");
      await until(() => other.listening);
      const { port } = other.address() as AddressInfo;
      await assert.rejects(
        client.fill(NAME, "blue", await stage.fill("one"), { fence, port }),
        refused("port-in-use"),
      );
      other.close();
      assert.equal(await client.service(NAME), undefined);
    });

    it("needs no port to run nothing: what a first release leaves that failed for its port", async () => {
      const other = createServer().listen(0, "127.0.0.1");
      await until(() => other.listening);
      const { port } = other.address() as AddressInfo;
      const empty = { split: { blue: 0, green: 0 }, live: null, run: null, fence, port };
      assert.equal((await client.route(NAME, empty)).port, port);
      other.close();
      await client.fill(NAME, "blue", await stage.fill("one"), { fence, port });
      assert.equal((await client.ready(NAME, "blue", 30)).ready, true);
      await client.route(NAME, { split: BLUE, live: "blue", fence, port });
      assert.equal((await status()).port, port);
    });

    it("moves to another port and keeps serving", async () => {
      await serve("blue", "one");
      await client.route(NAME, { split: BLUE, live: "blue", fence });
      const former = (await status()).port;
      const probe = createServer().listen(0, "127.0.0.1");
      await until(() => probe.listening);
      const { port } = probe.address() as AddressInfo;
      await new Promise((resolve) => probe.close(resolve));
      await client.route(NAME, { split: BLUE, fence, port });
      assert.equal((await status()).port, port);
      assert.match(await ask(), /^one/);
      await until(() =>
        fetch(`http://127.0.0.1:${former}/`).then(
          () => false,
          () => true,
        ),
      );
    });

    it("refuses a fence that is older than one it has seen, and the same token from another run", async () => {
      await serve("blue", "one");
      const write = (token: number, run = "run-1") =>
        client.route(NAME, { split: BLUE, live: "blue", fence: { run, token } });
      await assert.rejects(write(4), refused("fenced"));
      await assert.rejects(write(5, "run-2"), refused("fenced"));
      await assert.rejects(
        client.fill(NAME, "green", null, { fence: { run: "run-1", token: 1 } }),
        refused("fenced"),
      );
      await assert.rejects(client.beat(NAME, { run: "run-1", token: 4 }), refused("fenced"));
      await assert.rejects(client.remove(NAME, { fence: { run: "run-1", token: 4 } }), refused("fenced"));
      await write(6, "run-2");
      assert.equal((await status()).run, "run-2");
      await assert.rejects(write(5), refused("fenced"));
    });

    it("lets nobody without a fence change what an open run works on", async () => {
      await serve("blue", "one");
      await client.route(NAME, { split: BLUE, live: "blue", fence });
      const two = await stage.fill("two");
      await assert.rejects(client.fill(NAME, "green", two), refused("run-open"));
      await assert.rejects(client.route(NAME, { split: BLUE, live: "blue", run: null }), refused("run-open"));
      await assert.rejects(client.remove(NAME), refused("run-open"));
      // What changes nothing is nobody's business.
      await client.route(NAME, { split: BLUE, live: "blue" });
      await client.fill(NAME, "blue", await stage.fill("one"));
      // A closed run is not opened again by its own late write, and by hand one may write again.
      await client.route(NAME, { split: BLUE, run: null, fence });
      await client.fill(NAME, "green", null, { fence });
      assert.equal((await status()).run, undefined);
      await client.fill(NAME, "green", two);
      await client.route(NAME, { split: BLUE, run: "run-3", fence: { run: "run-3", token: 7 } });
      await assert.rejects(client.fill(NAME, "green", null), refused("run-open"));
      await client.fill(NAME, "green", null, { force: true });
    });

    it("forgets a service that is removed, with its processes and files", async () => {
      await serve("blue", "one");
      await client.route(NAME, { split: BLUE, live: "blue", run: null, fence });
      const [pid] = await pidsOf("blue");
      await client.remove(NAME);
      assert.equal(await client.service(NAME), undefined);
      assert.equal(alive(pid ?? 0), false);
      for (const folder of ["services", "replicas", "logs", "home"])
        assert.deepEqual(readdirSync(path.join(stage.directory, folder)), []);
      await assert.rejects(client.beat(NAME, fence), refused("service-unknown"));
    });

    it("keeps its files from everybody else", async () => {
      await serve("blue", "one");
      const look = (file: string): void => {
        const stat = statSync(file);
        assert.equal(stat.mode & 0o077, 0, file);
        if (stat.isDirectory()) for (const name of readdirSync(file)) look(path.join(file, name));
      };
      look(stage.directory);
    });

    it("refuses what it does not understand, without echoing it", async () => {
      const fill = await stage.fill("one");
      const strange = {
        ...fill,
        settings: { ...fill.settings, variables: { TOKEN: { s3cret: 1 } } },
      } as unknown as typeof fill;
      await assert.rejects(client.fill(NAME, "blue", strange), (thrown: Error) => {
        assert.ok(!thrown.message.includes("s3cret"));
        return refused("request-malformed")(thrown);
      });
      await assert.rejects(client.fill("../x", "blue", fill), refused("request-malformed"));
      const files = { ...fill, settings: { ...fill.settings, files: { "/a": "0".repeat(64) } } };
      await assert.rejects(client.fill(NAME, "blue", files), refused("files-unsupported"));
    });
  });

  describe("after kill -9", () => {
    const kill = async (): Promise<void> => {
      const { pid } = await client.info();
      process.kill(pid, "SIGKILL");
      await until(() => !alive(pid));
    };

    it("comes back under traffic with the same split and port, and its replicas never notice", async () => {
      await open();
      await serve("blue", "one", { replicas: 2 });
      await serve("green", "two");
      await client.route(NAME, { split: { blue: 60, green: 40 }, live: "blue", fence });
      const before = await status();
      const answers = { ok: 0, bad: 0, lost: 0 };
      let going = true;
      const agent = new Agent({ keepAlive: true });
      const traffic = [1, 2, 3, 4].map(async () => {
        while (going) answers[await once(before.port, agent)]++;
      });
      let after: ServiceStatus;
      try {
        await until(() => answers.ok > 50);
        await kill();
        await until(() => answers.lost > 0);
        after = await status();
        const served = answers.ok;
        await until(() => answers.ok > served + 50);
      } finally {
        going = false;
        await Promise.all(traffic);
        agent.destroy();
      }
      assert.equal(answers.bad, 0, "answered, but not by a replica");
      assert.deepEqual(
        [after.port, after.split, after.live, after.run],
        [before.port, before.split, "blue", "run-1"],
      );
      assert.equal(after.fence, 5);
      for (const slot of ["blue", "green"] as const)
        assert.deepEqual(after.slots[slot].replicas, before.slots[slot].replicas);
      await assert.rejects(
        client.route(NAME, { split: BLUE, fence: { run: "run-0", token: 4 } }),
        refused("fenced"),
      );
    });

    it("starts what died meanwhile, and ends what nobody wants", async () => {
      await open();
      await serve("blue", "one", { replicas: 2 });
      await serve("green", "two");
      const [dead, kept] = await pidsOf("blue");
      const [unwanted] = await pidsOf("green");
      await kill();
      process.kill(dead ?? 0, "SIGKILL");
      await until(() => !alive(dead ?? 0));
      const file = path.join(stage.directory, "services", `${NAME}.json`);
      const kept_ = JSON.parse(readFileSync(file, "utf8"));
      delete kept_.slots.green;
      writeFileSync(file, JSON.stringify(kept_));
      assert.deepEqual(await client.ready(NAME, "blue", 15), { ready: true });
      await until(async () => (await status()).slots.blue.ready === 2);
      const now = await pidsOf("blue");
      assert.ok(now.includes(kept ?? 0) && !now.includes(dead ?? 0));
      await until(() => !alive(unwanted ?? 0));
    });

    it("ends processes whose record was lost, and starts new ones", async () => {
      await open();
      await serve("blue", "one");
      const [former] = await pidsOf("blue");
      await kill();
      writeFileSync(path.join(stage.directory, "replicas", `${NAME}.json`), "torn");
      assert.deepEqual(await client.ready(NAME, "blue", 15), { ready: true });
      assert.notDeepEqual(await pidsOf("blue"), [former]);
      await until(() => !alive(former ?? 0));
    });

    it("goes on emptying a slot that was being emptied", async () => {
      await open({ SLUICE_GRACE_MS: "1500" });
      const stubborn = `process.on("SIGTERM", () => {}); require("./server.js");`;
      await serve("blue", "one", { arguments: ["node", "-e", stubborn] });
      const [pid] = await pidsOf("blue");
      const emptied = client.fill(NAME, "blue", null, { fence }).catch(() => undefined);
      const file = path.join(stage.directory, "services", `${NAME}.json`);
      await until(() => JSON.parse(readFileSync(file, "utf8")).slots.blue === undefined);
      await kill();
      await emptied;
      assert.equal((await status()).slots.blue.state, "empty");
      await until(() => !alive(pid ?? 0));
    });
  });

  describe("asked for the past", () => {
    const past = () => client.history(NAME, 900);
    const kept = (atLeast: number) =>
      until(async () => {
        const all = await past();
        return all.length >= atLeast && all;
      });

    it("gives what its metrics said every now and then, oldest first", async () => {
      await open({ SLUICE_HISTORY_MS: "50" });
      await serve("blue", "one");
      await client.route(NAME, { split: BLUE, live: "blue", fence });
      const begun = await kept(2);
      for (const where of ["/", "/missing", "/"]) await ask(where);
      const all = await until(async () => {
        const seen = await past();
        return seen.at(-1)?.slots.blue?.requests === 3 && seen;
      });
      assert.deepEqual(begun[0]?.slots.blue?.requests, 0);
      all.forEach(({ at, edges, slots }, i) => {
        const before = all[i - 1];
        assert.ok(!before || before.at < at);
        assert.ok((before?.slots.blue?.requests ?? 0) <= (slots.blue?.requests ?? -1));
        assert.equal(slots.blue?.buckets.length, edges.length + 1);
        assert.equal(
          slots.blue?.buckets.reduce((sum, count) => sum + count, 0),
          slots.blue?.requests,
        );
      });
      assert.deepEqual(all.at(-1)?.slots.green?.requests, 0);
      assert.deepEqual(await client.history(NAME, 0), []);
    });

    it("has none of a supervisor that was before it", async () => {
      await open({ SLUICE_HISTORY_MS: "50" });
      await serve("blue", "one");
      await client.route(NAME, { split: BLUE, live: "blue", run: null, fence });
      await ask();
      await kept(3);
      const { pid } = await client.info();
      process.kill(pid, "SIGKILL");
      await until(() => !alive(pid));
      const [first] = await kept(1);
      const { startedAt } = await client.info();
      assert.ok((first?.at ?? 0) >= Date.parse(startedAt));
      assert.equal(first?.slots.blue?.requests, 0);
    });

    it("has none of a service that was removed, nor has the next one of that name", async () => {
      // So long that the service is there again before the next reading.
      await open({ SLUICE_HISTORY_MS: "2000" });
      await serve("blue", "one");
      await client.route(NAME, { split: BLUE, live: "blue", run: null, fence });
      await kept(1);
      await client.remove(NAME);
      await assert.rejects(past(), refused("service-unknown"));
      const removed = Date.now();
      await serve("blue", "two");
      assert.ok((await past()).every(({ at }) => at >= removed));
      assert.ok(((await kept(1))[0]?.at ?? 0) >= removed);
    });
  });

  describe("of a run that fell silent", () => {
    it("gives traffic back to the live slot, and the run may go on", async () => {
      await open({ SLUICE_SILENCE_MS: "800" });
      await serve("blue", "one");
      await client.route(NAME, { split: BLUE, live: "blue", fence });
      await serve("green", "two");
      await client.route(NAME, { split: { blue: 50, green: 50 }, fence });
      const heard = performance.now();
      while (performance.now() - heard < 1600) {
        const { givenBack, split } = await client.beat(NAME, fence);
        assert.deepEqual([givenBack, split.green], [false, 50]);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      const after = await until(async () => {
        const seen = await status();
        return seen.givenBack && seen;
      });
      assert.deepEqual(after.split, BLUE);
      assert.equal(after.run, "run-1");
      const file = path.join(stage.directory, "services", `${NAME}.json`);
      assert.deepEqual(JSON.parse(readFileSync(file, "utf8")).split, BLUE);
      assert.match(
        readFileSync(path.join(stage.directory, "supervisor.log"), "utf8"),
        /traffic given back to blue/,
      );
      const again = await client.route(NAME, { split: { blue: 50, green: 50 }, fence });
      assert.deepEqual([again.givenBack, again.split.green], [false, 50]);
    });

    it("gives traffic to nobody where nothing is live", async () => {
      await open({ SLUICE_SILENCE_MS: "300" });
      await serve("blue", "one");
      await client.route(NAME, { split: BLUE, fence });
      const after = await until(async () => {
        const seen = await status();
        return seen.givenBack && seen;
      });
      assert.deepEqual(after.split, { blue: 0, green: 0 });
    });

    it("gives nothing back once the run is closed, or to a live slot that is not ready", async () => {
      await open({ SLUICE_SILENCE_MS: "300" });
      await serve("blue", "one");
      await client.route(NAME, { split: BLUE, live: "blue", fence });
      await serve("green", "two");
      await client.route(NAME, { split: { blue: 50, green: 50 }, fence, run: null });
      await new Promise((resolve) => setTimeout(resolve, 900));
      assert.equal((await status()).givenBack, false);
      const [pid] = await pidsOf("blue");
      process.kill(pid ?? 0, "SIGSTOP");
      await until(async () => (await status()).slots.blue.state !== "ready");
      await client.route(NAME, { split: { blue: 49, green: 51 }, fence: { run: "run-2", token: 6 } });
      await new Promise((resolve) => setTimeout(resolve, 900));
      assert.equal((await status()).givenBack, false);
      process.kill(pid ?? 0, "SIGCONT");
      await until(async () => (await status()).givenBack);
    });
  });

  describe("that ends", () => {
    it("leaves no process, and starts all again the next time", async () => {
      await open();
      await serve("blue", "one", { replicas: 2 });
      await client.route(NAME, { split: BLUE, live: "blue", run: null, fence });
      const before = await status();
      const { pid } = await client.info();
      await client.stop();
      assert.equal(alive(pid), false);
      assert.deepEqual(markedProcesses(`${markOf(stage.directory)}/`), []);
      client = await stage.connect();
      await client.ready(NAME, "blue", 15);
      const after = await status();
      assert.deepEqual([after.port, after.split, after.live], [before.port, before.split, "blue"]);
      assert.match(await ask(), /^one/);
    });

    it("says so to whoever waits for an error, once its services have ended", async () => {
      await open();
      await serve("blue", "one");
      const agent = new Agent();
      const call = {
        method: "GET" as const,
        path: `/v1/services/${NAME}/errors?slot=blue&after=0&seconds=60`,
        timeoutMs: 50_000,
      };
      const waits = assert.rejects(
        send(readFileSync(path.join(stage.directory, "socket"), "utf8").trim(), agent, call),
        refused("supervisor-stopping"),
      );
      await client.stop();
      await waits;
      agent.destroy();
    });

    it("stops its replicas on SIGTERM", async () => {
      await open();
      await serve("blue", "one");
      const { pid } = await client.info();
      process.kill(pid, "SIGTERM");
      await until(() => !alive(pid));
      assert.deepEqual(markedProcesses(`${markOf(stage.directory)}/`), []);
    });

    it("goes when its state directory is gone", async () => {
      await open();
      await serve("blue", "one");
      const { pid } = await client.info();
      const { rmSync } = await import("node:fs");
      rmSync(stage.directory, { recursive: true });
      await until(() => !alive(pid));
      assert.deepEqual(markedProcesses(`${markOf(stage.directory)}/`), []);
    });
  });
});

/** One request on a kept-alive connection: answered by a replica, answered otherwise, or not at all. */
function once(port: number, agent: Agent): Promise<"ok" | "bad" | "lost"> {
  return new Promise((resolve) => {
    const req = request({ host: "127.0.0.1", port, agent }, (response) => {
      response.resume();
      response.on("close", () => resolve(response.statusCode === 200 ? "ok" : "bad"));
    });
    req.on("error", () => setTimeout(resolve, 5, "lost"));
    req.end();
  });
}
