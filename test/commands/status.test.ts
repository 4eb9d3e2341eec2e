import assert from "node:assert/strict";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { status, statusLines } from "../../automation/commands/status";
import { createJournal } from "../../automation/engine/journal";
import { JOURNAL, runDirectory } from "../../automation/engine/runs";
import type { Filled, Handle } from "../../components/handle";
import { corner } from "../support/corner";

describe("The status", () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "sluice-status-"));
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  it("shows every environment although the journal of one is damaged, and that one's problem", async () => {
    const directory = runDirectory(root, "staging", "20261124T055217-1a2b3c");
    await (await createJournal(directory)).close();
    writeFileSync(join(directory, JOURNAL), "no event\n");

    const all = await status([], corner(root));
    assert.deepEqual(
      all.map((e) => [e.environment, e.problem?.code, e.targets.length]),
      [
        ["dev", undefined, 1],
        ["staging", "journal-corrupt", 1],
        ["prod", undefined, 1],
      ],
    );
    const { problem } = JSON.parse(JSON.stringify(all[1]));
    assert.match(problem.message, /journal\.jsonl:1 is damaged/);
    assert.match(problem.hint, /`mv .*\.damaged`/);
    const text = statusLines(all).join("\n");
    assert.match(text, /prod/);
    assert.ok(text.includes(problem.message) && text.includes(problem.hint));

    renameSync(directory, `${directory}.damaged`);
    assert.ok((await status([], corner(root))).every((e) => !e.problem));
  });

  it("names the environment, not the stack, in what takes waiting settings", async () => {
    const [prod] = await status(["prod"], corner(root, ["web", "api"]));
    assert.deepEqual(prod?.targets.map((t) => t.key), ["web.prod", "api.prod"]); // biome-ignore format: short
    const live: Filled = {
      pin: { artifact: "dir:web@sha256:" },
      settings: {} as Filled["settings"],
      hash: "",
    };
    const declared = { live: "blue", slots: { blue: live }, split: { blue: 100, green: 0 } } as Handle;
    const targets = [{ key: "web.prod.eu", service: "web", declared, drift: [], pending: true }];
    assert.match(statusLines([{ environment: "prod", targets }]).join("\n"), /`npm run redeploy -- prod`/);
  });

  it("refuses a name that no environment has", async () => {
    await assert.rejects(status(["nowhere"], corner(root)), { code: "unknown-environment" });
  });
});
