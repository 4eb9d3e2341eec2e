import assert from "node:assert/strict";
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
    // Only prod is killed and watched: the release waits in staging.
  });
  after(() => p?.dispose());
  const port = () => p.ports.prod ?? 0;
  const facts = () => journalOf(p, "prod").filter((e) => e.type !== "sample.taken").length;

  for (const point of points(6, EVENTS - 1))
    it(`ends as it would have ended when it is killed after event ${point}`, async () => {
      version++;
      edit(p, `${version}`);
      const runs = journalOf(p, "prod")[0];
      const staged = await p.sluice(["promote", "dev", "staging", "--build"]);
      assert.equal(staged.code, 0, staged.stdout + staged.stderr);
      const crowd = users(port(), 40);
      const driver = start(p, ["promote", "staging", "prod"]);
      const isNew = () => {
        const first = journalOf(p, "prod")[0];
        return first !== undefined && first.at !== runs?.at;
      };
      await until(`event ${point}`, () => isNew() && facts() >= point);
      driver.kill("SIGKILL");
      await driver.ended;
      const again = await p.sluice(["promote", "staging", "prod"]);
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
});
