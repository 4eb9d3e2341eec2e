import assert from "node:assert/strict";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { status, statusLines } from "../../automation/commands/status";
import { createJournal } from "../../automation/engine/journal";
import { JOURNAL, runDirectory } from "../../automation/engine/runs";
import type { Filled, Handle } from "../../components/handle";
import { corner } from "../support/corner";
import { tell } from "../support/story";
import { PLAIN } from "../support/tales";

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

  it("says what a run asks, who may answer and how", async () => {
    const [prod] = await status(["prod"], corner(root));
    const run = { ...RUN, questions: [{ reason: "0 of 1 said yes", requester: false }] };
    const text = statusLines([{ ...prod!, run }]).join("\n");
    assert.match(text, /asks: 0 of 1 said yes/);
    assert.match(
      text,
      /say yes, not by ada@host: `npm run approve -- prod` {4}say no: `npm run reject -- prod`/,
    );
    const anybody = { ...run, questions: [{ reason: "held", requester: true }] };
    assert.match(statusLines([{ ...prod!, run: anybody }]).join("\n"), /say yes: `npm run approve/);
  });

  it("says why a run is paused, and how to go on with it or to end it", async () => {
    const [prod] = await status(["prod"], corner(root));
    const text = statusLines([{ ...prod!, run: { ...RUN, paused: "interrupted" } }]).join("\n");
    assert.match(text, /begun by ada@host, driven by nobody; paused: interrupted/);
    assert.match(text, /go on: `npm run promote -- staging prod` {4}end it: `npm run abort -- prod`/);
  });

  it("says what a hand can do where a run is stuck, from the least to the most", async () => {
    const { events } = await tell(PLAIN);
    const journal = await createJournal(runDirectory(root, "prod", "20261124T055217-1a2b3c"));
    for (const { v: _v, seq: _s, prev: _p, at, ...fact } of events.slice(0, 2))
      await journal.append(fact, at);
    await journal.append({ type: "run.paused", reason: "stuck: no space left", diverted: [] }, Date.now());
    await journal.close();
    const all = await status(["prod"], corner(root));
    assert.equal(all[0]?.run?.stuck, "no space left");
    const text = statusLines(all).join("\n");
    assert.match(text, /STUCK, a hand is needed: no space left/);
    const order = [
      "users are served",
      "go on by itself: `npm run promote staging prod`",
      "`npm run resolve -- prod --reason",
    ];
    const found = order.map((words) => text.indexOf(words));
    assert.ok(found[0]! > 0 && found[1]! > found[0]! && found[2]! > found[1]!, text);
  });

  it("refuses a name that no environment has", async () => {
    await assert.rejects(status(["nowhere"], corner(root)), { code: "unknown-environment" });
  });
});

const RUN = {
  id: "20261124T055217-1a2b3c",
  request: "promote -- staging prod",
  phase: "up",
  actor: "ada@host",
  doing: [],
  questions: [],
};
