import assert from "node:assert/strict";
import type { Client } from "../../../components/local/client";
import { ask, dial, tidy } from "./rig";
import { openStage, type Stage } from "./stage";

const { route } = require("../../../components/local/resources");

const NAME = "web.test";
const SHAKE = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";

describe("a service's options", function () {
  this.timeout(60_000);
  let stage: Stage;
  let client: Client;
  let port: number;
  const split = { blue: 100, green: 0 };

  beforeEach(async () => {
    stage = openStage();
    client = await stage.connect();
    for (const slot of ["blue", "green"] as const) {
      await client.fill(
        NAME,
        slot,
        await stage.fill(slot, slot === "blue" ? {} : { arguments: ["node", "-e", PEER] }),
      );
      assert.deepEqual(await client.ready(NAME, slot, 15), { ready: true });
    }
    ({ port } = await client.route(NAME, { split, live: "blue" }));
  });
  afterEach(async () => {
    await tidy();
    await stage.close();
  });

  it("come with the route, stay when others write it, are back after a kill, and go when they are taken out", async () => {
    const match = { header: "x-smoke", value: "yes" };
    const args = { directory: stage.directory, name: NAME, port, split, live: "blue", run: null };
    const state = { ...args, options: { match, sticky: true } };
    const smoke = async (): Promise<unknown> =>
      (await ask(port, { headers: { "x-smoke": "yes" } })).headers["x-sluice-slot"];
    assert.equal(await smoke(), "blue");
    assert.deepEqual((await route.diff("a", args, state)).changes, true);
    await route.update("a", args, state);
    assert.equal(await smoke(), "green");
    assert.deepEqual((await route.read("a", state)).props, state);
    assert.deepEqual((await route.diff("a", state, structuredClone(state))).changes, false);
    // A driver that diverts says nothing of them.
    await client.route(NAME, { split, live: "blue" });
    assert.equal(await smoke(), "green");
    process.kill((await client.info()).pid, "SIGKILL");
    await client.info();
    assert.deepEqual((await client.service(NAME))?.options, state.options);
    await route.update("a", state, args);
    assert.deepEqual((await route.read("a", state)).props, args);
    assert.equal((await client.service(NAME))?.options, undefined);
    await assert.rejects(client.route(NAME, { split, live: "blue", options: { limits: { requests: -1 } } }), {
      code: "request-malformed",
    });
  });

  it("say how long a WebSocket and a stream may stay on a slot that is emptied", async () => {
    const options = { limits: { drainSeconds: 0.3 } };
    await client.route(NAME, { split: { blue: 0, green: 100 }, live: "blue", options });
    const { ended, hears } = await dial(port, SHAKE);
    await hears("101 Yes");
    const stream = await dial(port, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    await stream.hears("some");
    assert.equal((await client.service(NAME))?.slots.green.inFlight, 2);
    await client.route(NAME, { split, live: "blue" });
    const began = performance.now();
    await client.fill(NAME, "green", null);
    const took = performance.now() - began;
    await ended;
    assert.doesNotMatch(await stream.ended, /\r\n0\r\n/);
    assert.ok(took > 250 && took < 5000, `${took} ms`);
  });
});

/** Takes a WebSocket and a request for a stream, and ends neither. */
const PEER = `
require("http").createServer((request, response) => {
  if (request.url === "/stream") response.write("some");
  else response.end("ok");
}).on("upgrade", (_request, socket) => {
  socket.on("error", () => undefined).write("HTTP/1.1 101 Yes\\r\\nUpgrade: websocket\\r\\nConnection: upgrade\\r\\n\\r\\n");
}).listen(process.env.PORT, "127.0.0.1");
process.on("SIGTERM", () => process.exit(0));
`;
