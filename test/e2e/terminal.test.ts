import assert from "node:assert/strict";
import { connect } from "../../components/local/client";
import { stateDirectory } from "../../components/local/release";
import { edit, essence, get, handleOf, journalOf, quicken, until } from "../support/driver";
import { type Project, project } from "../support/project";
import { canOpen, type Terminal, terminal } from "../support/terminal";

// One project, told in order: each law begins where the one before it ended.
describe("a promotion at a terminal, with the real CLI, stacks, processes and proxy", function () {
  this.timeout(400_000);
  let p: Project;
  let view: Terminal;
  before(async function () {
    if (!canOpen()) return this.skip();
    p = await project();
    quicken(p, { bake: 1 });
    const { code, stdout, stderr } = await p.sluice(["promote", "staging", "prod"]);
    assert.equal(code, 0, stdout + stderr);
    const ours = Object.entries(p.env).filter(([name]) => /^(SLUICE_|PULUMI_|NO_COLOR)/.test(name));
    view = await terminal(100, 30, Object.fromEntries(ours) as Record<string, string>);
    await view.type(`cd ${p.root}`);
  });
  after(async () => {
    view?.close();
    await p?.dispose();
  });
  const text = async () => (await get(p.ports.prod ?? 0)).text;
  const events = (type: string) => journalOf(p, "prod").filter((e) => e.type === type);

  let former = 0;
  /** Resolves once the run that was begun last judges samples of its own. */
  const judged = () =>
    until(
      "a sample of this run",
      () => (journalOf(p, "prod")[0]?.at ?? 0) > former && events("sample.taken").length > 0,
    );

  /** Begins to take a new version through staging to prod, in the terminal. */
  async function begin(version: string): Promise<void> {
    edit(p, version);
    former = journalOf(p, "prod")[0]?.at ?? 0;
    await view.type("clear; npm run promote -- staging prod --build; echo ended with $?");
  }

  async function shows(what: string, pattern: RegExp): Promise<void> {
    let seen = "";
    await until(what, async () => {
      seen = (await view.all()).join("\n");
      return pattern.test(seen);
    }).catch((e: Error) => {
      throw new Error(`${e.message}\n${seen}`);
    });
  }

  async function split() {
    const client = await connect(stateDirectory(p.root), { start: false });
    const status = await client.service("sample.prod");
    client.close();
    return status?.split;
  }

  it("asks who sits there, takes a key for an answer, and goes on", async () => {
    quicken(p, { bake: 1, strategy: "canary({ weights: [20, 100], hold: [20] })" });
    await begin("2");
    await shows("the question", /prod is held until somebody says go on\. \[a\]pprove, \[r\]eject\?/);
    await view.press("a");
    await shows("the end", /ended with 0/);
    assert.match(await text(), /sample 2/);
    assert.equal(events("answer.given").length, 1);
  });

  it("takes a rejection too, and rolls back", async () => {
    const before = await handleOf(p, "prod");
    await begin("3");
    await shows("the question", /\[a\]pprove, \[r\]eject\?/);
    await view.press("r");
    await shows("the end", /ended with 1/);
    assert.match(await text(), /sample 2/);
    assert.deepEqual(essence(await handleOf(p, "prod")), essence(before));
  });

  it("pauses at Ctrl-C, which npm delivers a second time, with the split safe, and goes on with the same command", async () => {
    quicken(p, { bake: 600 });
    await begin("4");
    await judged();
    const live = (await handleOf(p, "prod"))?.live ?? "blue";
    await view.press("C-c");
    await shows("the pause", /prod: paused: interrupted/);
    assert.equal((await split())?.[live], 100);
    assert.equal(journalOf(p, "prod").at(-1)?.type, "run.paused");
    quicken(p, { bake: 1 });
    const again = await p.sluice(["promote", "staging", "prod", "--build"]);
    assert.equal(again.code, 0, again.stdout + again.stderr);
    assert.match(await text(), /sample 4/);
  });

  it("whose terminal is closed leaves with the split safe", async () => {
    quicken(p, { bake: 600 });
    await begin("5");
    await judged();
    const live = (await handleOf(p, "prod"))?.live ?? "blue";
    view.close();
    await until("the pause", () => journalOf(p, "prod").at(-1)?.type === "run.paused");
    assert.equal((await split())?.[live], 100);
    assert.match(await text(), /sample 4/);
    const ended = await p.sluice(["abort", "prod"]);
    assert.equal(ended.code, 0, ended.stdout + ended.stderr);
  });
});
