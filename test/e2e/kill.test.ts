import assert from "node:assert/strict";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { JournalEvent } from "../../automation/core/events";
import { connect } from "../../components/local/client";
import { stateDirectory } from "../../components/local/release";
import { edit, get, handleOf, journalOf, quicken, start, until, users } from "../support/driver";
import { type Project, project } from "../support/project";

/** Where in the journal the driver is killed: 6 points of a canary's run, other ones each day, the same all day. */
function points(count: number, of: number): number[] {
  let seed = Math.floor(Date.now() / 86_400_000);
  // Park and Miller's minimal standard generator: enough to spread points, and easy to repeat.
  const next = () => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed;
  };
  const all = new Set<number>();
  while (all.size < count) all.add(1 + (next() % of));
  return [...all].sort((a, b) => a - b);
}

/** Events of one canary at [20, 100] beside its samples: planned, 2 per step of 9, finished. */
const EVENTS = 19;

describe("a driver that is killed with SIGKILL", function () {
  this.timeout(300_000);
  let p: Project;
  let version = 1;
  before(async () => {
    p = await project();
    quicken(p, { bake: 1 });
    const first = await p.sluice(["promote", "staging", "prod"]);
    assert.equal(first.code, 0, first.stdout + first.stderr);
    // Only prod is killed and watched: the release has been through staging by then.
  });
  after(() => p?.dispose());
  const port = () => p.ports.prod ?? 0;
  const facts = () => journalOf(p, "prod").filter((e) => e.type !== "sample.taken").length;

  for (const point of points(6, EVENTS - 1))
    it(`ends as it would have ended when it is killed after event ${point}`, async () => {
      version++;
      edit(p, `${version}`);
      const runs = journalOf(p, "prod")[0];
      const crowd = users(port(), 40);
      const driver = start(p, ["promote", "staging", "prod", "--build"]);
      const isNew = () => {
        const first = journalOf(p, "prod")[0];
        return first !== undefined && first.at !== runs?.at;
      };
      await until(`event ${point}`, () => isNew() && facts() >= point);
      driver.kill("SIGKILL");
      await driver.ended;
      const again = await p.sluice(["promote", "staging", "prod", "--build"]);
      const seen = await crowd.stop();
      assert.equal(again.code, 0, `seed point ${point}: ${again.stdout}${again.stderr}`);
      assert.deepEqual(seen.failed, [], `requests failed, killed after event ${point}`);
      assert.match((await get(port())).text, new RegExp(`sample ${version}\\n`));
      const prod = await handleOf(p, "prod");
      assert.equal(prod?.run, undefined);
      assert.deepEqual(Object.keys(prod?.slots ?? {}), [prod?.live]);
      assert.equal(prod?.proved?.artifact, prod?.live && prod.slots[prod.live]?.pin.artifact);
      const journal = journalOf(p, "prod");
      const done = journal.flatMap((e) => (e.type === "step.finished" ? [e.step] : []));
      assert.deepEqual(done, [...new Set(done)], "no step is finished twice");
      const status = JSON.parse((await p.sluice(["status", "prod", "--json"])).stdout.trim());
      assert.deepEqual(status.targets[0].drift, []);
    });

  it("leaves a sleeping provider behind, and nothing that it was to do lands after the run was gone on with", async () => {
    version++;
    edit(p, `${version}`);
    // It sleeps just before it writes a route, deaf to everything, for longer than the run takes to be gone on with.
    const sign = join(p.root, "asleep");
    const resources = join(p.root, "components", "local", "resources.js");
    const sleep = `require("node:fs").writeFileSync(${JSON.stringify(sign)} + "." + process.pid, ""), Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 120_000)`;
    const text = readFileSync(resources, "utf8");
    const call = "await client.route(";
    assert.ok(text.includes(call));
    writeFileSync(
      resources,
      text.replace(
        call,
        `if (require("node:fs").existsSync(${JSON.stringify(sign)})) ${sleep};\n    ${call}`,
      ),
    );
    const before = journalOf(p, "prod")[0]?.at;
    const driver = start(p, ["promote", "staging", "prod", "--build"]);
    const run = () => {
      const first = journalOf(p, "prod")[0];
      return first?.type === "run.planned" && first.at !== before ? first.run : undefined;
    };
    await until("a shift", () => run() !== undefined && journalOf(p, "prod").some(isShift));
    writeFileSync(sign, "");
    const asleep = () =>
      readdirSync(p.root)
        .flatMap((name) => /^asleep\.(\d+)$/.exec(name)?.[1] ?? [])
        .map(Number);
    await until("a provider that sleeps", () => asleep().length > 0);
    rmSync(sign);
    const id = run() ?? "";
    // The driver and the CLI die; what they began does not.
    driver.kill("SIGKILL");
    for (const { pid } of processesOf(id)) if (!asleep().includes(pid)) kill(pid, "SIGKILL");
    await driver.ended;
    assert.ok(processesOf(id).length > 0, "nothing was left asleep");
    const again = await p.sluice(["promote", "staging", "prod", "--build"]);
    writeFileSync(resources, text);
    assert.equal(again.code, 0, again.stdout + again.stderr);
    // Awake, it would write the split of a shift long past.
    assert.deepEqual(processesOf(id), [], "processes of the run are left");
    assert.match((await get(port())).text, new RegExp(`sample ${version}\\n`));
    assert.deepEqual((await statusOf()).split?.[(await handleOf(p, "prod"))?.live ?? "blue"], 100);
  });

  async function statusOf() {
    const client = await connect(stateDirectory(p.root), { start: false });
    const status = await client.service("sample.prod");
    client.close();
    return { split: status?.split, live: status?.live };
  }
});

function isShift(event: JournalEvent): boolean {
  return event.type === "step.started" && event.step.includes("-shift-");
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code !== "ESRCH") throw e;
  }
}

/** The processes whose environment names the run. */
function processesOf(run: string): { pid: number; args: string }[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const named = readFileSync(`/proc/${name}/environ`, "utf8").split("\0").includes(`SLUICE_RUN=${run}`);
        const args = readFileSync(`/proc/${name}/cmdline`, "utf8").replaceAll("\0", " ");
        return named && args !== "" ? [{ pid: Number(name), args }] : [];
      } catch {
        // It is gone, or somebody else's.
        return [];
      }
    });
}
