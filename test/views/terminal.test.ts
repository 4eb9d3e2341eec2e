import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { JournalEvent } from "../../automation/core/events";
import { width } from "../../automation/views/text";
import { type Tale, tell } from "../support/story";
import { PLAIN } from "../support/tales";
import { canOpen, type Terminal, terminal } from "../support/terminal";

const ROOT = join(__dirname, "..", "..");
const TALE: Tale = { ...PLAIN, weights: [10], analysis: true };

describe("The live view in a terminal", function () {
  this.timeout(60_000);
  let directory: string;
  let file: string;
  let open: Terminal | undefined;
  before(function () {
    if (!canOpen()) return this.skip();
  });
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "sluice-view-"));
    file = join(directory, "orders");
    writeFileSync(file, "0\n");
  });
  afterEach(() => {
    open?.close();
    open = undefined;
    rmSync(directory, { recursive: true, force: true });
  });

  /** Plays a tale in a terminal of that size. */
  async function play(tale: Tale, columns: number, rows: number, options = "", env = {}) {
    const { events, plan } = await tell(tale);
    open = await terminal(columns, rows, env);
    await open.type(
      `clear; seq 8; cd ${ROOT}; node --import tsx test/views/children/play.ts '${JSON.stringify(tale)}' ${file} ${options}`,
    );
    const order = (upTo: number, ...orders: string[]) =>
      writeFileSync(file, `${upTo}\n${orders.join("\n")}\n`);
    return { view: open, events, plan, order };
  }

  /** Events until this one, inclusive. */
  function until(events: JournalEvent[], is: (event: JournalEvent) => boolean): number {
    const found = events.findIndex(is);
    assert.ok(found >= 0);
    return found + 1;
  }

  /** The shell is back, echoes what is typed, and shows its cursor. */
  async function sane(view: Terminal): Promise<void> {
    await view.type("echo back-$((1+1))");
    const text = (await view.shows("an echo", (t) => /^back-2$/m.test(t))).join("\n");
    assert.match(text, /\$ echo back-\$\(\(1\+1\)\)/);
    assert.equal(await view.cursor(), true, "the cursor is hidden");
  }

  const analysing = (e: JournalEvent) => e.type === "step.started" && e.step.endsWith("analyse");

  it("shows steps, split and evidence in place, and leaves the lines of the run", async () => {
    const { view, events, order } = await play(TALE, 80, 24);
    const count = until(events, analysing);
    const step = (events[count - 1] as { step: string }).step;
    order(count, "say a line of the driver", `progress ${step} canary 0 % of 504 requests failed`);
    const seen = await view.shows("the evidence", (t) => t.includes("504 requests"));
    const text = seen.join("\n");
    assert.match(text, /^prod {2}release [0-9a-f]{12}$/m);
    assert.match(text, /^t0 {2}\d\/\d+ {2}█{18}░{2} blue 90 % green 10 % \(new\)$/m);
    assert.match(text, /^ {2}✓ deploy /m);
    assert.match(text, /^ {2}● analyse /m);
    assert.match(text, /^ {2}· settle/m);
    assert.match(text, /^a line of the driver$/m);
    assert.equal(await view.cursor(), false, "the cursor is shown");
    order(events.length, "say a line of the driver");
    await view.shows("the end", (t) => t.includes("prod: promoted."));
    const lines = (await view.all()).join("\n");
    assert.match(lines, /✓ t0 +settle +\d+\.\d s/);
    assert.equal(lines.match(/a line of the driver/g)?.length, 1, lines);
    assert.doesNotMatch(lines, /░|· settle|of \d+ steps/, lines);
    await sane(view);
  });

  it("fits 20 columns: no line is broken by the terminal", async () => {
    const { view, events, order } = await play(TALE, 20, 24);
    const count = until(events, analysing);
    const step = (events[count - 1] as { step: string }).step;
    order(count, `progress ${step} ${"canary 0 % of 1,204 requests failed ".repeat(3)}`);
    const seen = await view.shows("the step", (t) => t.includes("● analyse"));
    assert.match(seen.join("\n"), /^ {2}● analyse \d+ s$/m);
    assert.equal(seen.filter((line) => line.startsWith("prod  release")).length, 1);
    assert.ok(seen.every((line) => width(line) <= 20));
    // The second line, cut by us: had the terminal broken it, its end would be below.
    assert.match(seen.join("\n"), /^\d+ s, \d+ of \d+ steps, …$/m);
  });

  it("is drawn anew in mid-run where the terminal gets narrower, wider or lower", async () => {
    const { view, events, order } = await play(TALE, 80, 24);
    order(until(events, analysing));
    const frames = (t: string) => t.match(/release [0-9a-f]{6}/g)?.length;
    await view.shows("80 columns", (t) => t.includes("● analyse"));
    await view.resize(30, 24);
    const narrow = await view.shows("30 columns", (t) => /^t0 {2}\d+\/\d+ {2}blue 90 % g/m.test(t));
    assert.equal(frames(narrow.join("\n")), 1, narrow.join("\n"));
    await view.resize(100, 24);
    const wide = await view.shows("100 columns", (t) => /█{18}░{2}/.test(t));
    assert.equal(frames(wide.join("\n")), 1, wide.join("\n"));
    await view.resize(100, 8);
    const low = await view.shows("8 rows", (t) => / {2}… \d+ more/.test(t));
    assert.ok(low.length <= 8 && low.some((line) => line.includes("● analyse")), low.join("\n"));
    order(events.length);
    await view.shows("the end", (t) => t.includes("prod: promoted."));
    await sane(view);
  });

  for (const [what, options, env] of [
    ["NO_COLOR", "", { NO_COLOR: "1" }],
    ["--no-color", "--no-color", {}],
  ] as const)
    it(`has no colours with ${what}, and says the same`, async () => {
      const { view, events, order } = await play(TALE, 80, 24, options, env);
      order(until(events, analysing));
      await view.shows("the step", (t) => t.includes("● analyse"));
      assert.ok(!(await view.raw()).includes("\x1b["));
    });

  it("has colours without", async () => {
    const { view, events, order } = await play(TALE, 80, 24);
    order(until(events, analysing));
    await view.shows("the step", (t) => t.includes("● analyse"));
    assert.ok((await view.raw()).includes("\x1b["));
  });

  it("draws nothing with --plain: words in lines", async () => {
    const { view, events, order } = await play(TALE, 80, 24, "--plain");
    order(until(events, (e) => e.type === "step.finished" && e.step.endsWith("deploy")));
    const seen = (await view.shows("the step", (t) => /done +t0 +deploy/.test(t))).join("\n");
    assert.doesNotMatch(seen, /[✓●·█░]/);
    assert.equal(await view.cursor(), true);
  });

  it("shows the last lines of a slot that failed, and what is done about it", async () => {
    const { view, events, order } = await play({ ...TALE, failing: ["t0/live"] }, 80, 24);
    const count = until(events, (e) => e.type === "traffic.diverted");
    order(count, "kept one of many|Error: no such table: orders");
    const text = (await view.shows("the lines", (t) => t.includes("no such table"))).join("\n");
    assert.match(text, /^rolling back: /m);
    assert.match(text, /^ {2}✗ verify live/m);
    assert.match(text, /blue 100 % green 0 % \(new\)/);
    order(events.length);
    await view.shows("the end", (t) => t.includes("rolled back, everything is as before"));
    await sane(view);
  });

  it("asks at the bottom, goes on drawing meanwhile, and takes one key", async () => {
    const { view, events, order } = await play(TALE, 80, 24);
    const count = until(events, analysing);
    order(count, "ask Shall it go on? [a]pprove, [r]eject?");
    const asked = await view.shows("the question", (t) => t.includes("[a]pprove"));
    assert.equal(asked.at(-1), "Shall it go on? [a]pprove, [r]eject?");
    order(count, "ask Shall it go on? [a]pprove, [r]eject?", "say meanwhile");
    await view.shows("what was said meanwhile", (t) => /^meanwhile$/m.test(t) && t.includes("[a]pprove"));
    await view.press("Up");
    await view.press("x");
    await view.press("A");
    await view.shows("the answer", (t) => t.includes("answered a") && !t.includes("[a]pprove"));
    await view.press("C-c");
    await view.shows("the end", (t) => t.includes("prod: paused: interrupted."));
    await sane(view);
  });

  for (const [what, orders, then, end] of [
    ["Ctrl-C", [], "C-c", "prod: paused: interrupted."],
    ["Ctrl-C while it asks", ["ask Yes or no?"], "C-c", "prod: paused: interrupted."],
    ["an error that nobody foresaw", ["throw boom"], undefined, "Error: boom"],
    ["an exit in the middle, while it asks", ["ask Yes or no?", "exit 3"], undefined, "deploy"],
  ] as const)
    it(`leaves a sane terminal after ${what}`, async () => {
      const { view, events, order } = await play(TALE, 80, 24);
      const count = until(events, analysing);
      order(count);
      await view.shows("the step", (t) => t.includes("● analyse"));
      order(count, ...orders);
      if (orders.some((o) => o.startsWith("ask")) && then)
        await view.shows("the question", (t) => t.includes("Yes or no?"));
      if (then) await view.press(then);
      await view.shows("the end", (t) => t.includes(end) && /\n\$$/.test(t));
      // What had happened is there as lines, whatever ended it.
      assert.match((await view.all()).join("\n"), /✓ t0 +deploy/);
      await sane(view);
    });
});
