import assert from "node:assert/strict";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { JournalCorrupt } from "../../automation/engine/chain";
import { createJournal, readJournal } from "../../automation/engine/journal";
import { isRunId, JOURNAL, listRuns, runDirectory } from "../../automation/engine/runs";

const RUN = "20261124T055217-1a2b3c";

describe("A damaged journal", () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "sluice-chain-"));
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  it("says how to move its run away, and the run is no run any more once that was done", async () => {
    const directory = runDirectory(root, "prod", RUN);
    await (await createJournal(directory)).close();
    writeFileSync(join(directory, JOURNAL), "no event\n");
    const thrown = await readJournal(directory).catch((e: unknown) => e);
    assert.ok(JournalCorrupt.is(thrown));
    const [, from, to] = /`mv (\S+) (\S+)`/.exec(thrown.hint) ?? [];
    assert.equal(from, directory);
    assert.equal((await listRuns(root, "prod")).length, 1);
    renameSync(from as string, to as string);
    assert.deepEqual(await listRuns(root, "prod"), []);
    assert.ok(!isRunId(`${RUN}.damaged`));
  });

  it("names only commands that work without it, for its environment", () => {
    const { hint } = JournalCorrupt(join(runDirectory(root, "prod", RUN), JOURNAL), 2, "it is not JSON");
    const commands = [...hint.matchAll(/`npm run ([^`]+)`/g)].map(([, command]) => command);
    assert.deepEqual(commands, ["status -- prod", "abort -- prod"]);
  });
});
