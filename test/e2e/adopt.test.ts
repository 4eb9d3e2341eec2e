import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { findPulumi } from "../../automation/toolchain/find";
import { get } from "../support/driver";
import { freePorts, setPort } from "../support/project";

const ROOT = join(__dirname, "..", "..");
const run = promisify(execFile);

// As a team meets it: the package that is published, installed in a directory that is none of ours.
describe("the package in a repository of its own", function () {
  this.timeout(300_000);
  let parent: string;
  let tarball: string;
  let env: NodeJS.ProcessEnv;
  const started: string[] = [];
  before(async () => {
    parent = mkdtempSync(join(tmpdir(), "sluice adopt ü-"));
    const foreign = Object.entries(process.env).filter(([name]) => !/^(SLUICE_|PULUMI_|npm_)/.test(name));
    const { path } = await findPulumi();
    env = { ...Object.fromEntries(foreign), NO_COLOR: "1", SLUICE_PULUMI: path };
    const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", parent], { cwd: ROOT, env });
    const [packed] = JSON.parse(stdout) as { filename: string; files: { path: string }[] }[];
    tarball = join(parent, packed?.filename ?? "");
    const stray = packed?.files.filter(({ path: file }) => /^(test|\.ci|\.sluice|node_modules)\//.test(file));
    assert.deepEqual(stray, [], "what is published is what is needed");
  });
  after(async () => {
    for (const directory of started)
      await run("npx", ["sluice", "local", "down"], { cwd: directory, env }).catch(() => undefined);
    await run("chmod", ["-R", "u+w", parent]);
    rmSync(parent, { recursive: true, force: true, maxRetries: 3 });
  });

  async function install(name: string): Promise<string> {
    const directory = join(parent, name);
    mkdirSync(directory, { recursive: true });
    await run("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", tarball], {
      cwd: directory,
      env,
    });
    started.push(directory);
    return directory;
  }

  async function ports(directory: string) {
    const free = await freePorts(["dev", "staging", "prod"]);
    for (const [stack, port] of Object.entries(free)) setPort(directory, stack, port);
    return free;
  }

  it("promotes from an empty directory in three commands, and leaves git clean", async () => {
    const directory = await install("empty");
    const { stdout } = await run("npx", ["sluice", "init"], { cwd: directory, env });
    assert.match(stdout, /Ready\. `npm run promote -- staging prod`/);
    const { prod } = await ports(directory);
    const git = (...words: string[]) =>
      run("git", ["-c", "user.name=a", "-c", "user.email=a@b", ...words], { cwd: directory, env });
    await git("init", "-q");
    await git("add", "-A");
    await git("commit", "-qm", "begin");
    const promoted = await run("npm", ["run", "promote", "--", "staging", "prod"], { cwd: directory, env });
    assert.match(promoted.stdout, /prod: promoted/);
    assert.match((await get(prod)).text, /sample 1/);
    assert.equal((await git("status", "--porcelain")).stdout, "");
    const hand = await run("npm", ["run", "pulumi", "--", "preview", "-s", "prod"], { cwd: directory, env });
    assert.match(hand.stdout, /unchanged/);
  });

  it("takes a service of a repository of modules as it is, with a main and a start of its own", async () => {
    const directory = await install("shop");
    const file = join(directory, "package.json");
    const manifest = { ...JSON.parse(readFileSync(file, "utf8")), type: "module", main: "dist/index.js" };
    writeFileSync(file, JSON.stringify(manifest));
    rmSync(join(directory, "package-lock.json"));
    writeFileSync(
      join(directory, "server.js"),
      `import { createServer } from "node:http";
createServer((_, answer) => answer.end("the shop")).listen(process.env.PORT, "127.0.0.1");
`,
    );
    await run("npx", ["sluice", "init", "--name", "shop", "--start", "node server.js", "--health", "/"], {
      cwd: directory,
      env,
    });
    const { staging } = await ports(directory);
    const promoted = await run("npm", ["run", "promote", "--", "dev", "staging"], { cwd: directory, env });
    assert.match(promoted.stdout, /staging: promoted/);
    assert.equal((await get(staging)).text, "the shop");
    const hand = await run("npm", ["run", "pulumi", "--", "preview", "-s", "staging"], {
      cwd: directory,
      env,
    });
    assert.match(hand.stdout, /unchanged/);
  });
});
