import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { REMEDIES } from "../../automation/report/remedies";
import { errorCodes } from "../../components/errors";
import { catalogue, commands, plainCodes } from "../support/catalogue";
import { FAILURES, isFresh, made, pages } from "../support/docs";
import "../../automation/cli";
import "../../components/local/supervisor";
import "../../components/program";
import "../../policies/rules";

const ROOT = join(__dirname, "../..");
const PAGE = readFileSync(join(ROOT, "automation/TROUBLESHOOTING.md"), "utf8");

describe("The troubleshooting page", () => {
  for (const one of made())
    it(`${one.file} is what the sources say: \`npm run docs\` makes it anew`, () => {
      assert.ok(isFresh(one), one.file);
    });

  it("has every error that was ever registered, each with a message and a next step", () => {
    const found = catalogue();
    const codes = new Set(found.map((e) => e.code));
    for (const code of errorCodes()) assert.ok(codes.has(code), code);
    for (const { code, message, hint } of found) {
      assert.match(code, /^[a-z]+(-[a-z]+)*$/);
      assert.ok(PAGE.includes(`\n### \`${code}\`\n`), code);
      assert.ok(message.length > 0 && hint.length > 0, code);
      assert.doesNotMatch(message + hint, /<…>|undefined/, `${code} says something that the page can't tell`);
    }
  });

  it("has every code that a step or a slot fails with", () => {
    const known = new Set([...catalogue().map((e) => e.code), ...Object.keys(FAILURES)]);
    for (const { code, file } of plainCodes())
      if (/^[a-z]/.test(code)) assert.ok(known.has(code), `${code} of ${file}`);
    for (const code of Object.keys(REMEDIES)) assert.ok(known.has(code), code);
  });

  it("has no code twice", () => {
    const heads = [...PAGE.matchAll(/^### `([a-z-]+)`$/gm)].map(([, code]) => code);
    assert.deepEqual(heads, [...new Set(heads)]);
  });
});

/** Every command in a page: in a line, or in a block of its own. */
function documented(): { file: string; command: string }[] {
  return pages().flatMap((file) => {
    const text = readFileSync(join(ROOT, file), "utf8");
    const inline = [...text.matchAll(/`((?:npm run|npx sluice) [^`\n]+)`/g)];
    const blocks = [...text.matchAll(/^```sh\n([\s\S]*?)^```$/gm)];
    const lines = blocks.flatMap(([, block = ""]) => [...block.matchAll(/^(npm run .+)$/gm)]);
    return [...inline, ...lines].map(([, command = ""]) => ({ file, command }));
  });
}

describe("A command that sources and pages name", function () {
  this.timeout(60_000);

  it("exists, with its options", () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
    const help = new Map<string, string>();
    const helpOf = (command: string) => {
      const known =
        help.get(command) ??
        execFileSync(
          process.execPath,
          [join(ROOT, "bin/sluice.js"), ...(command ? [command] : []), "--help"],
          { encoding: "utf8" },
        );
      help.set(command, known);
      return known;
    };
    const grammar = new Set([...helpOf("").matchAll(/^ {2}sluice (\w+)/gm)].map(([, name]) => name));
    const named = [...commands(), ...documented()];
    assert.ok(named.length > 100);
    for (const { file, command } of named) {
      const [, by = "", name = "", rest = ""] = /^(npm run|npx sluice) (\S+)(.*)$/.exec(command) ?? [];
      // What was asked, or an option alone.
      if (/^[<-]/.test(name)) continue;
      const script: string | undefined = scripts[name];
      if (by === "npm run") {
        assert.ok(script ?? name === "docs", `${command}, in ${file}: no script`);
        // One for working on Sluice itself.
        if (!script?.startsWith("node bin/sluice.js ")) continue;
      }
      assert.ok(grammar.has(name), `${command}, in ${file}: no command`);
      // The CLI's own words.
      if (name === "pulumi") continue;
      if (by === "npm run" && rest.trim())
        assert.match(rest, /^ -- /, `${command}, in ${file}: npm would take it`);
      for (const [option] of rest.matchAll(/--[a-z][a-z-]*/g))
        assert.ok(helpOf(name).includes(option), `${command}, in ${file}: no option ${option}`);
    }
  });
});
