import assert from "node:assert/strict";
import fc from "fast-check";
import { template } from "../../automation/wire/promql";
import { BadConfig } from "../../components/errors";

const NAMES = ["service", "slot"];
const fill = (text: string, service: string) => template(text, "here", NAMES).fill({ service });

/** Reads a Go string as Prometheus does, up to its end; gives what follows too. */
function unquote(text: string): { value: string; rest: string } {
  const quote = text[0]!;
  let value = "";
  for (let at = 1; at < text.length; at++) {
    if (text[at] === quote) return { value, rest: text.slice(at + 1) };
    assert.notEqual(text[at], "\n");
    if (text[at] !== "\\") value += text[at];
    else {
      at++;
      assert.ok(["\\", "n", quote].includes(text[at]!), `\\${text[at]} is no escape`);
      value += text[at] === "n" ? "\n" : text[at];
    }
  }
  throw new Error("the string does not end");
}

describe("PromQL with placeholders", () => {
  it("holds any value as the very string it is, whatever the quotes", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.constantFrom('"', "'"), (value, quote) => {
        const made = fill(`x{a=${quote}{{service}}${quote},b="c"}`, value);
        assert.deepEqual(unquote(made.slice(4)), { value, rest: ',b="c"}' });
      }),
    );
  });

  it("holds any value in a pattern as one that matches it alone", () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (value, other) => {
        const { value: pattern } = unquote(fill('x{a=~"{{service}}"}', value).slice(5));
        const whole = new RegExp(`^(?:${pattern})$`, "s");
        assert.ok(whole.test(value));
        assert.equal(whole.test(other), other === value);
      }),
    );
  });

  it("tells a pattern by its operator, blanks between, and each text by itself", () => {
    assert.equal(
      fill('x{a=~ "{{service}}",b="{{service}}",c!~"{{service}}"}', "a.b"),
      'x{a=~ "a\\\\.b",b="a.b",c!~"a\\\\.b"}',
    );
  });

  it("leaves everything else as it is, comments and escapes too", () => {
    for (const text of ["x", 'x{a="\\"{"}', "x # {{no", 'x{a="#"} # "', "x{a=`\\`}", "sum by (slot) (x)"])
      assert.equal(fill(text, "v"), text);
  });

  const wrong: [string, RegExp][] = [
    ['x{a="{{other}}"}', /no placeholder \{\{other\}\}.*service, slot/],
    ["x{a={{service}}}", /inside "quotes"/],
    ["{{service}}_total", /inside "quotes"/],
    ["x{a=`{{service}}`}", /inside "quotes"/],
    ['x{a="b}', /does not end/],
    [" ", /empty/],
  ];
  for (const [text, why] of wrong)
    it(`refuses ${text}`, () => {
      assert.throws(
        () => template(text, "here", NAMES),
        (e) => BadConfig.is(e) && why.test(e.message),
      );
    });
});
