import assert from "node:assert/strict";
import { copyFileSync, cpSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { edit, get, handleOf, journalOf, quicken } from "../support/driver";
import { freePorts, type Project, project, setPort } from "../support/project";

describe("two services that travel as one release", function () {
  this.timeout(240_000);
  let p: Project;
  let ports: Record<string, number>;
  before(async () => {
    p = await project();
    const stacks = join(p.root, "stacks");
    cpSync(join(stacks, "sample"), join(stacks, "shop"), { recursive: true });
    const file = join(stacks, "services.ts");
    const one = readFileSync(file, "utf8");
    const entry = /\{\s*name: "sample"[\s\S]*?\n {2}\},/.exec(one)?.[0] ?? "";
    const two = entry.replace('"sample"', '"shop"').replace("stacks/sample", "stacks/shop");
    writeFileSync(file, one.replace(entry, `${entry}\n  ${two}`));
    const names = ["dev", "staging", "prod"].flatMap((e) => [`sample.${e}`, `shop.${e}`]);
    ports = await freePorts(names);
    for (const name of names) {
      const environment = name.split(".")[1] ?? "";
      copyFileSync(join(stacks, `Pulumi.${environment}.yaml`), join(stacks, `Pulumi.${name}.yaml`));
      setPort(p.root, name, ports[name] ?? 0);
    }
    renameSync(join(stacks, "Pulumi.dev.yaml"), join(stacks, "dev.yaml"));
    quicken(p);
  });
  after(() => p?.dispose());
  const text = async (name: string) => (await get(ports[name] ?? 0)).text;

  it("come up together, and settle only when both can no longer fail", async () => {
    const { code, stdout, stderr } = await p.sluice(["promote", "staging", "prod"]);
    assert.equal(code, 0, stdout + stderr);
    for (const name of ["sample.prod", "shop.prod"]) assert.match(await text(name), /sample 1/);
    const [a, b] = [await handleOf(p, "sample.prod"), await handleOf(p, "shop.prod")];
    assert.equal(a?.proved?.release, b?.proved?.release);
    const order = journalOf(p, "prod").flatMap((e) => (e.type === "step.started" ? [e.step] : []));
    const settles = order.map((id, i) => [id, i] as const).filter(([id]) => id.endsWith("settle"));
    const last = Math.max(...order.map((id, i) => (id.endsWith("verify-live") ? i : -1)));
    assert.equal(settles.length, 2);
    assert.ok(settles.every(([, i]) => i > last));
  });

  it("are one release still when only one of them changed", async () => {
    edit(p, "2");
    const { code, stdout, stderr } = await p.sluice(["promote", "staging", "prod", "--build"]);
    assert.equal(code, 0, stdout + stderr);
    assert.match(await text("sample.prod"), /sample 2/);
    assert.match(await text("shop.prod"), /sample 1/);
  });

  it("come back together when one of them fails", async () => {
    edit(p, "3", 0.3);
    const shop = join(p.root, "stacks", "shop", "server.js");
    writeFileSync(shop, readFileSync(shop, "utf8").replace(/VERSION = ".*?"/, 'VERSION = "3"'));
    const { code, stdout, stderr } = await p.sluice(["promote", "staging", "prod", "--build"]);
    assert.equal(code, 1, stdout + stderr);
    assert.match(await text("sample.prod"), /sample 2/);
    assert.match(await text("shop.prod"), /sample 1/);
  });
});
