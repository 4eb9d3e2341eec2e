import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const ROOT = join(__dirname, "..");
const BIOME = join(ROOT, "node_modules", ".bin", "biome");

/** What the linter says of a file that would hold this import: in a tree of its own, under our rules. */
function lint(file: string, from: string): string {
  const tree = mkdtempSync(join(tmpdir(), "sluice-rules-"));
  try {
    copyFileSync(join(ROOT, "biome.json"), join(tree, "biome.json"));
    mkdirSync(dirname(join(tree, file)), { recursive: true });
    writeFileSync(join(tree, file), `import { y } from "${from}";\n\nexport const x = y;\n`);
    const args = ["lint", "--colors=off", "--vcs-enabled=false", "--only=style/noRestrictedImports", file];
    const { stdout, stderr } = spawnSync(BIOME, args, { cwd: tree, encoding: "utf8" });
    assert.match(stdout + stderr, /Checked 1 file/);
    return stdout + stderr;
  } finally {
    rmSync(tree, { recursive: true, force: true });
  }
}

describe("the import rules", function () {
  this.timeout(60_000);
  for (const [file, from] of [
    ["automation/core/new.ts", "node:fs"],
    ["automation/core/new.ts", "../engine/drive"],
    ["automation/core/new.ts", "@pulumi/pulumi/automation"],
    ["automation/analysis/new.ts", "../engine/drive"],
    ["automation/analysis/new.ts", "node:http"],
    ["automation/engine/new.ts", "@pulumi/pulumi/automation"],
    ["components/new.ts", "../automation/engine/drive"],
    ["components/local/new.ts", "sluice"],
    ["stacks/new.ts", "../automation/engine/drive"],
  ] as const)
    it(`refuse ${from} in ${file}`, () => {
      assert.match(lint(file, from), /noRestrictedImports/);
    });

  it("let through what is meant to be", () => {
    for (const [file, from] of [
      ["automation/core/new.ts", "node:crypto"],
      ["automation/core/new.ts", "../../components/handle"],
      ["automation/engine/stack.ts", "@pulumi/pulumi/automation"],
      ["automation/engine/new.ts", "../core/decide"],
    ] as const)
      assert.doesNotMatch(
        lint(file, `import { y } from "${from}";`),
        /noRestrictedImports/,
        `${from} in ${file}`,
      );
  });
});

describe("the package", () => {
  const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));

  it("gives `pulumi up` the program, and Node the library", () => {
    // The SDK takes exports["."] before main, and of its conditions `default`; Node takes `node`.
    assert.equal(manifest.main, "stacks/index.ts");
    assert.equal(manifest.exports["."].default, "./stacks/index.ts");
    assert.equal(manifest.exports["."].node, "./automation/index.ts");
  });

  it("names no registry, neither in the lock file nor elsewhere", () => {
    const lock = readFileSync(join(ROOT, "package-lock.json"), "utf8");
    assert.doesNotMatch(lock, /"resolved"/);
  });

  it("is typed, linted, formatted and free of unused code", function () {
    this.timeout(180_000);
    const run = (command: string, ...args: string[]) =>
      execFileSync(join(ROOT, "node_modules", ".bin", command), args, {
        cwd: ROOT,
        encoding: "utf8",
        stdio: "pipe",
      });
    try {
      run("tsc");
      run("biome", "ci", "--colors=off", "--error-on-warnings", ".");
      run("knip", "--no-config-hints");
    } catch (e) {
      const { stdout, stderr } = e as { stdout: string; stderr: string };
      assert.fail(`${stdout}${stderr}`);
    }
  });
});
