import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const ROOT = join(__dirname, "..", "..");
const BIN = join(ROOT, "bin", "sluice.js");

describe("sluice", function () {
  this.timeout(30_000);
  let tree: string;
  before(() => {
    tree = mkdtempSync(join(tmpdir(), "sluice-bin-"));
    cpSync(join(ROOT, "bin"), join(tree, "bin"), { recursive: true });
    cpSync(join(ROOT, "package.json"), join(tree, "package.json"));
    symlinkSync(join(ROOT, "node_modules"), join(tree, "node_modules"));
    mkdirSync(join(tree, "automation", "toolchain"), { recursive: true });
    writeFileSync(join(tree, "automation", "toolchain", "lean.js"), "");
  });
  after(() => rmSync(tree, { recursive: true, force: true }));

  async function sluice(bin: string, args: string[], env: Record<string, string> = {}) {
    const child = spawn(process.execPath, [bin, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, SLUICE_DEBUG: "", ...env },
    });
    const said = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const)
      child[name].setEncoding("utf8").on("data", (text: string) => {
        said[name] += text;
      });
    const [code] = await once(child, "close");
    return { code, ...said };
  }

  /** Runs a command whose `main` does this. */
  function doing(body: string, args: string[], env: Record<string, string> = {}) {
    writeFileSync(
      join(tree, "automation", "cli.ts"),
      `export async function main(): Promise<number> { ${body} }\n`,
    );
    return sluice(join(tree, "bin", "sluice.js"), args, env);
  }

  const never = "setTimeout(() => {}, 60_000); await new Promise(() => {}); return 0;";
  for (const [what, body] of [
    ["is thrown beside the command", `setTimeout(() => { throw new Error("boom\\nmore") }, 0); ${never}`],
    ["is rejected where nobody waits", `void Promise.reject(new Error("boom\\nmore")); ${never}`],
    ["is thrown by the command", `throw new Error("boom\\nmore");`],
  ] as const)
    it(`says what ${what} in a line, and exits with 3`, async () => {
      const { code, stdout, stderr } = await doing(body, ["status"]);
      assert.equal(code, 3, stderr);
      assert.equal(stdout, "");
      const [first, hint, ...rest] = stderr.trimEnd().split("\n");
      assert.equal(first, "unexpected: boom");
      assert.match(hint ?? "", /SLUICE_DEBUG=1/);
      assert.deepEqual(rest, []);
    });

  it("shows where it happened if asked to, and says it to programs too", async () => {
    const { stdout, stderr } = await doing(`throw new Error("boom");`, ["status", "--json"], {
      SLUICE_DEBUG: "1",
    });
    assert.match(stderr, /at .*cli\.ts/);
    const { type, code, message } = JSON.parse(stdout);
    assert.deepEqual([type, code, message], ["error", "unexpected", "boom"]);
  });

  it("says what to do where its dependencies are not installed", async () => {
    const bare = mkdtempSync(join(tmpdir(), "sluice-bare-"));
    try {
      cpSync(join(ROOT, "bin"), join(bare, "bin"), { recursive: true });
      for (const args of [["status"], ["pulumi", "version"]]) {
        const { code, stderr } = await sluice(join(bare, "bin", "sluice.js"), args);
        assert.equal(code, 2, stderr);
        assert.match(stderr, /^unexpected: Cannot find .+\n {2}Run `npm ci` first\.\n$/);
      }
    } finally {
      rmSync(bare, { recursive: true, force: true });
    }
  });

  it("goes on although whoever read what it says has gone", async () => {
    const body = `for (let i = 0; i < 5; i++) { process.stdout.write("line\\n"); await new Promise((r) => setTimeout(r, 20)); } return 75;`;
    writeFileSync(join(tree, "automation", "cli.ts"), `export async function main() { ${body} }\n`);
    const child = spawn(process.execPath, [join(tree, "bin", "sluice.js"), "status"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    child.stdout.destroy();
    assert.deepEqual(await once(child, "exit"), [75, null]);
  });

  for (const args of [[], ["histry"], ["abort"], ["status", "--colour"], ["history", "--limit"]])
    it(`calls \`${["sluice", ...args].join(" ")}\` wrong use, for people and for programs`, async () => {
      const { code, stdout, stderr } = await sluice(BIN, args);
      assert.equal(code, 2);
      assert.equal(stdout, "");
      assert.match(stderr, /^wrong-use: .+\n {2}\S.+$/m);
      const json = await sluice(BIN, ["--json", ...args]);
      assert.equal(json.code, 2);
      const { type, code: name, message, hint } = JSON.parse(json.stdout);
      assert.deepEqual([type, name], ["error", "wrong-use"]);
      assert.ok(message && hint);
    });

  it("has an example for every command, in the list and in its own help", async () => {
    const { stdout } = await sluice(BIN, ["--help"]);
    const commands = [...stdout.matchAll(/^ {2}sluice (\w+) [[<]|^ {2}sluice (\w+) {2}/gm)].flatMap(
      ([, a, b]) => a ?? b ?? [],
    );
    const listed = new Set(commands);
    assert.ok(listed.size >= 9, [...listed].join());
    const examples = stdout.slice(stdout.indexOf("Examples:"));
    for (const command of listed) {
      assert.match(examples, new RegExp(`^ {2}sluice ${command} `, "m"));
      // The CLI's own help, the platform's words and the shell's script speak for themselves.
      if (["pulumi", "local", "completion"].includes(command)) continue;
      const own = await sluice(BIN, [command, "--help"]);
      assert.match(own.stdout, new RegExp(`Examples:\\n {2}sluice ${command} `), command);
    }
  });
});
