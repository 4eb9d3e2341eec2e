import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { decide } from "../../automation/core/decide";
import { evolve, fold, type JournalEvent, type RunState } from "../../automation/core/events";
import { hash, parse } from "../../automation/engine/chain";

// Journals that real runs left, of every format and version that ever was: never edited, only added to. A run that
// was begun by an earlier version must be finished by this one as that one would have.
const FOLDER = join(__dirname, "recorded");
const OUTCOMES = {
  "first-release.jsonl": "promoted",
  "canary.jsonl": "promoted",
  "blue-green.jsonl": "promoted",
  "rolled-back.jsonl": "rolled-back",
};

function recorded(name: string): JournalEvent[] {
  return parse(readFileSync(join(FOLDER, name)), name).events;
}

/** Whether what was written down next is what would be done now. */
function fits(event: JournalEvent, state: RunState): boolean {
  const flights = new Set(
    Object.values(state.targets).flatMap((t) =>
      Object.entries(t.steps).flatMap(([id, s]) => (s.status === "started" ? [id] : [])),
    ),
  );
  const next = decide(state.plan, state, event.at, event.type === "step.started" ? flights : new Set());
  switch (event.type) {
    case "step.started":
      return next.kind === "perform" && next.steps.some((s) => s.id === event.step);
    case "rollback.begun":
      return next.kind === "roll-back";
    case "traffic.diverted":
      return next.kind === "divert" && next.targets.includes(event.target);
    case "target.restored":
      return next.kind === "restore" && next.targets.includes(event.target);
    case "run.finished":
      return next.kind === "finish" && next.outcome === event.outcome;
    default:
      return true;
  }
}

describe("a journal that an earlier version left", () => {
  it("is one of those that are known", () => {
    assert.deepEqual(readdirSync(FOLDER).sort(), Object.keys(OUTCOMES).sort());
  });

  for (const [name, outcome] of Object.entries(OUTCOMES)) {
    it(`${name} still adds up to what it came to`, () => {
      assert.equal(fold(recorded(name))?.outcome, outcome);
    });

    it(`${name}, cut off anywhere, would be gone on with as it was`, () => {
      let state: RunState | undefined;
      for (const event of recorded(name)) {
        if (state) assert.ok(fits(event, state), `${event.seq} ${event.type} is not what would come next`);
        state = evolve(state, event);
      }
    });
  }

  it("of a format that is yet to come is refused, with what to do", () => {
    const [first] = recorded("canary.jsonl");
    const line = `${JSON.stringify({ ...first, v: 2 })}\n`;
    assert.throws(() => parse(Buffer.from(line), "/x/prod/r/journal.jsonl"), { code: "journal-newer" });
    assert.ok(hash(line));
  });

  it("with a fact that this version does not know is refused, with what to do", () => {
    const events = recorded("canary.jsonl");
    const line = (e: object) => `${JSON.stringify(e)}\n`;
    const first = line(events[0]!);
    const odd = line({ ...events[1], type: "run.teleported", prev: hash(first.trimEnd()) });
    assert.throws(() => parse(Buffer.from(first + odd), "/x/prod/r/journal.jsonl"), {
      code: "journal-newer",
    });
  });
});
