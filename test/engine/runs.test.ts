import assert from "node:assert/strict";
import fc from "fast-check";
import { isRunId, newRunId } from "../../automation/engine/runs";

/** 2000 to 2100: whenever a clock may say it is. */
const instant = fc.integer({ min: Date.UTC(2000, 0), max: Date.UTC(2100, 0) });

describe("The name of a new run", () => {
  it("is greater than the newest one's, whatever the clock says", () => {
    fc.assert(
      fc.property(instant, instant, (before, now) => {
        const after = newRunId(before);
        const run = newRunId(now, after);
        assert.ok(isRunId(run) && run > after, `${run} after ${after}`);
      }),
    );
  });

  it("goes on growing while the clock stands still or is set back", () => {
    const names = [newRunId(Date.UTC(2026, 10, 24, 23, 59, 59, 998))];
    for (let i = 0; i < 2000; i += 1) names.push(newRunId(Date.UTC(2026, 10, 24) - i, names.at(-1)));
    assert.deepEqual(names.toSorted(), names);
    assert.equal(new Set(names).size, names.length);
  });

  it("takes any name that a run can have, the last of its second too", () => {
    for (const after of ["20261231T235959-fffaaa", "20261231T235959-3e7fff", "20240229T000000-000000"])
      assert.ok(newRunId(0, after) > after);
  });

  it("tells the time where the newest run is older", () => {
    assert.match(
      newRunId(Date.UTC(2026, 10, 24, 5, 52, 17, 418), "20261124T055217-1a1fff"),
      /^20261124T055217-1a2[0-9a-f]{3}$/,
    );
  });

  it("refuses to come after what is no run", () => {
    assert.throws(() => newRunId(0, "latest"), { code: "bad-run-name" });
  });
});
