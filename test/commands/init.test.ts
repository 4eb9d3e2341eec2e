import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { init } from "../../automation/commands/init";
import { ownScripts } from "../support/scripts";

const silent = async (_question: string, byDefault: string) => byDefault;

describe("init", () => {
  let root: string;
  beforeEach(() => {
    root = join(mkdtempSync(join(tmpdir(), "sluice init ü-")), "My Shop");
    mkdirSync(root);
  });
  afterEach(() => rmSync(join(root, ".."), { recursive: true }));

  const put = (path: string, text: string) => writeFileSync(join(root, path), text);
  const read = (path: string) => readFileSync(join(root, path), "utf8");
  const files = () =>
    readdirSync(root, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
      .sort();

  it("makes a project with a sample of an empty directory, that imports the package by its name", async () => {
    const { written, kept } = await init(root, {}, silent);
    assert.deepEqual(kept, []);
    assert.ok(written.includes("stacks/sample/server.js"));
    assert.match(read("Pulumi.yaml"), /^name: my-shop$/m);
    for (const file of ["automation/pipeline.ts", "stacks/index.ts", "stacks/services.ts"])
      assert.doesNotMatch(read(file), /from "\.\.?\/(index|\.\.\/components)|from "\.\.\/components/, file);
    assert.match(read(".gitignore"), /^\.sluice\/$/m);
  });

  it("overwrites nothing, and a second time writes nothing at all", async () => {
    mkdirSync(join(root, "automation"));
    put("automation/pipeline.ts", "// mine\n");
    put("Pulumi.yaml", "name: mine\n");
    put("package.json", '{\n    "name": "shop",\n    "scripts": { "status": "echo mine" }\n}\n');
    put(".gitignore", "dist");
    const first = await init(root, { name: "shop", start: "node server.js", health: "/" }, silent);
    const ours = 'script "status" of package.json; ours is `npx sluice status`';
    assert.deepEqual(first.kept, ["Pulumi.yaml", "automation/pipeline.ts", ours]);
    assert.equal(read("automation/pipeline.ts"), "// mine\n");
    assert.equal(read("Pulumi.yaml"), "name: mine\n");
    const manifest = JSON.parse(read("package.json")) as { name: string; scripts: Record<string, string> };
    assert.equal(manifest.scripts.status, "echo mine");
    assert.equal(manifest.scripts.promote, "sluice promote");
    assert.match(read("package.json"), /^ {4}"name": "shop"/m);
    assert.equal(read(".gitignore"), "dist\n.sluice/\nnode_modules/\n");
    const before = files().map((file) => [file, read(file)]);
    const second = await init(root, { name: "other", start: "x", health: "/" }, silent);
    assert.deepEqual(second.written, []);
    assert.deepEqual(
      files().map((file) => [file, read(file)]),
      before,
    );
  });

  it("is built around the service that is there, asking for what no option says", async () => {
    put("package.json", '{ "name": "shop", "main": "dist/index.js", "scripts": { "start": "node ." } }');
    put("package-lock.json", "{}");
    put("index.js", "");
    const asked: string[] = [];
    await init(root, { health: "/ready" }, async (question, known) => {
      asked.push(question);
      return known;
    });
    assert.equal(asked.length, 2);
    const services = read("stacks/services.ts");
    assert.match(services, /name: "my-shop"/);
    assert.match(services, /start: \["npm","start"\]/);
    assert.match(services, /health: "\/ready"/);
    assert.match(services, /build: \["npm", "ci", "--omit=dev"\]/);
    assert.ok(!files().includes("stacks/sample/server.js"));
    // Pulumi would start what package.json calls main.
    assert.match(read("Pulumi.yaml"), /^main: stacks$/m);
  });

  it("keeps what Pulumi loads CommonJS in a repository of modules", async () => {
    put("package.json", '{ "type": "module" }');
    put("server.js", "");
    await init(root, {}, silent);
    for (const folder of ["automation", "stacks"])
      assert.deepEqual(JSON.parse(read(`${folder}/package.json`)), { type: "commonjs" });
  });

  it("refuses names and paths that can't be, and a package.json that is none, before it writes anything", async () => {
    put("server.js", "");
    for (const answers of [
      { name: "My Shop" },
      { name: "-x" },
      { health: "ready" },
      { directory: "nowhere" },
    ])
      await assert.rejects(init(root, answers, silent), { code: "wrong-use" });
    put("package.json", "{ nonsense");
    await assert.rejects(init(root, {}, silent), { code: "bad-config" });
    assert.deepEqual(files(), ["package.json", "server.js"]);
  });

  it("adds a script for every command that a hint may name", async () => {
    await init(root, {}, silent);
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    for (const name of ownScripts()) assert.ok(scripts[name], name);
  });
});
