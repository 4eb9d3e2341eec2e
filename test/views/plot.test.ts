import assert from "node:assert/strict";
import fc from "fast-check";
import { columns } from "../../automation/views/columns";
import { isUnicode, type Point, plot } from "../../automation/views/plot";
import { width } from "../../automation/views/text";

const enough = { against: Math.log(20), for: Math.log(20) };
const anyPoints: fc.Arbitrary<Point[]> = fc
  .array(
    fc.record({
      seconds: fc.double({ min: 0, max: 1e5, noNaN: true }),
      weight: fc.constantFrom(5, 10, 25, 100),
      against: fc.double({ min: -1e9, max: 1e9, noNaN: true }),
      for: fc.double({ min: -1e9, max: 1e9, noNaN: true }),
    }),
    { maxLength: 200, size: "max" },
  )
  .map((points) => points.sort((a, b) => a.seconds - b.seconds));

describe("The plot of the evidence", () => {
  it("is never wider than its paper, eight rows high, and in ASCII where nothing else can be shown", () => {
    fc.assert(
      fc.property(anyPoints, fc.integer({ min: 1, max: 200 }), fc.boolean(), (points, room, ascii) => {
        const lines = plot(points, enough, { columns: room, ascii });
        for (const line of lines) {
          assert.ok(width(line) <= Math.min(room, 80), line);
          assert.doesNotMatch(line, /NaN|undefined|Infinity/);
          if (ascii && room >= 60) assert.match(line, /^[\x20-\x7e]*$/);
        }
        assert.ok(lines.length === 0 || lines.length === 12);
        // No weight is cut in the middle.
        assert.match(lines[9] ?? "", /^ *(\d+ % *)*$/);
        if (points.length > 0 && room >= 30) assert.equal(lines.length, 12);
      }),
    );
  });

  it("reaches the line where the evidence is enough, and stays below where it is not", () => {
    const points = [0, 10, 20, 30].map((seconds) => ({ seconds, weight: 5, against: seconds / 10, for: -9 }));
    const at = (against: number) => {
      const drawn = plot([...points, { ...points[3]!, seconds: 40, against }], enough, {
        columns: 80,
        ascii: true,
      });
      return drawn.findIndex((line) => line.endsWith("#"));
    };
    const line = plot(points, enough, { columns: 80, ascii: true }).findIndex((l) => /20 to 1 \|/.test(l));
    assert.ok(at(1.2) > line && at(Math.log(20)) === line && at(6) < line && at(100) === 0);
  });

  it("names each weight where it began, and next to the one before where there is no room", () => {
    const rise = (...began: number[]) =>
      [5, 10, 25].map((weight, i) => ({ weight, seconds: began[i]!, against: 0, for: 0 }));
    const row = (...began: number[]) => plot(rise(...began), enough, { columns: 80, ascii: true })[9];
    assert.match(row(0, 50, 100) ?? "", /^ {14}5 % {26}10 % {23}25 %$/);
    assert.match(row(0, 1, 2000) ?? "", /^ {14}5 % 10 % +25 %$/);
  });

  it("asks the locale whether more than ASCII can be shown, the one that counts first", () => {
    assert.equal(isUnicode({ LANG: "en_US.UTF-8" }), true);
    assert.equal(isUnicode({ LANG: "C.utf8" }), true);
    assert.equal(isUnicode({ LANG: "en_US.UTF-8", LC_ALL: "C" }), false);
    assert.equal(isUnicode({ LANG: "C", LC_CTYPE: "de_DE.UTF-8", LC_ALL: "" }), true);
    assert.equal(isUnicode({}), false);
  });
});

describe("Columns", () => {
  it("are as wide as their widest cell, whatever is in it", () => {
    const { lines, at } = columns([
      ["a", "1"],
      ["日本", "1,000"],
    ]);
    assert.deepEqual(lines, ["a         1", "日本  1,000"]);
    assert.deepEqual(at, [0, 6]);
    assert.deepEqual(columns([]), { lines: [], at: [] });
  });
});
