import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { answeredLines } from "../../automation/commands/answer";
import { explain } from "../../automation/commands/explain";
import { history, historyLines } from "../../automation/commands/history";
import { replay, replayLines } from "../../automation/commands/replay";
import { simulate, simulateLines } from "../../automation/commands/simulate";
import { status, statusLines } from "../../automation/commands/status";
import { evolve, type RunState } from "../../automation/core/events";
import { createJournal } from "../../automation/engine/journal";
import { runDirectory } from "../../automation/engine/runs";
import { type Manner, type Printer, printer } from "../../automation/views/printer";
import { outputLine, outputSchema } from "../../automation/views/schema";
import { corner } from "../support/corner";
import { judged, judging, kept, rollout, SILENT } from "../support/judged";
import { type Tale, tell } from "../support/story";
import { PLAIN, tales } from "../support/tales";

const FILE = join(__dirname, "..", "..", "automation", "views", "output.schema.json");

/** A printer for programs, and the lines it has printed. */
function program(): { out: Printer; lines: () => Record<string, unknown>[] } {
  let text = "";
  const outlet = { write: (more: string) => (text += more), on: () => {}, off: () => {} };
  const silent = { ...outlet, write: () => {} };
  const stdin = outlet as unknown as Manner["stdin"];
  const out = printer({ stdout: outlet, stderr: silent, stdin, env: {}, json: true });
  const lines = () =>
    text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
  return { out, lines };
}

/** Every line has the shape that the schema says. */
function conforms(lines: readonly Record<string, unknown>[]): void {
  for (const line of lines) {
    assert.ok(typeof line.type === "string" && line.v === 1, JSON.stringify(line).slice(0, 200));
    const { error } = outputLine.safeParse(line);
    assert.equal(error, undefined, `${line.type}: ${error?.message}`);
  }
}

describe("What is printed with --json", () => {
  it("has the schema that is written down: SLUICE_UPDATE=1 writes it anew", () => {
    const text = `${JSON.stringify(outputSchema(), null, 2)}\n`;
    if (process.env.SLUICE_UPDATE || !existsSync(FILE)) writeFileSync(FILE, text);
    assert.deepEqual(JSON.parse(readFileSync(FILE, "utf8")), JSON.parse(text));
  });

  it("is by the schema for every event of every run", async () => {
    await fc.assert(
      fc.asyncProperty(tales, async (tale) => {
        const { events } = await tell(tale);
        const { out, lines } = program();
        let state: RunState | undefined;
        for (const event of events) {
          state = evolve(state, event);
          out.event(event, state, { questions: () => [], expected: async () => new Map() });
        }
        assert.equal(lines().length, events.length);
        conforms(lines());
      }),
      { numRuns: 30 },
    );
  }).timeout(60_000);

  it("is by the schema for the state of a run that waits for people, for its past, and for what people said", async () => {
    const root = mkdtempSync(join(tmpdir(), "sluice-schema-"));
    try {
      const { events } = await tell(TALE);
      const journal = await createJournal(runDirectory(root, "prod", "20261124T055217-1a2b3c"));
      for (const { v: _v, seq: _s, prev: _p, at, ...fact } of events.slice(0, 6))
        await journal.append(fact, at);
      await journal.close();
      const desk = corner(root);
      const { out, lines } = program();
      out.show("status", await status([], desk), statusLines);
      out.show("past", await history([], desk), historyLines);
      const said = { environment: "prod", run: "r", answer: "approve" as const, who: "ada@host", plan: "" };
      out.show("answer", { ...said, taken: true, waiting: [] }, answeredLines);
      out.show("finding", [{ what: "disk", state: "bad", found: "full", mend: "Make room." }], () => []);
      const [first] = events;
      if (first?.type !== "run.planned") throw new Error("a journal begins with its plan");
      out.plan({ plan: first.plan, previews: { t0: { create: 1 } }, answers: [] }, []);
      out.result({ environment: "prod", left: "finished", outcome: "promoted", reason: "" }, []);
      out.result({ left: "paused", reason: "interrupted" }, []);
      out.fail({ code: "wrong-use", message: "no", hint: "yes", stack: "at" });
      conforms(lines());
      assert.deepEqual(
        lines().map((line) => line.type),
        ["status", "status", "status", "past", "answer", "finding", "plan", "result", "result", "error"],
      );
      assert.ok(lines().some((line) => line.type === "status" && line.run));
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  });

  it("is by the schema for what explains a run, replays it, and simulates others", async () => {
    const root = mkdtempSync(join(tmpdir(), "sluice-schema-"));
    try {
      for (const traffic of [
        { seed: 3, rps: 400, rate: 0.05 },
        { seed: 7, rps: 10, rate: 0.005 },
      ]) {
        rmSync(join(root, ".sluice"), { recursive: true, force: true });
        await kept(root, (await rollout(traffic)).events);
        const desk = judging(root, judged(SILENT));
        const { out, lines } = program();
        const told = await explain("prod", desk);
        out.show("evidence", told.evidence, () => []);
        out.show("decision", told.decisions, () => []);
        out.show("replay", await replay("prod", {}, desk), replayLines);
        out.show(
          "simulation",
          await simulate({ rps: 10, runs: 3 }, new AbortController().signal),
          simulateLines,
        );
        conforms(lines());
        const types = new Set(lines().map((line) => line.type));
        assert.deepEqual([...types], ["evidence", "decision", "replay", "simulation"]);
      }
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  }).timeout(60_000);

  it("is refused by the schema where a field is missing, and not where one came", () => {
    const line = { type: "error", v: 1, code: "wrong-use", message: "no", hint: "yes" };
    assert.ok(outputLine.safeParse({ ...line, more: true }).success);
    assert.ok(!outputLine.safeParse({ ...line, hint: undefined }).success);
    assert.ok(!outputLine.safeParse({ ...line, v: 2 }).success);
    assert.ok(!outputLine.safeParse({ ...line, type: "sermon" }).success);
  });
});

const TALE: Tale = { ...PLAIN, weights: [10], analysis: true };
