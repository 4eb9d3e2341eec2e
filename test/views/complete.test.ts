import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NAMES } from "../../automation/analysis/named";
import { createJournal } from "../../automation/engine/journal";
import { runDirectory } from "../../automation/engine/runs";
import { tell } from "../support/story";
import { PLAIN } from "../support/tales";

const ROOT = join(__dirname, "..", "..");
const BIN = join(ROOT, "bin", "sluice.js");
const RUN = "20261124T055217-1a2b3c";

describe("Completion in a shell", function () {
  this.timeout(30_000);
  let root: string;
  let release: string;
  before(async () => {
    root = mkdtempSync(join(tmpdir(), "sluice complete ü-"));
    writeFileSync(join(root, "Pulumi.yaml"), "name: sluice\nruntime: nodejs\n");
    writeFileSync(join(root, "package.json"), "{}");
    mkdirSync(join(root, "automation"));
    symlinkSync(join(ROOT, "node_modules"), join(root, "node_modules"));
    const pipeline = { environments: [{ name: "qa" }, { name: "prod" }], services: [{ name: "web" }] };
    writeFileSync(
      join(root, "automation", "pipeline.ts"),
      `export default ${JSON.stringify(pipeline)} as object;\n`,
    );
    const { plan } = await tell(PLAIN);
    release = plan.release.slice(0, 12);
    const journal = await createJournal(runDirectory(root, "prod", RUN));
    const pins = { t0: { ...plan.pins.t0!, version: "1.2.3" } };
    await journal.append({ type: "run.planned", run: RUN, plan: { ...plan, pins }, actor: "ada" }, 1);
    await journal.close();
  });
  after(() => rmSync(root, { recursive: true, force: true }));

  function offered(words: string[], cwd = root): string[] {
    const args = [BIN, "--get-yargs-completions", "sluice", ...words];
    const { stdout, stderr } = spawnSync(process.execPath, args, {
      cwd,
      encoding: "utf8",
      env: { ...process.env, SHELL: "/bin/bash", ZSH_NAME: "" },
    });
    assert.equal(stderr, "");
    return stdout.split("\n").filter(Boolean);
  }

  it("offers the commands, and the options of each", () => {
    const commands = offered([""]);
    for (const name of ["promote", "status", "rollback", "doctor"]) assert.ok(commands.includes(name), name);
    assert.ok(offered(["promote", "--"]).includes("--dry-run"));
  });

  it("offers the pipeline's environments and services where they may stand", () => {
    assert.deepEqual(offered(["promote", ""]), ["qa", "prod"]);
    assert.deepEqual(offered(["promote", "qa", ""]), ["prod"]);
    assert.deepEqual(offered(["status", "--watch", "p"]), ["prod"]);
    assert.deepEqual(offered(["abort", ""]), ["qa", "prod"]);
    assert.deepEqual(offered(["abort", "qa", ""]), []);
    assert.ok(!offered(["abort", "qa", "--reason", ""]).includes("prod"));
    assert.deepEqual(offered(["promote", "qa", "--service", ""]), ["web"]);
    assert.deepEqual(offered(["local", "logs", ""]), ["web.qa", "web.prod"]);
  });

  it("offers the runs that are known, and the releases they brought", () => {
    assert.deepEqual(offered(["show", "2"]), [RUN]);
    for (const command of ["logs", "explain", "replay"])
      assert.deepEqual(offered([command, ""]), ["qa", "prod", RUN], command);
    assert.deepEqual(offered(["replay", "prod", "--judge", ""]), [...NAMES]);
    assert.ok(!offered(["replay", "prod", "--max", ""]).includes("prod"));
    assert.ok(!offered(["simulate", "--rps", ""]).includes("prod"));
    assert.deepEqual(offered(["rollback", "prod", "--to", ""]), ["1.2.3", release]);
    assert.deepEqual(offered(["rollback", "qa", "--to", ""]), []);
  });

  it("offers what it can outside of a project, and says nothing", () => {
    assert.ok(offered(["pro"], tmpdir()).includes("promote"));
    offered(["promote", ""], tmpdir());
  });

  it("loads no Pulumi SDK", () => {
    const look = join(root, "look.js");
    writeFileSync(
      look,
      `process.on("exit", () => { for (const name of Object.keys(require.cache)) if (/@pulumi.pulumi.(?!typescript)/.test(name)) process.stderr.write(name + "\\n"); });`,
    );
    const { stderr } = spawnSync(
      process.execPath,
      ["--require", look, BIN, "--get-yargs-completions", "sluice", "promote", ""],
      { cwd: ROOT, encoding: "utf8" },
    );
    assert.equal(stderr, "");
  });

  it("works in bash by the script that `sluice completion` prints, and there is one for zsh", () => {
    const script = `sluice() { "${process.execPath}" "${BIN}" "$@"; }
source <(sluice completion)
COMP_WORDS=(sluice promote q); COMP_CWORD=2; _sluice_yargs_completions; echo "\${COMPREPLY[@]}"`;
    const env = { ...process.env, SHELL: "/bin/bash", ZSH_NAME: "" };
    const said = execFileSync("bash", ["-c", script], { cwd: root, encoding: "utf8", env });
    assert.equal(said, "qa\n");
    const zsh = { ...process.env, SHELL: "/bin/zsh" };
    const text = execFileSync(process.execPath, [BIN, "completion"], { encoding: "utf8", env: zsh });
    assert.match(text, /^#compdef sluice/);
  });
});
