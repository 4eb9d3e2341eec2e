import assert from "node:assert/strict";
import fc from "fast-check";
import { pool } from "../../automation/engine/pool";

describe("pool", () => {
  it("does each once, never more at a time than it may, and answers in order", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 30 }),
        fc.integer({ min: 1, max: 6 }),
        async (turns, most) => {
          let busy = 0;
          let peak = 0;
          const done = await pool(turns, most, async (turn) => {
            peak = Math.max(peak, ++busy);
            for (let i = 0; i < turn; i++) await Promise.resolve();
            busy--;
            return turn;
          });
          assert.deepEqual(done, turns);
          assert.ok(peak <= most);
          if (turns.length >= most && turns.length > 0) assert.equal(peak, most);
        },
      ),
    ));

  it("begins nothing more after a failure, and throws once nothing is under way", async () => {
    const begun: number[] = [];
    let ended = 0;
    await assert.rejects(
      pool([0, 1, 2, 3, 4, 5], 2, async (item) => {
        begun.push(item);
        for (let i = 0; i < (item === 1 ? 1 : 20); i++) await Promise.resolve();
        ended++;
        if (item === 1) throw new Error("no");
      }),
      /no/,
    );
    assert.deepEqual([begun, ended], [[0, 1], 2]);
  });
});
