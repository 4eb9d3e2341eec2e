import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Handle } from "../../components/handle";
import { providerText } from "../../components/local/provider";
import { run } from "../support/engine";
import { filled, handle, service } from "../support/handle";

const services = [service()];
const declare = (outputs: Handle, failing?: string) =>
  run({ services }, { outputs: { handle: outputs }, ...(failing ? { failing } : {}) });

describe("release", () => {
  it("shows its handle as plain data before it has any child", async () => {
    const { registered } = await declare(handle());
    const [first] = registered;
    assert.equal(`${first?.type} ${first?.name}`, "sluice:index:Release sample");
    assert.deepEqual(first?.inputs.handle.slots, handle().slots);
  });

  it("fills a slot before the route may send it traffic, and takes the route away before it empties one", async () => {
    const order = async (given: Handle) =>
      (await declare(given)).names().filter((name) => name.startsWith("pulumi-nodejs:"));
    const [slot, route] = ["pulumi-nodejs:dynamic/local:Slot", "pulumi-nodejs:dynamic/local:Route"];
    assert.deepEqual(await order(handle()), [
      `${slot} sample-blue`,
      `${route} sample-route`,
      `${slot} sample-green`,
    ]);
    assert.deepEqual(await order(handle({}, "green")), [
      `${slot} sample-green`,
      `${route} sample-route`,
      `${slot} sample-blue`,
    ]);
    const both = await order(handle({ slots: { blue: filled(1), green: filled(2) } }));
    assert.equal(both.at(-1), `${route} sample-route`);
    const none = await order(handle({ live: undefined, slots: {}, split: { blue: 0, green: 0 } }));
    assert.equal(none[0], `${route} sample-route`);
  });

  it("a resource's arguments are the same whenever the handle is", async () => {
    const arguments_ = async () => (await declare(handle())).registered.map((resource) => resource.inputs);
    assert.deepEqual(await arguments_(), await arguments_());
  });

  const full = handle({ slots: { blue: filled(1), green: filled(2) } });
  for (const failing of ["sample-blue", "sample-green", "sample-route"])
    it(`a failure of ${failing} stores no handle, be the slot to be filled or emptied`, async () => {
      for (const given of [full, handle(), handle({}, "green")])
        assert.equal((await declare(given, failing)).stored, undefined);
    });

  it("a hatch changes what the children are created with", async () => {
    const { registered } = await run(
      {
        services,
        transform: { local: { route: (args) => ({ ...args, split: { blue: 50, green: 50 } }) } },
      },
      { outputs: { handle: handle() } },
    );
    const route = registered.find((resource) => resource.name === "sample-route");
    assert.deepEqual(route?.inputs.split, { blue: 50, green: 50 });
  });
});

describe("the provider's text", () => {
  // It is in every state. A change of these hashes updates every live resource, and a refresh runs the old text.
  it("never changes", () => {
    const hash = (kind: "slot" | "route") => createHash("sha256").update(providerText(kind)).digest("hex");
    assert.equal(hash("slot"), "867b342d57e8fd096692bdf8a31b3c8d5583eb3ba0287951738bc3362704e7b8");
    assert.equal(hash("route"), "bc39aaf8c7cea62130f2a288499ba1c6d17366199f5d0bb13f9b13286f712e93");
  });

  it("is the same as a resource's, whatever compiled it", async () => {
    const { registered } = await declare(handle());
    const texts = registered.flatMap((resource) => resource.inputs.__provider ?? []);
    assert.deepEqual(texts, [providerText("slot"), providerText("route"), providerText("slot")]);
  });

  const methods = (cwd: string, env: NodeJS.ProcessEnv) => {
    const code = `${providerText("slot")};console.log(Object.keys(exports.handler()).sort().join())`;
    return execFileSync(process.execPath, ["-e", code], {
      cwd,
      env: { ...process.env, ...env },
      encoding: "utf8",
    });
  };
  const all = "create,delete,diff,read,update\n";
  const repository = join(__dirname, "..", "..");

  it("finds its methods in plain node, from the project, from elsewhere and where Sluice is a dependency", () => {
    assert.equal(methods(repository, { SLUICE_ROOT: "" }), all);
    assert.equal(methods("/", { SLUICE_ROOT: repository }), all);
    const user = mkdtempSync(join(tmpdir(), "sluice-user-"));
    try {
      mkdirSync(join(user, "node_modules"));
      symlinkSync(repository, join(user, "node_modules", "sluice"));
      writeFileSync(join(user, "package.json"), "{}");
      assert.equal(methods(user, { SLUICE_ROOT: "" }), all);
    } finally {
      rmSync(user, { recursive: true });
    }
  });
});
