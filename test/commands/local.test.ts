import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import * as path from "node:path";
import { local } from "../../automation/commands/local";
import type { Client } from "../../components/local/client";
import { connect } from "../../components/local/client";
import { stateDirectory } from "../../components/local/release";

const wrongUse = (about: RegExp) => ({ code: "wrong-use", message: about });

describe("local", function () {
  this.timeout(60_000);
  let root = "";
  let client: Client | undefined;

  beforeEach(() => {
    root = mkdtempSync(path.join(tmpdir(), "sluice-local-"));
    client = undefined;
  });
  afterEach(async () => {
    await client?.stop();
    rmSync(root, { recursive: true });
  });
  const run = (words: string, lines?: number, json?: boolean) =>
    local(words === "" ? [] : words.split(" "), { root }, lines, json);
  const serve = async (): Promise<void> => {
    client = await connect(stateDirectory(root), { root });
    await client.route("web.prod", { split: { blue: 0, green: 0 } });
  };

  it("refuses what it does not know, before it looks for a supervisor", async () => {
    await assert.rejects(run(""), wrongUse(/knows down, status and logs/));
    await assert.rejects(run("restart"), wrongUse(/not "restart"/));
    await assert.rejects(run("logs"), wrongUse(/name a service/));
    await assert.rejects(
      run("logs web.prod purple"),
      wrongUse(/"purple" is no slot; there are blue and green/),
    );
    for (const lines of [0, -1, 1.5, Number.NaN, 10_001, Number.POSITIVE_INFINITY])
      await assert.rejects(
        run("logs web.prod", lines),
        wrongUse(/--lines is a whole number from 1 to 10000/),
      );
    await serve();
    await assert.rejects(run("logs web.dev blue"), wrongUse(/knows no service "web.dev"/));
    assert.deepEqual(await run("logs web.prod green", 10_000), []);
  });

  it("says that nothing runs, in words or in JSON, and starts nothing", async () => {
    assert.deepEqual(await run("status"), ["No supervisor runs for this project."]);
    assert.deepEqual(await run("status", 1, true), []);
    assert.deepEqual(await run("down"), ["Nothing runs for this project."]);
    assert.deepEqual(await run("down", 1, true), ['{"ended":false}']);
    assert.ok(!existsSync(stateDirectory(root)));
  });

  it("shows each service as an object of JSON where that is asked for", async () => {
    await serve();
    const [text, ...more] = await run("status", 50, true);
    assert.deepEqual(more, []);
    const [status] = (await client?.services()) ?? [];
    assert.deepEqual(JSON.parse(text ?? ""), JSON.parse(JSON.stringify(status)));
    assert.match(
      (await run("status")).join("\n"),
      /^web\.prod http:.*\n {2}blue: empty 0\/0 0 %\n {2}green:/,
    );
    const folder = path.join(stateDirectory(root), "logs", "web.prod");
    mkdirSync(folder, { recursive: true });
    const { writeFileSync } = await import("node:fs");
    writeFileSync(path.join(folder, "green.log"), "a\nb\n");
    assert.deepEqual(
      (await run("logs web.prod green", 1, true)).map((line) => JSON.parse(line)),
      [{ service: "web.prod", slot: "green", line: "b" }],
    );
    assert.deepEqual(await run("logs web.prod green"), ["a", "b"]);
    assert.deepEqual(await run("down", 1, true), ['{"ended":true}']);
  });
});
