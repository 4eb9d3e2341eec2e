import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import * as path from "node:path";
import type { Client } from "../../../components/local/client";
import { alive, openStage, type Stage, until } from "./stage";

const { slot: provider } = require("../../../components/local/resources");

const NAME = "web.test";
const SECRET = "hunter/22+hunter 22";
const KEY = "-----BEGIN KEY-----\nline-of-a-key\n-----END KEY-----";
/** Says its secrets in many ways, then crashes or, as RUN tells it, serves. */
const TALKER = `
const { TOKEN, KEY } = process.env;
for (const said of [TOKEN, Buffer.from("ada:" + TOKEN).toString("base64"), encodeURIComponent(TOKEN), KEY])
  console.log("said", said);
if (process.env.RUN) require("./server.js");
else process.exit(3);`;
const HIDDEN = [SECRET, encodeURIComponent(SECRET), "line-of-a-key", "hunter"].concat(
  // Base64 of the secret's bytes from the third on: in what was said they stand at such a place.
  Buffer.from(SECRET.slice(2, 17)).toString("base64"),
);

describe("a service's secrets", function () {
  this.timeout(60_000);
  let stage: Stage;
  let client: Client;

  const fill = (tag: string, variables: Record<string, string> = {}) =>
    stage.fill(tag, {
      arguments: ["node", "-e", TALKER],
      variables,
      secrets: { KEY: "env:SLUICE_TEST_KEY@1", TOKEN: "env:SLUICE_TEST_TOKEN@1" },
    });
  const hidden = (what: string, text: string): void => {
    for (const secret of HIDDEN) assert.ok(!text.includes(secret), `${what} holds ${secret}:\n${text}`);
    assert.match(text, /said \*\*\*/, what);
  };
  const kill = async (): Promise<void> => {
    const { pid } = await client.info();
    process.kill(pid, "SIGKILL");
    await until(() => !alive(pid));
  };
  const log = () => readFileSync(path.join(stage.directory, "logs", NAME, "blue.log"), "utf8");

  beforeEach(async () => {
    stage = openStage({ SLUICE_TEST_TOKEN: SECRET, SLUICE_TEST_KEY: KEY });
    client = await stage.connect();
  });
  afterEach(() => stage.close());

  it("leave in no form with what the service printed before it crashed", async () => {
    await client.fill(NAME, "blue", await fill("one"));
    const readiness = await client.ready(NAME, "blue", 15);
    assert.ok(!readiness.ready);
    assert.equal(readiness.code, "crash-loop");
    hidden("ready", readiness.logs ?? "");
    hidden("logs", (await client.logs(NAME, "blue", 50)).join("\n"));
    hidden("status", JSON.stringify(await client.service(NAME)));
  });

  it("leave neither in a reason nor in the supervisor's own log", async () => {
    const said = `console.error("EADDRINUSE: " + process.env.TOKEN); process.exit(1)`;
    const given = await stage.fill("one", {
      arguments: ["node", "-e", said],
      secrets: { TOKEN: "env:SLUICE_TEST_TOKEN@1" },
    });
    await client.fill(NAME, "blue", given);
    const readiness = await client.ready(NAME, "blue", 15);
    assert.ok(!readiness.ready);
    assert.equal(readiness.reason, "It could not listen: EADDRINUSE: ***");
    const own = readFileSync(path.join(stage.directory, "supervisor.log"), "utf8");
    assert.match(own, /EADDRINUSE: \*\*\*/);
    assert.ok(!own.includes("hunter"));
  });

  it("are not in the provider's message, so not in Pulumi's state", async () => {
    const args = { directory: stage.directory, name: NAME, port: 0, slot: "blue", fill: await fill("one") };
    await assert.rejects(provider.create(args), (thrown: Error & { reasons: string[] }) => {
      hidden("message", thrown.message);
      hidden("reasons", thrown.reasons.join("\n"));
      return true;
    });
  });

  it("stay hidden after kill -9, be the next supervisor given them, others or none", async () => {
    await client.fill(NAME, "blue", await fill("one", { RUN: "1" }));
    assert.deepEqual(await client.ready(NAME, "blue", 15), { ready: true });
    const pids = async () => (await client.service(NAME))?.slots.blue.replicas.map(({ pid }) => pid);
    const before = await pids();
    hidden("logs", (await client.logs(NAME, "blue", 50)).join("\n"));
    for (const now of [SECRET, "rotated", undefined]) {
      await kill();
      if (now === undefined) delete process.env.SLUICE_TEST_TOKEN;
      else process.env.SLUICE_TEST_TOKEN = now;
      hidden(`logs with ${now}`, (await client.logs(NAME, "blue", 50)).join("\n"));
    }
    assert.deepEqual(await pids(), before, "they were to be taken over");
  });

  it("stay hidden where what printed them died with its supervisor", async () => {
    await client.fill(NAME, "blue", await fill("one"));
    await client.ready(NAME, "blue", 15);
    await kill();
    // One of them is gone, the other is masked all the same.
    delete process.env.SLUICE_TEST_KEY;
    const logs = (await client.logs(NAME, "blue", 50)).join("\n");
    assert.ok(!logs.includes("hunter"), logs);
  });

  it("stay hidden where what was taken over has them in its environment no more", async () => {
    const given = await stage.fill("one", {
      arguments: ["sh", "-c", `echo "said $TOKEN"; exec env -u TOKEN node server.js`],
      secrets: { TOKEN: "env:SLUICE_TEST_TOKEN@1" },
    });
    await client.fill(NAME, "blue", given);
    assert.deepEqual(await client.ready(NAME, "blue", 15), { ready: true });
    await kill();
    hidden("logs", (await client.logs(NAME, "blue", 50)).join("\n"));
  });

  it("are masked on disk once their slot is empty, so that they stay hidden when nobody declares them", async () => {
    await client.fill(NAME, "blue", await fill("one", { RUN: "1" }));
    await client.ready(NAME, "blue", 15);
    assert.ok(log().includes(SECRET));
    await client.fill(NAME, "blue", null);
    hidden("the log", log());
    await kill();
    hidden("logs", (await client.logs(NAME, "blue", 50)).join("\n"));
  });

  it("are on no disk once the supervisor has ended, and no file of its own ever holds one", async () => {
    await client.fill(NAME, "blue", await fill("one", { RUN: "1" }));
    await client.ready(NAME, "blue", 15);
    for (const file of [`services/${NAME}.json`, `replicas/${NAME}.json`, "supervisor.log"])
      assert.ok(!readFileSync(path.join(stage.directory, file), "utf8").includes("hunter"), file);
    await client.stop();
    hidden("the log", log());
  });
});
