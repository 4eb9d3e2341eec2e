import assert from "node:assert/strict";
import fc from "fast-check";
import { parse, SourceMalformed } from "../../automation/wire/exposition";

const all = (text: string) => parse(text, "http://m", () => true);
const one = (line: string) => {
  const [sample] = all(`${line}\n`);
  return [sample?.name, { ...sample?.labels }, sample?.value];
};

describe("parse", () => {
  const good: [string, unknown[]][] = [
    ["up 1", ["up", {}, 1]],
    ["up{} 1", ["up", {}, 1]],
    ['a{b="c"} 2.5e3', ["a", { b: "c" }, 2500]],
    ['a{b="c",} 2', ["a", { b: "c" }, 2]],
    ['a { b = "c" , d = "e" } 2', ["a", { b: "c", d: "e" }, 2]],
    ['a{b="c"}3', ["a", { b: "c" }, 3]],
    ['a{b="q\\"\\\\\\nx"} 1', ["a", { b: 'q"\\\nx' }, 1]],
    ['a{b="}, # {"} 1', ["a", { b: "}, # {" }, 1]],
    ['a{le="+Inf"} +Inf', ["a", { le: "+Inf" }, Number.POSITIVE_INFINITY]],
    ["a NaN", ["a", {}, Number.NaN]],
    ["a -Inf", ["a", {}, Number.NEGATIVE_INFINITY]],
    ["a 4 1700000000000", ["a", {}, 4]],
    ['a_bucket{le="1"} 4 # {trace_id="x"} 0.5 1700000000.1', ["a_bucket", { le: "1" }, 4]],
    ['a{__proto__="x"} 1', ["a", Object.fromEntries([["__proto__", "x"]]), 1]],
  ];
  for (const [line, expected] of good) it(`reads ${line}`, () => assert.deepEqual(one(line), expected));

  it("leaves out comments, blank lines and series that nobody wants", () => {
    const text = '# HELP a b\n# TYPE a counter\n\n   \na{x="1"} 1\nb 2\n# EOF\n';
    assert.deepEqual(
      parse(text, "m", (name) => name === "a").map((s) => s.value),
      [1],
    );
  });

  const bad = [
    "<!DOCTYPE html>",
    "<html><body>ok</body></html>",
    '{"status":"ok"}',
    "a",
    "a{",
    'a{b="c"',
    'a{b="c} 1',
    "a{b=c} 1",
    'a{b="c" d="e"} 1',
    'a{b="c",b="d"} 1',
    "a one",
    "a 0x10",
    "a 1 2 3",
    "a 1_000",
    "1a 1",
  ];
  for (const line of bad)
    it(`refuses ${line}`, () => assert.throws(() => all(`${line}\n`), SourceMalformed.is));

  it("refuses a last line without its end, which may be half a number", () => {
    assert.throws(() => all("a 12\nb 1"), SourceMalformed.is);
  });

  it("refuses the same series twice, whatever the order of its labels", () => {
    assert.throws(() => all('a{x="1",y="2"} 1\na{y="2",x="1"} 1\n'), SourceMalformed.is);
    assert.equal(all('a{x="1,y"} 1\na{x="1",y=""} 1\n').length, 2);
  });

  it("gives back every label value and number that was written", () => {
    const written = (v: string) => v.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.double(), (label, value) => {
        fc.pre(!/[\r\u2028\u2029]/.test(label) && !Object.is(value, -0));
        const word =
          value === Number.POSITIVE_INFINITY ? "+Inf" : value === Number.NEGATIVE_INFINITY ? "-Inf" : value;
        assert.deepEqual(one(`a{l="${written(label)}"} ${word}`), ["a", { l: label }, value]);
      }),
    );
  });

  it("takes garbage as malformed or as nothing, never as an accident, and in linear time", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 200 }), (text) => {
        try {
          all(text);
        } catch (thrown) {
          assert.ok(SourceMalformed.is(thrown), String(thrown));
        }
      }),
    );
    for (const piece of ['a{b="', 'a{b="\\', "a{b=", " ", "a 1 "]) {
      const began = performance.now();
      assert.ok(true, String(attempt(() => all(`a${piece.repeat(100_000)}\n`))));
      assert.ok(performance.now() - began < 2000, piece);
    }
  });
});

function attempt(work: () => unknown): unknown {
  try {
    return work();
  } catch (thrown) {
    return thrown;
  }
}
