import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Act, PlanTarget } from "../../automation/core/model";
import { restored, wanted } from "../../automation/core/wanted";
import type { Handle, Wanted } from "../../components/handle";
import { storeArtifact } from "../../components/local/artifact";
import { connect } from "../../components/local/client";
import { stateDirectory } from "../../components/local/release";
import type { Order } from "../../components/program";
import { type Project, project } from "../support/project";
import { expect0, type Stacks, stacksOf } from "../support/stacks";

const RELEASE = "f".repeat(64);

describe("a stack, with the real CLI and a real supervisor", function () {
  this.timeout(120_000);
  let made: Project;
  let stacks: Stacks;
  let artifacts: { one: string; two: string };
  let client: Awaited<ReturnType<typeof connect>>;

  before(async () => {
    made = await project();
    stacks = stacksOf(made);
    const source = join(made.root, "stacks", "sample", "server.js");
    const text = readFileSync(source, "utf8");
    const store = async (version: number) => {
      writeFileSync(source, text.replace(/VERSION = ".*"/, `VERSION = "${version}"`));
      return (await storeArtifact({ directory: "stacks/sample" }, { root: made.root })).artifact;
    };
    artifacts = { one: await store(1), two: await store(2) };
  });
  after(async () => {
    client?.close();
    await made?.dispose();
  });

  const ask = async (stack: string) =>
    (await (await fetch(`http://127.0.0.1:${made.ports[stack]}/`)).text()).trim();
  const world = async (stack: string) => {
    client ??= await connect(stateDirectory(made.root), { start: false });
    return client.service(`sample.${stack}`);
  };
  const target = (stack: string, base: Handle | undefined): PlanTarget => ({
    key: stack,
    service: "sample",
    mode: "slots",
    platform: "local",
    from: base?.live,
    to: base?.live === "blue" ? "green" : "blue",
    base,
    pin: { artifact: artifacts.two },
  });
  const orderOf = (
    stack: string,
    run: string,
    base: Handle | undefined,
    now: Handle | undefined,
    act: Act,
  ): Order => {
    const by = { run, step: act.act };
    const step = { ...act, id: act.act, target: stack, needs: [] };
    const want = wanted(now, target(stack, base), step, { by, at: 0, release: RELEASE });
    return { want: want as Wanted, expect: now?.generation ?? 0, by };
  };
  const act = async (
    stack: string,
    run: string,
    base: Handle | undefined,
    what: Act,
    args: string[] = [],
  ) => {
    const now = await stacks.handle(stack);
    expect0(await stacks.up(stack, { order: orderOf(stack, run, base, now, what), args }));
    return stacks.handle(stack) as Promise<Handle>;
  };

  describe("by hand", () => {
    it("an empty stack is refused, with the code and the next command", async () => {
      await stacks.init("prod");
      const { code, stdout } = await stacks.up("prod");
      assert.notEqual(code, 0);
      assert.match(stdout, /nothing-to-declare: .*\n.*npm run promote/);
      assert.doesNotMatch(stdout, /unhandled exception|node_modules/);
    });

    it("a pin begins it, live at once, and a second up changes nothing", async () => {
      stacks.set("prod", "pin", artifacts.one);
      expect0(await stacks.up("prod"));
      assert.equal(await ask("prod"), "sample 1");
      const first = await stacks.handle("prod");
      assert.match(expect0(await stacks.up("prod", { args: ["--expect-no-changes"] })), /unchanged/);
      assert.deepEqual(await stacks.handle("prod"), first);
      assert.equal(first?.generation, 1);
    });

    it("the release stays whatever the pin, the settings and the source are now", async () => {
      const before = await stacks.handle("prod");
      stacks.set("prod", "pin", artifacts.two);
      stacks.set("prod", "replicas", "3");
      expect0(await stacks.up("prod", { args: ["--expect-no-changes"] }));
      assert.deepEqual(await stacks.handle("prod"), before);
      stacks.set("prod", "replicas", undefined);
      stacks.set("prod", "pin", undefined);
    });

    it("a stack's file stays as it is committed", async () => {
      const file = (stack: string) => readFileSync(join(made.root, "stacks", `Pulumi.${stack}.yaml`), "utf8");
      const before = file("dev");
      await stacks.init("dev");
      await stacks.up("dev");
      assert.equal(file("dev"), before);
      assert.match(file("prod"), /^config:\n {2}sluice:port: "\d+"\nencryptionsalt: .*\n$/);
    });

    it("drift shows in a refresh, and an up after it puts it back", async () => {
      await world("prod");
      await client.remove("sample.prod");
      expect0(await stacks.up("prod", { args: ["--refresh"] }));
      assert.equal(await ask("prod"), "sample 1");
      expect0(await stacks.up("prod", { args: ["--refresh", "--expect-no-changes"] }));
    });
  });

  describe("in a run", () => {
    let base: Handle;
    before(async () => {
      base = (await stacks.handle("prod")) as Handle;
    });

    it("deploy fills the idle slot for the run whose fence it has, and leaves the traffic alone", async () => {
      const handle = await act("prod", "r1", base, { act: "deploy", pin: { artifact: artifacts.two } });
      assert.deepEqual([handle.generation, handle.run, handle.live], [2, "r1", "blue"]);
      const status = await world("prod");
      assert.deepEqual([status?.slots.green.state, status?.split.green], ["ready", 0]);
      assert.deepEqual([status?.fence, status?.run], [1, "r1"]);
      assert.equal(await ask("prod"), "sample 1");
    });

    it("a retry of the same step changes nothing, another expectation is refused", async () => {
      const now = await stacks.handle("prod");
      const order = orderOf("prod", "r1", base, base, { act: "deploy", pin: { artifact: artifacts.two } });
      expect0(await stacks.up("prod", { order, args: ["--expect-no-changes"] }));
      assert.deepEqual(await stacks.handle("prod"), now);
      const { stdout } = await stacks.up("prod", { order: { ...order, expect: 0 } });
      assert.match(stdout, /world-moved/);
    });

    it("a bare up changes nothing and is refused, and so is another run", async () => {
      const before = await stacks.handle("prod");
      const bare = await stacks.up("prod");
      assert.notEqual(bare.code, 0);
      assert.match(bare.stdout, /run-open: Run r1/);
      const other = orderOf("prod", "r2", base, before, { act: "shift", to: 50 });
      assert.match((await stacks.up("prod", { order: other, token: 2 })).stdout, /run-elsewhere/);
      assert.deepEqual(await stacks.handle("prod"), before);
      stacks.set("prod", "force", "true");
      expect0(await stacks.up("prod"));
      stacks.set("prod", "force", undefined);
    });

    it("traffic that was diverted comes back with a refresh and the same step", async () => {
      await act("prod", "r1", base, { act: "shift", to: 50 });
      assert.deepEqual((await world("prod"))?.split, { blue: 50, green: 50 });
      await client.route("sample.prod", { split: { blue: 100, green: 0 }, fence: { run: "r1", token: 1 } });
      const { stdout } = await made.pulumi(["refresh", "--yes", "-s", "prod"]);
      assert.match(stdout, /Route sample-route .*updated/);
      await act("prod", "r1", base, { act: "shift", to: 50 });
      assert.deepEqual((await world("prod"))?.split, { blue: 50, green: 50 });
    });

    it("a restore without a divert takes the traffic away before it empties the slot", async () => {
      const now = (await stacks.handle("prod")) as Handle;
      const by = { run: "r1", step: "restore" };
      const order = { want: restored(now, target("prod", base), by), expect: now.generation, by };
      expect0(await stacks.up("prod", { order }));
      const handle = await stacks.handle("prod");
      assert.deepEqual(handle, { ...base, generation: now.generation + 1, by });
      const status = await world("prod");
      assert.deepEqual(
        [status?.slots.green.state, status?.split, status?.run],
        ["empty", { blue: 100, green: 0 }, undefined],
      );
    });

    it("a whole promotion ends with the new slot live, the old one empty, and the proof", async () => {
      for (const what of [
        { act: "deploy", pin: { artifact: artifacts.two } },
        { act: "shift", to: 100 },
        { act: "adopt" },
        { act: "settle" },
      ] satisfies Act[]) {
        const now = await stacks.handle("prod");
        expect0(await stacks.up("prod", { order: orderOf("prod", "r3", base, now, what), token: 3 }));
      }
      const handle = await stacks.handle("prod");
      assert.deepEqual(
        [handle?.live, Object.keys(handle?.slots ?? {}), handle?.run],
        ["green", ["green"], undefined],
      );
      assert.equal(handle?.proved?.artifact, artifacts.two);
      assert.equal(handle?.previous?.pin.artifact, artifacts.one);
      const status = await world("prod");
      assert.deepEqual([status?.live, status?.slots.blue.state, status?.run], ["green", "empty", undefined]);
      assert.equal(await ask("prod"), "sample 2");
      expect0(await stacks.up("prod", { args: ["--refresh", "--expect-no-changes"] }));
    });

    it("a slot that is lost fails the up with reason and last lines, and a restore empties it", async () => {
      const last = (await stacks.handle("prod")) as Handle;
      const order = orderOf("prod", "r4", last, last, { act: "deploy", pin: { artifact: artifacts.two } });
      const settings = {
        ...last.slots.green!.settings,
        arguments: ["node", "-e", "console.error('no luck');process.exit(3)"],
      };
      order.want.slots.blue = { pin: { artifact: artifacts.two }, settings, hash: "0".repeat(64) };
      const { code, stdout } = await stacks.up("prod", { order, token: 4 });
      assert.notEqual(code, 0);
      assert.match(stdout, /crash-loop: Slot blue of sample\.prod[\s\S]*no luck[\s\S]*npm run local -- logs/);
      assert.deepEqual(await stacks.handle("prod"), last);
      assert.equal(await ask("prod"), "sample 2");
      const by = { run: "r4", step: "restore" };
      const restore = { want: restored(last, target("prod", last), by), expect: last.generation, by };
      expect0(await stacks.up("prod", { order: restore, token: 4 }));
      assert.equal((await world("prod"))?.slots.blue.state, "empty");
    });
  });

  // The order in which they are applied: each `up` gets one resource further than the one before.
  const all = ["blue", "route", "green"];

  describe("with a failure injected", () => {
    for (const failing of all)
      it(`at the creation of ${failing}, the stack has no handle`, async () => {
        stacks.set("dev", "pin", artifacts.one);
        const { code, stdout } = await stacks.up("dev", { failing });
        assert.notEqual(code, 0);
        assert.match(stdout, /injected at (create|update)/);
        assert.equal(await stacks.handle("dev"), undefined);
      });

    it("nowhere any more, the stack comes up", async () => {
      expect0(await stacks.up("dev"));
      assert.equal(await ask("dev"), "sample 1");
    });

    for (const failing of all)
      it(`at the update of ${failing}, the stack keeps the former handle`, async () => {
        const before = await stacks.handle("dev");
        stacks.set("dev", "port", String(made.ports.staging));
        const { code, stdout } = await stacks.up("dev", { failing });
        assert.notEqual(code, 0);
        assert.match(stdout, /injected at update/);
        assert.deepEqual(await stacks.handle("dev"), before);
      });

    it("nowhere any more, the stack goes back to where it was", async () => {
      stacks.set("dev", "port", String(made.ports.dev));
      expect0(await stacks.up("dev"));
      assert.equal(await ask("dev"), "sample 1");
    });
  });

  describe("without a baseline", () => {
    it("a first release that fails leaves the stack empty, and the next one begins there", async () => {
      await stacks.init("staging");
      await act("staging", "r1", undefined, { act: "deploy", pin: { artifact: artifacts.two } });
      const now = await act("staging", "r1", undefined, { act: "shift", to: 100 });
      const by = { run: "r1", step: "restore" };
      const order = { want: restored(now, target("staging", undefined), by), expect: now.generation, by };
      expect0(await stacks.up("staging", { order }));
      const handle = await stacks.handle("staging");
      assert.deepEqual([handle?.slots, handle?.live, handle?.split], [{}, undefined, { blue: 0, green: 0 }]);
      assert.equal((await world("staging"))?.slots.blue.state, "empty");
    });
  });

  describe("at the end", () => {
    it("destroy removes the service from its supervisor, and no other", async () => {
      expect0(await made.pulumi(["destroy", "--yes", "--skip-preview", "-s", "dev"]));
      assert.equal(await world("dev"), undefined);
      assert.equal(await ask("prod"), "sample 2");
    });
  });
});
