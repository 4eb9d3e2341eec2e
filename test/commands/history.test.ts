import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { history, historyLines } from "../../automation/commands/history";
import { createJournal } from "../../automation/engine/journal";
import { JOURNAL, runDirectory } from "../../automation/engine/runs";
import { type Corner, corner } from "../support/corner";

describe("The history", () => {
  let root: string;
  let desk: Corner;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "sluice-history-"));
    desk = corner(root);
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  it("has a line for each run, however long its reason is", async () => {
    const reason = "up-failed: it did not come up\n    at the first line\n\n    at the second";
    const past = { environment: "prod", run: "20261124T055217-1a2b3c", request: "promote staging prod" };
    const rest = { actor: "", release: "", outcome: "rolled-back", began: "", milliseconds: 1, reason };
    const lines = historyLines([{ ...past, ...rest }]);
    assert.equal(lines.length, 1);
    assert.doesNotMatch(lines[0] as string, /[\r\n]/);
    assert.match(lines[0] as string, /\(up-failed: it did not come up …\)$/);
  });

  it("says how each run came out, how long it took, who began it, and what came from where", () => {
    const run = { run: "20261124T055217-1a2b3c", environment: "prod", request: "promote -- staging prod" };
    const rest = { actor: "ada@host", release: "c".repeat(64), began: "", milliseconds: 65_000 };
    const [first, second] = historyLines([
      { ...run, ...rest, outcome: "promoted", source: "staging" },
      { ...run, ...rest, outcome: "rolled-back", reason: "verdict-fail", actor: "al@host" },
    ]);
    assert.equal(
      first,
      "20261124T055217-1a2b3c  prod  promoted     1 min 5 s  cccccccccccc  from staging  ada@host  promote -- staging prod",
    );
    // Columns stay columns where one has nothing to say.
    assert.equal(second?.indexOf("al@host"), first?.indexOf("ada@host"));
    assert.match(second ?? "", /\(verdict-fail\)$/);
  });

  it("takes a whole number above 0 as its limit, nothing else", async () => {
    for (const limit of [Number.NaN, 0, -1, 1.5, Number.POSITIVE_INFINITY])
      await assert.rejects(history(["prod"], desk, limit), { code: "wrong-use" }, `${limit}`);
    assert.deepEqual(await history(["prod"], desk, 1), []);
  });

  it("lists a damaged run as unreadable beside the others, whole", async () => {
    const directory = runDirectory(root, "prod", "20261124T055217-1a2b3c");
    await (await createJournal(directory)).close();
    writeFileSync(join(directory, JOURNAL), "no event\n");
    const [past] = await history([], desk);
    assert.equal(past?.outcome, "unreadable");
    assert.match(past?.reason ?? "", /is damaged/);
  });
});
