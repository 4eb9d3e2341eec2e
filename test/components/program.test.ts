import assert from "node:assert/strict";
import { RunError } from "@pulumi/pulumi/errors";
import { type Handle, MAX_HANDLE_BYTES, type Wanted } from "../../components/handle";
import { type Order, resolveHandle, type Situation } from "../../components/program";
import program from "../../stacks/index";
import { run } from "../support/engine";
import { filled, handle, pin, service } from "../support/handle";

const by = { run: "r1", step: "s1" };

function situation(more: Partial<Situation> = {}): Situation {
  return { stack: "prod", service: service(), config: { force: false }, ...more };
}

/** The order that fills green with artifact 2. */
function order(last: Handle | undefined, more: Partial<Order> = {}): Order {
  const expect = last?.generation ?? 0;
  const { local: _added, ...base } =
    last ?? handle({ live: undefined, slots: {}, split: { blue: 0, green: 0 } });
  const want: Wanted = {
    ...base,
    slots: { ...base.slots, green: { pin: pin(2) } },
    run: by.run,
    by,
    generation: expect + 1,
  };
  return { want, expect, by, ...more };
}

describe("program, without an order", () => {
  it("declares the last handle once more, generation and all, whatever the settings are now", () => {
    const last = handle({ by, previous: filled(3) });
    const config = { force: false, replicas: 4, variables: { LEVEL: "debug" }, pin: pin(9).artifact };
    assert.deepEqual(resolveHandle(situation({ last, config })), last);
  });

  it("declares nothing while a run is open, unless it is forced to", () => {
    const last = handle({ run: "r1" });
    assert.throws(() => resolveHandle(situation({ last })), { code: "run-open" });
    assert.deepEqual(resolveHandle(situation({ last, config: { force: true } })), last);
  });

  it("begins an empty stack with the pin of the configuration: blue, live, 100 %", () => {
    const config = { force: false, pin: pin(1).artifact, replicas: 3 };
    const { slots, live, split, generation, run } = resolveHandle(situation({ config }));
    assert.deepEqual(
      { slots, live, split, run },
      {
        slots: { blue: filled(1, { replicas: 3 }) },
        live: "blue",
        split: { blue: 100, green: 0 },
        run: undefined,
      },
    );
    assert.equal(generation, 1, "a run that planned for an empty stack must see that it is not empty");
  });

  it("never declares an empty stack", () => {
    assert.throws(() => resolveHandle(situation()), { code: "nothing-to-declare" });
  });

  it("refuses a pin that can change", () => {
    const config = { force: false, pin: "dir:stacks/sample" };
    assert.throws(() => resolveHandle(situation({ config })), { code: "malformed-artifact" });
  });

  it("never moves a release to another service or platform", () => {
    const last = handle({ service: "other" });
    assert.throws(() => resolveHandle(situation({ last })), { code: "bad-config" });
    assert.throws(() => resolveHandle(situation({ last: handle({ platform: "cloud" }) })), {
      code: "bad-config",
    });
  });
});

describe("program, with an order", () => {
  it("freezes the settings of the slot that is filled, and leaves the live one's as they are", () => {
    const last = handle({ slots: { blue: filled(1, { replicas: 2 }) } });
    const config = { force: false, replicas: 5 };
    const declared = resolveHandle(situation({ last, order: order(last), config }));
    assert.deepEqual(declared.slots, { blue: filled(1, { replicas: 2 }), green: filled(2, { replicas: 5 }) });
    assert.equal(declared.generation, 8);
    assert.deepEqual(declared.by, by);
  });

  it("takes no handle for generation 0", () => {
    assert.equal(resolveHandle(situation({ order: order(undefined) })).generation, 1);
    assert.throws(() => resolveHandle(situation({ order: { ...order(undefined), expect: 1 } })), {
      code: "world-moved",
    });
  });

  it("goes on at the expected generation and at no other", () => {
    const last = handle();
    for (const expect of [0, 5, 6, 8, 9])
      assert.throws(() => resolveHandle(situation({ last, order: { ...order(last), expect } })), {
        code: "world-moved",
      });
  });

  it("a retry by the very step declares the same again, although the settings have changed since", () => {
    const before = handle();
    const last = resolveHandle(situation({ last: before, order: order(before) }));
    const config = { force: false, replicas: 9 };
    assert.deepEqual(resolveHandle(situation({ last, order: order(before), config })), last);
  });

  it("a retry of another artifact is resolved anew", () => {
    const before = handle();
    const last = resolveHandle(situation({ last: before, order: order(before) }));
    const changed = order(before);
    changed.want.slots.green = { pin: pin(3) };
    const declared = resolveHandle(
      situation({ last, order: changed, config: { force: false, replicas: 9 } }),
    );
    assert.deepEqual(declared.slots.green, filled(3, { replicas: 9 }));
  });

  it("a generation that another step of the run wrote is no retry", () => {
    const before = handle();
    const last = resolveHandle(situation({ last: before, order: order(before) }));
    const other = order(before, { by: { run: by.run, step: "s2" } });
    assert.throws(() => resolveHandle(situation({ last, order: other })), { code: "world-moved" });
  });

  it("stays away from a stack that belongs to another run, even at the expected generation", () => {
    const last = handle({ run: "r0" });
    assert.throws(() => resolveHandle(situation({ last, order: order(last) })), { code: "run-elsewhere" });
  });

  it("declares an empty stack where a run restores one", () => {
    const last = resolveHandle(situation({ order: order(undefined) }));
    const want: Wanted = {
      version: 1,
      platform: "local",
      service: "sample",
      slots: {},
      split: { blue: 0, green: 0 },
      generation: 2,
    };
    const restore = { want, expect: 1, by: { run: by.run, step: "restore" } };
    const declared = resolveHandle(situation({ last, order: restore }));
    assert.deepEqual([declared.slots, declared.live, declared.run], [{}, undefined, undefined]);
  });

  it("never declares what could not be read back", () => {
    const last = handle();
    const bad = order(last);
    bad.want = { ...bad.want, split: { blue: 90, green: 20 } };
    assert.throws(() => resolveHandle(situation({ last, order: bad })), { code: "handle-unreadable" });
  });
});

describe("program, in an engine", () => {
  const last = handle();
  const services = [service()];

  it("hands out what will be declared before it declares it, with the platform's fields", async () => {
    let resolved: Handle | undefined;
    const { stored } = await run(
      { services, order: order(last), onResolved: (found) => (resolved = found) },
      { outputs: { handle: last } },
    );
    assert.deepEqual(stored, resolved);
    assert.deepEqual(resolved?.local, {
      directory: "/project/.sluice/local",
      name: "sample.prod",
      url: "http://127.0.0.1:4300",
    });
  });

  it("a port that is changed by hand changes where the service is reached, and not the release", async () => {
    const { stored } = await run(
      { services },
      { outputs: { handle: last }, config: { "sluice:port": "4999" } },
    );
    assert.deepEqual(stored, { ...last, local: { ...stored?.local, url: "http://127.0.0.1:4999" } });
  });

  it("refuses a handle that is secret or that does not parse", async () => {
    for (const engine of [
      { outputs: { handle: last }, secret: ["handle"] },
      { outputs: { handle: { ...last, generation: "seven" } } },
      { outputs: { handle: "nothing" } },
      { outputs: { handle: { ...last, token: "hunter2" } } },
    ]) {
      const { thrown, names } = await run({ services }, engine);
      assert.equal((thrown as { code?: string }).code, "handle-unreadable");
      assert.doesNotMatch(String(thrown), /hunter2/);
      assert.deepEqual(names(), []);
    }
  });

  it("registers nothing where it refuses", async () => {
    const cases: [string, Parameters<typeof run>][] = [
      ["nothing-to-declare", [{ services }, {}]],
      ["run-open", [{ services }, { outputs: { handle: handle({ run: "r9" }) } }]],
      ["run-elsewhere", [{ services, order: order(last) }, { outputs: { handle: handle({ run: "r9" }) } }]],
      ["world-moved", [{ services, order: order(last) }, { outputs: { handle: handle({ generation: 9 }) } }]],
      ["bad-config", [{ services }, { outputs: { handle: last }, config: {} }]],
    ];
    for (const [code, given] of cases) {
      const { thrown, names } = await run(...given);
      assert.equal((thrown as { code?: string }).code, code);
      assert.deepEqual(names(), []);
    }
  });

  it("keeps a handle under 64 KiB", async () => {
    const variables = { BIG: "x".repeat(MAX_HANDLE_BYTES) };
    const { thrown, names } = await run(
      { services: [service({ variables })], order: order(last) },
      { outputs: { handle: last } },
    );
    assert.equal((thrown as { code?: string }).code, "handle-too-large");
    assert.deepEqual(names(), []);
  });

  it("refuses secrets in the configuration, and a configuration that is wrong, without showing values", async () => {
    const port = { "sluice:port": "4300" };
    for (const engine of [
      { config: { ...port, "sluice:variables": '{"TOKEN":"hunter2"}' }, secretKeys: ["sluice:variables"] },
      { config: { ...port, "sluice:variables": "hunter2" } },
      { config: { ...port, "sluice:replicas": "0" } },
      { config: { "sluice:port": "hunter2" } },
    ]) {
      const { thrown } = await run({ services }, { outputs: { handle: last }, ...engine });
      assert.equal((thrown as { code?: string }).code, "bad-config");
      assert.doesNotMatch(String(thrown), /hunter2/);
    }
  });

  it("reads variables as texts, whatever YAML made of them", async () => {
    const config = { "sluice:port": "4300", "sluice:variables": '{"LEVEL":3,"ON":true}' };
    const { stored } = await run({ services, order: order(last) }, { outputs: { handle: last }, config });
    assert.deepEqual(stored?.slots.green?.settings.variables, { LEVEL: "3", ON: "true" });
  });

  it("finds the service of a stack by its name or its configuration, where there are several", async () => {
    const several = [service({ name: "api" }), service({ name: "web" })];
    const outputs = { handle: handle({ service: "web" }) };
    const named = await run({ services: several }, { stack: "web.prod", outputs });
    assert.equal(named.stored?.local?.name, "web.prod");
    const config = { "sluice:port": "4300", "sluice:service": "web" };
    const configured = await run({ services: several }, { stack: "prod", outputs, config });
    assert.equal(configured.stored?.local?.name, "web.prod");
    for (const wrong of [{ "sluice:port": "4300" }, { "sluice:port": "4300", "sluice:service": "none" }]) {
      const { thrown } = await run({ services: several }, { stack: "prod", outputs, config: wrong });
      assert.equal((thrown as { code?: string }).code, "bad-config");
    }
  });

  it("a refusal reaches the CLI as a message alone: its stack would be inspected for up to a minute", async () => {
    await run({ services }, {});
    await assert.rejects(program(), (thrown: Error) => {
      assert.ok(RunError.isInstance(thrown));
      assert.match(thrown.message, /^nothing-to-declare: .*\n.*promote/);
      assert.equal(thrown.stack, "");
      return true;
    });
  });

  it("any other failure keeps its stack, without the frames that Node can't colour", async () => {
    const broken = Object.assign(new Error("broken"), {
      stack:
        "Error: broken\n    at a (/p/node_modules/@pulumi/resource.ts:1598:22)\n    at b (/p/stacks/services.ts:1:1)",
    });
    const map = () => {
      throw broken;
    };
    const { thrown } = await run({ services: { map } as never });
    assert.equal((thrown as Error).stack, "Error: broken\n    at b (/p/stacks/services.ts:1:1)");
  });
});
