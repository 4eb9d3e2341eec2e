import assert from "node:assert/strict";
import fc from "fast-check";
import { cut, flow, folded, tame, width } from "../../automation/views/text";

const RED = "\x1b[31m";
const OFF = "\x1b[39m";

/** What services say, and worse. */
const texts = fc
  .array(
    fc.oneof(
      fc.string({ unit: "grapheme" }),
      fc.string({ unit: "binary" }),
      fc.constantFrom(
        RED,
        OFF,
        "\x1b[2J",
        "\x1b]0;title\x07",
        "中文",
        "👩‍👩‍👧",
        "❤️",
        "e\u0301",
        "\t",
        "\r\n",
        "🇨🇭",
        "a b ",
      ),
    ),
    { maxLength: 12 },
  )
  .map((parts) => parts.join(""));

describe("Text in a terminal", () => {
  it("is as wide as it is seen, whatever its bytes are", () => {
    assert.equal(width("plain"), 5);
    assert.equal(width(`${RED}red${OFF}`), 3);
    assert.equal(width("中文"), 4);
    assert.equal(width("e\u0301"), 1);
    assert.equal(width("❤️"), 2);
    assert.equal(width("🚀"), 2);
  });

  it("is cut with an ellipsis where it does not fit, and not where it does", () => {
    assert.equal(cut("plain", 5), "plain");
    assert.equal(cut("plainly", 5), "plai…");
    assert.equal(cut("中文字", 4), "中…");
    assert.equal(cut(`${RED}plainly${OFF}`, 5), `${RED}plai…\x1b[0m`);
    assert.equal(cut("e\u0301e\u0301e\u0301", 2), "e\u0301…");
    assert.equal(cut("x", 0), "");
  });

  it("never gets wider than it may, in one line or in several", () => {
    fc.assert(
      fc.property(texts, fc.integer({ min: 1, max: 60 }), fc.nat(8), (text, columns, indent) => {
        assert.ok(width(cut(text, columns)) <= columns);
        const rows = flow(text, columns, { indent, lines: 3 });
        assert.ok(rows.length <= 3);
        for (const row of rows) {
          assert.ok(width(row) <= columns, JSON.stringify(row));
          assert.doesNotMatch(row, /[\r\n]/);
        }
      }),
    );
  });

  it("moves no cursor, clears no screen and sets no title, whoever said it", () => {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must be gone
    const WILD = /\x1b(?!\[[\d;:]*m)|[\0-\x1a\x1c-\x1f\x7f-\x9f]/;
    assert.equal(tame("a\x1b[2Jb\x1b]0;title\x07c\rd\x9bx"), "abc dx");
    fc.assert(fc.property(texts, (text) => assert.doesNotMatch(tame(text), WILD)));
  });

  it("is folded between words, and loses none", () => {
    const line = `  ✓ prod       analyse           10.1 s  canary 0 % of 504 requests failed, limit 1 %`;
    const rows = folded(line, 40).split("\n");
    assert.ok(rows.length > 1 && rows.every((row) => width(row) <= 40), rows.join("\n"));
    assert.ok(rows.slice(1).every((row) => row.startsWith("      c") || row.startsWith("      ")));
    const words = (text: string) => text.split(/\s+/).filter(Boolean);
    assert.deepEqual(words(rows.join(" ")), words(line));
    assert.equal(folded(line, 200), line);
  });

  it("leaves a word that is longer than the line whole, so that it can be copied", () => {
    const artifact = `dir:stacks/sample@sha256:${"0".repeat(64)}`;
    assert.ok(folded(`  sample: ${artifact}`, 30).includes(artifact));
    fc.assert(
      fc.property(
        fc.array(fc.stringMatching(/^[!-~]{1,30}$/), { maxLength: 20 }),
        fc.integer({ min: 1, max: 80 }),
        (list, columns) => {
          assert.deepEqual(folded(list.join(" "), columns).split(/\s+/).filter(Boolean), list);
        },
      ),
    );
  });
});
