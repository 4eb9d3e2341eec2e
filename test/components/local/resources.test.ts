import assert from "node:assert/strict";
import { existsSync, readFileSync, renameSync } from "node:fs";
import * as path from "node:path";
import type { Client } from "../../../components/local/client";
import { alive, openStage, type Stage, until } from "./stage";

const { slot, route } = require("../../../components/local/resources");

const NAME = "web.test";

describe("what the provider reads", function () {
  this.timeout(60_000);
  let stage: Stage;
  let client: Client;
  let slotState: object;
  let routeState: object;

  beforeEach(async () => {
    stage = openStage();
    client = await stage.connect();
    const service = { directory: stage.directory, name: NAME };
    const fill = await stage.fill("one");
    await client.fill(NAME, "blue", fill);
    await client.ready(NAME, "blue", 15);
    const { port } = await client.route(NAME, {
      split: { blue: 100, green: 0 },
      live: "blue",
      run: "run-1",
      fence: { run: "run-1", token: 1 },
    });
    slotState = { ...service, port, slot: "blue", fill };
    routeState = { ...service, port, split: { blue: 100, green: 0 }, live: "blue", run: "run-1" };
  });
  afterEach(() => stage.close());

  const read = async () => ({
    slot: (await slot.read("a", slotState)).props,
    route: (await route.read("b", routeState)).props,
  });
  const end = async (): Promise<void> => {
    const { pid } = await client.info();
    process.kill(pid, "SIGKILL");
    await until(() => !alive(pid));
  };

  it("is the same while the supervisor runs and after it was killed, and nothing is started for it", async () => {
    const running = await read();
    assert.deepEqual(running, { slot: slotState, route: routeState });
    await end();
    assert.deepEqual(await read(), running);
    await assert.rejects(stage.connect({ start: false }), { code: "supervisor-unreachable" });
  });

  it("is what others filled in, be the supervisor there or not", async () => {
    await client.fill(NAME, "green", await stage.fill("two"), { fence: { run: "run-1", token: 1 } });
    const { artifact, hash } = await stage.fill("two");
    const green = { ...slotState, slot: "green" };
    assert.deepEqual((await slot.read("a", green)).props.fill, { artifact, hash });
    await end();
    const { fill } = (await slot.read("a", green)).props;
    assert.deepEqual(fill, { artifact, hash });
  });

  it("is nothing in a directory that was moved away, which is not made again", async () => {
    const { pid } = await client.info();
    renameSync(stage.directory, path.join(stage.root, "moved"));
    // Also while its former supervisor has not noticed yet.
    const seen = await read();
    assert.equal(seen.slot.fill, null);
    assert.deepEqual(seen.route.split, { blue: 0, green: 0 });
    assert.deepEqual([seen.route.live, seen.route.run], [null, null]);
    await route.delete("b", routeState);
    assert.ok(!existsSync(stage.directory));
    await until(() => !alive(pid));
    assert.deepEqual(await read(), seen);
    assert.ok(!existsSync(stage.directory));
  });

  it("is nothing in a directory that somebody made again, and no supervisor begins there", async () => {
    const { pid } = await client.info();
    renameSync(stage.directory, path.join(stage.root, "moved"));
    await until(() => !alive(pid));
    const { mkdirSync, readdirSync } = await import("node:fs");
    mkdirSync(stage.directory);
    assert.equal((await read()).slot.fill, null);
    assert.deepEqual(readdirSync(stage.directory), []);
    assert.ok(readFileSync(path.join(stage.root, "moved", "services", `${NAME}.json`), "utf8"));
  });
});
