import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Agent, request } from "node:http";
import * as path from "node:path";
import type { Client } from "../../../components/local/client";
import { markedProcesses } from "../../../components/local/process";
import { markOf } from "../../../components/local/state";
import { alive, openStage, type Stage, until } from "./stage";

const { slot: provider } = require("../../../components/local/resources");

const NAME = "web.test";
const fence = { run: "run-1", token: 5 };
const BLUE = { blue: 100, green: 0 };

describe("a slot that is replaced in place", function () {
  this.timeout(60_000);
  let stage: Stage;
  let client: Client;

  const status = () => until(() => client.service(NAME));
  const blue = async () => (await status()).slots.blue;
  const mark = () => `${markOf(stage.directory)}/`;
  const pids = () =>
    markedProcesses(mark())
      .map(({ pid }) => pid)
      .sort();
  const write = async (tag: string, change = {}) =>
    client.fill(NAME, "blue", await stage.fill(tag, { replicas: 3, ...change }), { fence });
  const kept = () =>
    JSON.parse(readFileSync(path.join(stage.directory, "services", `${NAME}.json`), "utf8")).slots.blue;

  async function open(environment: Record<string, string> = {}, change = {}): Promise<void> {
    stage = openStage(environment);
    client = await stage.connect();
    await write("one", change);
    assert.deepEqual(await client.ready(NAME, "blue", 15), { ready: true });
    await client.route(NAME, { split: BLUE, live: "blue", fence });
  }
  const kill = async (): Promise<void> => {
    const { pid } = await client.info();
    process.kill(pid, "SIGKILL");
    await until(() => !alive(pid));
  };
  const provide = async (tag: string, change = {}): Promise<void> => {
    const fill = await stage.fill(tag, { replicas: 3, ...change });
    const args = { directory: stage.directory, name: NAME, port: 0, slot: "blue", fill, force: true };
    await provider.update("web.test/blue", {}, args);
  };

  afterEach(async () => {
    await stage.close();
    assert.deepEqual(markedProcesses(mark()), [], "replicas are left");
  });

  it("fails no request, on kept-alive and on new connections, and never has fewer ready replicas than wanted", async () => {
    await open();
    const load = await startLoad((await status()).port);
    let fewest = 3;
    let starting = 0;
    const watch = setInterval(async () => {
      const { ready, replicas, former = [] } = await blue();
      if (former.length > 0) starting = Math.max(starting, replicas.length - ready);
      fewest = Math.min(fewest, ready + former.reduce((sum, each) => sum + each.ready, 0));
    }, 10);
    await until(() => load.answers.ok > 50);
    await provide("two");
    clearInterval(watch);
    const now = await blue();
    const served = load.answers.ok;
    await until(() => load.answers.ok > served + 50);
    await load.stop();
    assert.deepEqual(load.failures, []);
    assert.equal(fewest, 3);
    assert.equal(starting, 1, "the new ones start one after the other");
    assert.deepEqual([now.state, now.ready, now.former], ["ready", 3, undefined]);
    assert.match(load.last(), /^two /);
    assert.equal(pids().length, 3);
    await until(() => kept().settled && kept().former === undefined);
  });

  it("is not ready while an old replica is left, and tells both contents", async () => {
    // These end at once when they are told to.
    await open({ SLUICE_DRAIN_MS: "20000" }, { arguments: ["node", "rude.js"] });
    const { url } = await status();
    const before = await blue();
    // One request on each replica holds it back.
    const hold = new AbortController();
    const held = Promise.all([1, 2, 3].map(() => fetch(`${url}/never`, { signal: hold.signal })));
    await until(async () => (await blue()).inFlight === 3);
    await write("two");
    const seen = await until(async () => {
      const now = await blue();
      return now.ready === 3 && now;
    });
    assert.equal(seen.state, "starting");
    assert.deepEqual(seen.former, [{ artifact: before.artifact, hash: before.hash, ready: 0, left: 3 }]);
    const readiness = await client.ready(NAME, "blue", 0);
    assert.deepEqual(readiness, {
      ready: false,
      lost: false,
      code: "rolling",
      reason: "3 of 3 replicas are ready, and 3 of the former content are left.",
    });
    await held;
    hold.abort();
    await until(async () => (await client.ready(NAME, "blue", 15)).ready);
  });

  it("cuts what is in flight longer than the drain's deadline, and is waited for that long", async () => {
    // Longer than the wait for a start of 1 s.
    await open({ SLUICE_DRAIN_MS: "4500", SLUICE_GRACE_MS: "300" });
    const { port } = await status();
    const held = get(port, "/never").catch(() => "cut");
    await until(async () => (await blue()).inFlight === 1);
    const began = performance.now();
    await provide("two", { startSeconds: 1 });
    assert.match(await held, /cut|502/);
    const took = performance.now() - began;
    assert.ok(took >= 4500 && took < 9000, `${took} ms`);
    assert.match(
      readFileSync(path.join(stage.directory, "supervisor.log"), "utf8"),
      /at the drain's deadline/,
    );
  });

  for (const [code, change] of [
    ["crash-loop", { arguments: ["node", "crash.js"] }],
    ["not-ready", { arguments: ["node", "deaf.js"], startSeconds: 1 }],
    ["health-path", { health: "/missing", startSeconds: 1 }],
    ["start-missing", { arguments: ["no-such-command"] }],
  ] as const)
    it(`goes on serving what it was where the new content fails (${code}), and comes back to it`, async () => {
      await open();
      const before = await blue();
      const load = await startLoad((await status()).port);
      await assert.rejects(provide("two", change), (thrown: Error) => {
        assert.match(thrown.message, new RegExp(`^${code}: Slot blue of web.test does not serve`));
        assert.match(thrown.message, /3 former replicas go on serving/);
        if (code === "crash-loop") assert.match(thrown.message, /cannot go on/);
        return true;
      });
      const failed = await blue();
      assert.deepEqual([failed.state, failed.failure?.code, failed.ready], ["failed", code, 0]);
      assert.deepEqual(
        failed.former?.map(({ ready }) => ready),
        [3],
      );
      await provide("one");
      const after = await blue();
      const served = load.answers.ok;
      await until(() => load.answers.ok > served + 20);
      await load.stop();
      assert.deepEqual(load.failures, []);
      assert.deepEqual([after.state, after.replicas], ["ready", before.replicas]);
      assert.match(load.last(), /^one /);
    });

  it("comes back to what it was from half way, keeping what still runs of it", async () => {
    await open();
    const before = new Set((await blue()).replicas.map(({ pid }) => pid));
    const load = await startLoad((await status()).port);
    await write("two", { variables: { DELAY: "400" } });
    await until(async () => (await blue()).ready === 2);
    await provide("one");
    const after = await blue();
    await load.stop();
    assert.deepEqual(load.failures, []);
    assert.deepEqual([after.state, after.ready, after.former], ["ready", 3, undefined]);
    assert.ok(after.replicas.some(({ pid }) => before.has(pid)));
    assert.equal(pids().length, 3);
  });

  it("comes back at once to replicas that were on their way out", async () => {
    await open({ SLUICE_DRAIN_MS: "20000" });
    const { port, url } = await status();
    const before = await blue();
    const hold = new AbortController();
    const held = [1, 2, 3].map(() => fetch(`${url}/never`, { signal: hold.signal }));
    await until(async () => (await blue()).inFlight === 3);
    await write("two");
    await until(async () => (await blue()).former?.[0]?.ready === 0);
    await provide("one");
    assert.deepEqual((await blue()).replicas, before.replicas);
    await Promise.all(held);
    hold.abort();
    await until(async () => (await blue()).inFlight === 0);
    for (let i = 0; i < 50; i++) assert.match(await get(port, "/"), /^one /);
    assert.deepEqual((await blue()).replicas, before.replicas);
  });

  it("keeps all of what it was where fewer new ones are wanted and none comes up", async () => {
    await open();
    await write("two", { arguments: ["node", "crash.js"], replicas: 1 });
    const failed = await until(async () => {
      const now = await blue();
      return now.state === "failed" && now;
    });
    assert.equal(failed.former?.[0]?.ready, 3);
  });

  it("ends as wanted where the supervisor is killed half way, with nothing left over", async () => {
    await open();
    await write("two", { variables: { DELAY: "300" } });
    await until(async () => (await blue()).ready === 1);
    await until(() => kept().former?.[0].replicas === 2);
    await kill();
    await blue();
    const log = readFileSync(path.join(stage.directory, "supervisor.log"), "utf8");
    assert.match(log, /1 services, [345] replicas taken over/);
    await until(async () => (await client.ready(NAME, "blue", 15)).ready);
    await until(() => pids().length === 3);
    assert.deepEqual(pids(), (await blue()).replicas.map(({ pid }) => pid).sort());
    assert.match(await get((await status()).port, "/"), /^two /);
  });

  it("serves what it was where supervisor and all replicas died while the new content failed", async () => {
    await open();
    await write("two", { arguments: ["node", "crash.js"] });
    await until(async () => (await blue()).state === "failed");
    await kill();
    for (const pid of pids()) process.kill(pid, "SIGKILL");
    await until(async () => (await blue()).former?.[0]?.ready === 3);
    assert.match(await get((await status()).port, "/"), /^one /);
    await provide("one");
    assert.equal((await blue()).state, "ready");
  });

  it("takes other content half way to other content, and other numbers of replicas", async () => {
    await open();
    const load = await startLoad((await status()).port);
    await write("two", { variables: { DELAY: "300" } });
    await until(async () => (await blue()).ready === 1);
    await provide("three", { replicas: 2 });
    assert.equal(pids().length, 2);
    await provide("four", { replicas: 4 });
    const { state, ready, former } = await blue();
    await load.stop();
    assert.deepEqual(load.failures, []);
    assert.deepEqual([state, ready, former], ["ready", 4, undefined]);
    assert.equal(pids().length, 4);
  });
});

/** One request; the body, or the status where that is not 200. */
function get(port: number, where: string, agent: Agent | false = false): Promise<string> {
  return new Promise((resolve, reject) => {
    const req = request({ host: "127.0.0.1", port, path: where, agent }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk) => (text += chunk));
      response.on("end", () =>
        resolve(response.statusCode === 200 ? text : `${response.statusCode} ${text}`),
      );
      response.on("error", reject);
    });
    req.on("error", reject);
    req.end();
  });
}

/** Asks without a pause, half on kept-alive connections, half on new ones. */
async function startLoad(port: number) {
  const answers = { ok: 0 };
  const failures: string[] = [];
  let last = "";
  let going = true;
  const agent = new Agent({ keepAlive: true });
  const workers = [agent, agent, false as const, false as const].map(async (each) => {
    while (going) {
      const text = await get(port, "/", each).catch(String);
      if (/^\w+ \d+$/.test(text) && !/^5/.test(text)) {
        answers.ok++;
        last = text;
      } else failures.push(text);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  });
  const stop = async (): Promise<void> => {
    going = false;
    await Promise.all(workers);
    agent.destroy();
  };
  return { answers, failures, last: () => last, stop };
}
