import assert from "node:assert/strict";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { fresh, type LogLine, type LogsOptions, logLine, logs } from "../../automation/commands/logs";
import { show, showLines } from "../../automation/commands/show";
import { which } from "../../automation/commands/which";
import type { Fact } from "../../automation/core/events";
import type { Desk } from "../../automation/engine/carry";
import { note } from "../../automation/engine/diary";
import { createJournal } from "../../automation/engine/journal";
import { acquireLease } from "../../automation/engine/lease";
import { environmentDirectory, JOURNAL, runDirectory } from "../../automation/engine/runs";
import { createRedactor } from "../../components/redact";
import { planFor, standing } from "../report/story";
import { corner } from "../support/corner";
import { until } from "../support/driver";
import { filled } from "../support/world";

const RUNS = ["20261123T235959-000aaa", "20261124T060000-1a2b3c", "20261124T060001-1a2b3d"] as const;
const SECRET = "hunter2hunter2";
const acts = [
  { act: "deploy" as const, pin: { artifact: "" } },
  { act: "shift" as const, to: 100 },
  { act: "adopt" as const },
  { act: "settle" as const },
];

describe("A run that is looked at", () => {
  let root: string;
  let said: string[];
  let slot: string[] | Error;
  let leave: AbortController;
  let desk: Pick<Desk, "project" | "say" | "leave" | "redact">;

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "sluice show ü-"));
    said = [];
    slot = [];
    leave = new AbortController();
    const looking = corner(root, ["web"]);
    const router = {
      logs: async (_handle: unknown, _slot: unknown, lines: number) => {
        if (slot instanceof Error) throw slot;
        return slot.slice(-lines);
      },
    };
    const project = { ...looking.project, target: async () => ({ router }) } as unknown as Desk["project"];
    desk = { project, say: (line) => said.push(line), leave: leave.signal, redact: createRedactor([SECRET]) };
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  /** Leaves a run with these facts after its plan. */
  async function leaveRun(run: string, environment: string, facts: readonly Fact[] = []): Promise<string> {
    const directory = runDirectory(root, environment, run);
    const journal = await createJournal(directory);
    const plan = { ...planFor(["web"], acts), environment };
    for (const fact of [{ type: "run.planned" as const, run, plan, actor: "ann@box" }, ...facts])
      await journal.append(fact, Date.UTC(2026, 10, 24, 6));
    await journal.close();
    return directory;
  }
  const deployed: Fact[] = [
    { type: "step.started", step: "prod/01-deploy", attempt: 1 },
    {
      type: "step.finished",
      step: "prod/01-deploy",
      outcome: "done",
      handle: {
        ...standing("web"),
        slots: { green: filled("new") },
      },
    },
  ];
  const over: Fact = { type: "run.finished", outcome: "promoted", reason: "" };
  async function all(word: string, options?: LogsOptions): Promise<LogLine[]> {
    const found: LogLine[] = [];
    for await (const line of logs(word, desk, options)) found.push(line);
    return found;
  }

  it("is told by its name, by a beginning that no other has, or by its environment as the newest there", async () => {
    await leaveRun(RUNS[0], "prod");
    await leaveRun(RUNS[1], "prod");
    await leaveRun(RUNS[2], "staging");
    for (const [word, run] of [
      [RUNS[0], RUNS[0]],
      ["20261123", RUNS[0]],
      ["20261124T060000", RUNS[1]],
      ["prod", RUNS[1]],
      ["staging", RUNS[2]],
    ] as const)
      assert.equal((await which(desk.project, word)).run, run, word);
    for (const word of ["nowhere", "", "2026", "../prod", "dev"])
      await assert.rejects(
        which(desk.project, word),
        { code: "unknown-run", message: /newest are 20261124T060001-1a2b3d \(staging\), 20261124T060000/ },
        word,
      );
    await assert.rejects(which(desk.project, "20261124"), {
      code: "unknown-run",
      message: /could be .*1a2b3d.* \(prod\)/,
    });
  });

  it("is unknown where there is none, and the error says what begins one", async () => {
    await assert.rejects(which(desk.project, "prod"), { code: "unknown-run", message: /none here yet/ });
  });

  it("is told while it goes on, with who drives it, and after a crash, with nobody", async () => {
    await leaveRun(RUNS[1], "prod", deployed);
    const lease = await acquireLease(environmentDirectory(root, "prod"), { run: RUNS[1] });
    const live = await show("prod", desk);
    assert.equal(live.report.outcome, "open");
    assert.equal(live.holder?.pid, process.pid);
    assert.match(showLines(live).join("\n"), /driven by .* \(pid \d+\)/);
    await lease.release();
    const cut = showLines(await show("prod", desk))
      .map(stripVTControlCharacters)
      .join("\n");
    assert.match(
      cut,
      /driven by nobody[\s\S]*✓ prod +deploy[\s\S]*What to do now[\s\S]*npm run promote -- staging prod/,
    );
  });

  it("is told without a secret, and of a damaged journal says that it is", async () => {
    const directory = await leaveRun(RUNS[1], "prod", [
      { type: "run.paused", reason: `said ${SECRET}`, diverted: [] },
    ]);
    assert.doesNotMatch(JSON.stringify(await show("prod", desk)), /hunter2/);
    appendFileSync(join(directory, JOURNAL), "no event\n");
    await assert.rejects(show("prod", desk), { code: "journal-corrupt" });
  });

  it("shows the driver's lines and the failing slot's, each named, the newest of each", async () => {
    const directory = await leaveRun(RUNS[1], "prod", [...deployed, over]);
    for (const n of [1, 2, 3]) note(directory, `line ${n} ${SECRET}`, 0);
    mkdirSync(join(directory, "logs"));
    writeFileSync(join(directory, "logs", "prod.log"), `boom\n\u001b[2Jlast ${SECRET}\n`);
    const found = await all("prod", { lines: 2 });
    assert.deepEqual(
      found.map((l) => [l.source, l.target, l.line.replace(/^\S+Z /, "")]),
      [
        ["driver", undefined, "line 2 ***"],
        ["driver", undefined, "line 3 ***"],
        ["slot", "prod", "boom"],
        ["slot", "prod", "\u001b[2Jlast ***"],
      ],
    );
    assert.deepEqual(logLine(found[3]!), ["prod | <U+001B>[2Jlast ***"]);
    assert.deepEqual(
      (await all("prod", { target: "web" })).map((l) => l.source),
      ["slot", "slot"],
    );
    await assert.rejects(all("prod", { target: "api" }), { code: "wrong-use", message: /Known: prod/ });
    for (const lines of [0, -1, 1.5, Number.NaN, 10_001])
      await assert.rejects(all("prod", { lines }), { code: "wrong-use" });
  });

  it("says so where nothing is kept, and is no error where the platform does not answer", async () => {
    await leaveRun(RUNS[1], "prod", deployed);
    slot = new Error("it is gone");
    assert.deepEqual(await all("prod"), []);
    assert.match(said.join("\n"), /no lines of prod: it is gone\nNothing is kept of prod/);
  });

  it("followed, tells each new line once until nobody drives it any more", async () => {
    const directory = await leaveRun(RUNS[1], "prod", deployed);
    const lease = await acquireLease(environmentDirectory(root, "prod"), { run: RUNS[1] });
    slot = ["one", "two"];
    note(directory, "began", 0);
    const found: string[] = [];
    const followed = (async () => {
      for await (const { source, line } of logs("prod", desk, { follow: true }))
        found.push(`${source} ${line.replace(/^\S+Z /, "")}`);
    })();
    await until("the first lines", () => found.length >= 3, 10);
    slot = ["two", "three"];
    note(directory, "went on", 0);
    await until("the next lines", () => found.length >= 5, 10);
    note(directory, "ended", 0);
    await lease.release();
    await followed;
    assert.deepEqual(found, [
      "driver began",
      "slot one",
      "slot two",
      "driver went on",
      "slot three",
      "driver ended",
    ]);
  });

  it("followed, is left at once by who is asked to leave", async () => {
    await leaveRun(RUNS[1], "prod", deployed);
    const lease = await acquireLease(environmentDirectory(root, "prod"), { run: RUNS[1] });
    try {
      const followed = all("prod", { follow: true });
      leave.abort();
      await followed;
    } finally {
      await lease.release();
    }
  });

  it("finds in two windows of a log what only the second has", () => {
    assert.deepEqual(fresh([], ["a"]), ["a"]);
    assert.deepEqual(fresh(["a", "b"], ["a", "b"]), []);
    assert.deepEqual(fresh(["a", "b", "b"], ["b", "b", "b", "c"]), ["b", "c"]);
    assert.deepEqual(fresh(["a", "b"], ["x", "y"]), ["x", "y"]);
  });
});

describe("The driver's own log", () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "sluice-diary-"));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));
  const file = () => join(directory, "driver.log");

  it("has a line for each, with its time, for its owner's eyes", () => {
    note(directory, "one\r\n  two", 0);
    assert.equal(readFileSync(file(), "utf8"), "1970-01-01T00:00:00.000Z one ⏎ two\n");
    assert.equal(statSync(file()).mode & 0o777, 0o600);
  });

  it("keeps at most 2 MiB however much is said, and the newest of it", () => {
    for (let i = 0; i < 1000; i++) note(directory, `${i} ${"x".repeat(10_000)}`, 0);
    const sizes = [file(), `${file()}.1`].map((path) => statSync(path).size);
    for (const size of sizes) assert.ok(size < 1024 * 1024 + 5000, `${size}`);
    assert.match(readFileSync(file(), "utf8"), /Z 999 x+ \[… \d+ more\]\n$/);
  });

  it("never ends a run: where it can't be written nothing is thrown", () => {
    rmSync(directory, { recursive: true });
    note(directory, "lost", 0);
    assert.equal(existsSync(directory), false);
  });
});
