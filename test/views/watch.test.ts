import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EnvironmentStatus } from "../../automation/commands/status";
import { createJournal } from "../../automation/engine/journal";
import { runDirectory } from "../../automation/engine/runs";
import { type Manner, printer } from "../../automation/views/printer";
import { watch } from "../../automation/views/watch";
import { corner } from "../support/corner";
import { until } from "../support/driver";
import { tell } from "../support/story";
import { PLAIN } from "../support/tales";

const RUN = "20261124T055217-1a2b3c";

describe("`status --watch`", () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "sluice-watch-"));
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  /** Watches prod where nothing is drawn; answers with what was printed so far. */
  function begin(manner: Partial<Manner> = {}) {
    let text = "";
    const outlet = { write: (more: string) => (text += more), on: () => {}, off: () => {} };
    const stdin = outlet as unknown as Manner["stdin"];
    const out = printer({ stdout: outlet, stderr: outlet, stdin, env: {}, ...manner });
    const leave = new AbortController();
    let looks = 0;
    const desk = corner(root);
    const target = async () => ({
      observe: async () => {
        looks++;
        return { drift: [] };
      },
    });
    const project = { ...desk.project, target } as unknown as typeof desk.project;
    const ended = watch(["prod"], { ...desk, project, leave: leave.signal }, out, 10);
    return { ended, leave, said: () => text, looks: () => looks };
  }

  it("prints a line for each change where it can't draw, and ends when it is asked to leave", async () => {
    const { events } = await tell(PLAIN);
    const { ended, leave, said, looks } = begin();
    await until("a first look", () => said().includes("prod: no run is open"));
    assert.equal(looks(), 1);
    const journal = await createJournal(runDirectory(root, "prod", RUN));
    for (const { v: _v, seq: _s, prev: _p, at, ...fact } of events.slice(0, 2))
      await journal.append(fact, at);
    await until("the run", () => said().includes(`prod: run ${RUN}, going up, driven by nobody`));
    await until("its act", () => said().includes("prod: deploy of t0\n"));
    const before = said().split("\n").length;
    await until("many more looks", () => looks() >= 2);
    assert.equal(said().split("\n").length, before, said());
    await journal.append({ type: "run.paused", reason: "interrupted", diverted: [] }, Date.now());
    await until("the pause", () => said().includes("paused: interrupted"));
    await journal.close();
    leave.abort();
    await ended;
    assert.match(said(), /go on: `npm run promote staging prod`/);
    // However often it was looked at, what stayed as it was is said once.
    assert.equal(said().match(/prod: deploy of t0\n/g)?.length, 1, said());
    for (const line of said()
      .split("\n")
      .slice(0, before - 1))
      assert.match(line, /^\d{4}-\S+Z prod: /);
  });

  it("asks a stack again only where its run did something, for it takes seconds", async () => {
    const { ended, leave, said, looks } = begin();
    let seen = 0;
    await until("a first look", () => said().includes("no run is open"));
    const end = Date.now() + 200;
    await until("twenty looks at the journals", () => ++seen > 5 && Date.now() > end);
    assert.equal(looks(), 1);
    leave.abort();
    await ended;
  });

  it("prints the whole state for a program, once for each change", async () => {
    const { ended, leave, said } = begin({ json: true });
    await until("a first look", () => said().includes("\n"));
    leave.abort();
    await ended;
    const lines = said()
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as EnvironmentStatus);
    assert.ok(lines.length <= 2 && lines.every((line) => line.environment === "prod"));
  });
});
