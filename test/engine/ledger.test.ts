import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openLedger } from "../../automation/engine/ledger";
import { perform } from "../../automation/engine/perform";
import type { Scene } from "../../automation/engine/scene";

describe("The ledger of an environment", () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "sluice-ledger-"));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it("knows what is done, in another process too, and nothing else", async () => {
    const key = "release/prod/migrate";
    assert.equal(await openLedger(directory).has(key), false);
    await openLedger(directory).add(key);
    await openLedger(directory).add(key);
    assert.equal(await openLedger(directory).has(key), true);
    assert.equal(await openLedger(directory).has("release/prod/migrat"), false);
    assert.equal(statSync(join(directory, "tasks")).mode & 0o777, 0o700);
  });

  it("keeps a task from being done twice for a release, but not from being tried again when it failed", async () => {
    let asked = 0;
    const answers = [{ ok: false as const, reason: "no connection" }, { ok: true as const }];
    const tasks = [{ id: "migrate", run: async () => answers[asked++] ?? { ok: true as const } }];
    const scene = {
      run: {
        plan: { release: "r", environment: "prod", targets: [{ key: "prod", service: "web", pin: {} }] },
        environment: { tasks },
        ledger: openLedger(directory),
      },
      target: { key: "prod" },
      ctx: {},
      handle: () => undefined,
    } as unknown as Scene;
    const ask = () => perform({ act: "run", task: "migrate", id: "1", target: "prod", needs: [] }, scene);
    assert.equal((await ask()).kind, "failed");
    assert.equal((await ask()).kind, "done");
    assert.deepEqual(await ask(), { kind: "done", note: "done before, for this very release" });
    assert.equal(asked, 2);
  });
});
