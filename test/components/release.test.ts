import assert from "node:assert/strict";
import { createHash } from "node:crypto";
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

  for (const failing of ["sample-blue", "sample-green", "sample-route"])
    it(`a failure of ${failing} stores no handle`, async () => {
      const { stored } = await declare(handle({ slots: { blue: filled(1), green: filled(2) } }), failing);
      assert.equal(stored, undefined);
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
    assert.equal(hash("route"), "");
  });
});
