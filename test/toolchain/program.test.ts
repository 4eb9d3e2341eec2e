import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { pulumiEnvironment } from "../../automation/toolchain/environment";
import { findPulumi, type Toolchain } from "../../automation/toolchain/find";
import { withToolchain } from "../../automation/toolchain/pulumi";

// Longest wait in ms for what takes 3 s on an idle machine.
const PATIENCE = 40_000;

const PROGRAM = `
import { writeFileSync } from "node:fs";
import * as pulumi from "@pulumi/pulumi";

const provider: pulumi.dynamic.ResourceProvider = {
  async create(inputs) {
    if (inputs.value === "slow") {
      require("node:fs").writeFileSync(inputs.mark, "creating");
      await new Promise((done) => setTimeout(done, 600_000));
    }
    return { id: "x", outs: inputs };
  },
  async update(_id, _olds, news) {
    return { outs: news };
  },
};
class Thing extends pulumi.dynamic.Resource {
  declare readonly value: pulumi.Output<string>;
  constructor(name: string, args: { value: string; mark: string }) {
    super(provider, name, args);
  }
}
const value: string = process.env.VALUE ?? "good";
const mark: string = process.env.MARK ?? "";
if (value === "throw") throw new Error("it went wrong");
if (value === "hang") {
  writeFileSync(mark, "hanging");
  setInterval(() => {}, 1000);
}
if (process.execArgv.filter((argument) => argument === "--title").length !== 1) throw new Error("no nodeargs");
export const result = new Thing(value === "slow" ? "slow" : "thing", { value, mark }).value;
export const configured = new pulumi.Config().require("key");
`;

const PACK = `
import { PolicyPack } from "@pulumi/policy";
const enforcementLevel: "mandatory" = "mandatory";
new PolicyPack("tiny", {
  policies: [{
    name: "no-bad-value", description: "A value may not be bad.", enforcementLevel,
    validateResource: (args, report) => { if (args.props.value === "bad") report("the value is bad"); },
  }],
});
`;

describe("a TypeScript program under a Pulumi CLI without a language host", function () {
  // A CLI run takes 2 s on an idle machine, and the CLI itself has to be there first.
  this.timeout(90_000);
  let home: string;
  let root: string;
  let toolchain: Toolchain;
  let env: Record<string, string>;

  before(async function () {
    this.timeout(0);
    home = mkdtempSync(join(tmpdir(), "sluice program ü-"));
    // The shims must work wherever they lie, under a directory of modules too.
    writeFileSync(join(home, "package.json"), '{ "type": "module" }');
    const bare = join(home, "bare", "pulumi");
    mkdirSync(dirname(bare));
    const { path } = await findPulumi({ progress: console.log });
    try {
      linkSync(path, bare);
    } catch {
      copyFileSync(path, bare);
    }
    toolchain = await findPulumi({
      env: { ...process.env, SLUICE_PULUMI: bare, XDG_CACHE_HOME: join(home, "cache") },
    });

    root = join(home, "project");
    mkdirSync(join(root, "stacks"), { recursive: true });
    mkdirSync(join(root, "pack"));
    const repository = join(__dirname, "..", "..");
    symlinkSync(join(repository, "node_modules"), join(root, "node_modules"));
    const write = (file: string, text: string) => writeFileSync(join(root, file), text);
    const yaml = readFileSync(join(repository, "Pulumi.yaml"), "utf8");
    write("Pulumi.yaml", yaml.replace("--import tsx", "--import tsx --title 'a b'"));
    write("package.json", '{ "name": "tiny", "private": true, "main": "index.ts" }');
    write("index.ts", PROGRAM);
    write("stacks/Pulumi.staging.yaml", "config:\n  sluice:key: some value\n");
    write("pack/PulumiPolicy.yaml", "runtime: nodejs\nmain: index.js\n");
    write("pack/package.json", '{ "name": "tiny-pack", "version": "0.0.1", "private": true }');
    write("pack/index.js", 'require("tsx/cjs");\nrequire("./rules.ts");\n');
    write("pack/rules.ts", PACK);

    env = withToolchain(
      // Another Pulumi's language host on PATH must not be the one that runs.
      {
        ...pulumiEnvironment(root).env,
        PATH: `${decoy(home)}:${process.env.PATH}`,
        MARK: join(home, "mark"),
      },
      toolchain,
    );
    assert.equal((await pulumi(["stack", "init", "staging"])).code, 0);
  });
  after(() => {
    rmSync(home, { recursive: true, force: true });
  });

  function start(args: string[], more: Record<string, string> = {}): ChildProcess {
    const stdio: ["ignore", "pipe", "pipe"] = ["ignore", "pipe", "pipe"];
    return spawn(toolchain.path, [...args, "--non-interactive"], {
      cwd: root,
      env: { ...env, ...more },
      stdio,
    });
  }
  async function ended(child: ChildProcess): Promise<{ code: number | null; text: string }> {
    let text = "";
    for (const stream of [child.stdout, child.stderr]) stream?.on("data", (part) => (text += part));
    const [code] = await once(child, "close");
    return { code, text };
  }
  const pulumi = (args: string[], more?: Record<string, string>) => ended(start(args, more));
  const UP = ["up", "--yes", "-s", "staging", "--skip-preview"];

  it("goes up, is looked at by a policy pack, is refused by it, and goes down, without a warning", async () => {
    const up = await pulumi(UP);
    assert.equal(up.code, 0, up.text);
    assert.match(up.text, /result\s*: "good"/);
    assert.match(up.text, /configured\s*: "some value"/);
    const preview = await pulumi(["preview", "-s", "staging", "--policy-pack", "pack"]);
    assert.equal(preview.code, 0, preview.text);
    assert.match(preview.text, /tiny@v0\.0\.1/);
    const refused = await pulumi([...UP, "--policy-pack", "pack"], { VALUE: "bad" });
    assert.notEqual(refused.code, 0);
    assert.match(refused.text, /\[mandatory\]\s+no-bad-value/);
    const down = await pulumi(["destroy", "--yes", "-s", "staging"]);
    assert.equal(down.code, 0, down.text);
    for (const { text } of [up, preview, refused, down]) assert.doesNotMatch(text, /warning/i);
  });

  it("that throws is told once, without a word of the machinery", async () => {
    const thrown = await pulumi(["preview", "-s", "staging"], { VALUE: "throw" });
    assert.notEqual(thrown.code, 0);
    assert.equal(thrown.text.match(/Error: it went wrong/g)?.length, 1, thrown.text);
    assert.doesNotMatch(thrown.text, /exit code|warning/i);
  });

  for (const [what, value] of [
    ["a program", "hang"],
    ["a dynamic provider", "slow"],
  ] as const) {
    it(`leaves no process when the CLI gets Ctrl-C while ${what} is busy`, async () => {
      const { cli, end } = await busy(value);
      cli.kill("SIGINT");
      if (value === "slow") {
        // The engine lets a provider finish what it began, unless told twice.
        await once(cli.stdout!, "data");
        cli.kill("SIGINT");
      }
      assert.notEqual((await end).code, 0);
      await quiet(home);
    });

    it(`leaves no process when the CLI is killed while ${what} is busy`, async () => {
      const { cli, end } = await busy(value);
      cli.kill("SIGKILL");
      await end;
      await quiet(home);
    });
  }

  /** Starts an update and waits until the program or provider says that it is in the middle of it. */
  async function busy(value: string) {
    await pulumi(["cancel", "--yes", "-s", "staging"]);
    rmSync(env.MARK!, { force: true });
    const cli = start(UP, { VALUE: value });
    const end = ended(cli);
    for (const late = Date.now() + PATIENCE; !existsSync(env.MARK!); ) {
      if (Date.now() > late) cli.kill("SIGKILL");
      if (cli.signalCode !== null || cli.exitCode !== null) assert.fail((await end).text);
      await delay(20);
    }
    return { cli, end };
  }
});

describe("npm run pulumi", function () {
  this.timeout(90_000);
  let root: string;
  let groups: number[] = [];
  beforeEach(() => {
    groups = [];
    root = mkdtempSync(join(tmpdir(), "sluice run-"));
    writeFileSync(
      join(root, "Pulumi.yaml"),
      "name: x\nruntime: nodejs\nbackend:\n  url: file://.sluice/backend\n",
    );
  });
  afterEach(() => {
    for (const group of groups) {
      try {
        process.kill(-group, "SIGKILL");
      } catch {
        // It ended by itself, as it should.
      }
    }
    rmSync(root, { recursive: true, force: true });
  });

  function run(script: string, ...args: string[]): ChildProcess {
    const cli = join(root, "pulumi");
    writeFileSync(cli, `#!/bin/sh\n[ "$1" = version ] && echo v3.245.0 && exit\n${script}\n`, {
      mode: 0o700,
    });
    return spawn(
      process.execPath,
      ["--import", "tsx", join(__dirname, "children", "pulumi.ts"), root, ...args],
      {
        env: { ...process.env, SLUICE_PULUMI: cli, XDG_CACHE_HOME: join(root, "cache") },
        stdio: ["ignore", "pipe", "inherit"],
        detached: true,
      },
    );
  }

  it("runs the CLI in the project's root and environment and ends with its exit code", async () => {
    const child = run(
      'echo "$PWD|$PULUMI_BACKEND_URL|$PULUMI_CONFIG_PASSPHRASE|$PATH|$*"; exit 5',
      "up",
      "a b",
    );
    let text = "";
    child.stdout!.on("data", (part) => (text += part));
    const [code] = await once(child, "close");
    assert.equal(code, 5);
    const [pwd, backend, passphrase, path, args] = text.trim().split("|");
    assert.deepEqual([pwd, passphrase, args], [root, "", "up a b"]);
    assert.match(backend!, /^file:\/\/\/.*sluice%20run-.*\/\.sluice\/backend$/);
    assert.equal(path!.split(":")[0], root);
  });

  it("waits on Ctrl-C until the CLI has ended what it began", async () => {
    const child = run("trap 'echo ending; exit 7' INT\necho ready\nwhile :; do sleep 0.05; done");
    await once(child.stdout!, "data");
    // What a terminal does: the signal goes to every process of the foreground group.
    process.kill(-child.pid!, "SIGINT");
    assert.deepEqual(await once(child, "close"), [7, null]);
  });

  it("passes SIGTERM on, which only it gets", async () => {
    const child = run("trap 'exit 8' TERM\necho ready\nwhile :; do sleep 0.05; done");
    await once(child.stdout!, "data");
    child.kill("SIGTERM");
    assert.deepEqual(await once(child, "close"), [8, null]);
  });
});

/** A directory with a language host that fails. */
function decoy(home: string): string {
  const directory = join(home, "decoy");
  mkdirSync(directory);
  writeFileSync(join(directory, "pulumi-language-nodejs"), "#!/bin/sh\nexit 1\n", { mode: 0o700 });
  return directory;
}

/** Resolves once no process has the directory on its command line. */
async function quiet(directory: string): Promise<void> {
  for (const late = Date.now() + PATIENCE; processes().some((line) => line.includes(directory)); ) {
    if (Date.now() > late)
      assert.fail(`still there: ${processes().filter((line) => line.includes(directory))}`);
    await delay(20);
  }
}

function processes(): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8");
      } catch {
        return "";
      }
    });
}
