import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { command as check } from "../../automation/checks/command";
import { command as gate } from "../../automation/gates/command";
import { task } from "../../automation/tasks/command";
import { BadConfig } from "../../components/errors";
import { context, lives, subject, until } from "./world";

const sh = (script: string) => ["sh", "-c", script];

describe("A command", () => {
  let scratch: string;
  beforeEach(() => {
    scratch = mkdtempSync(join(tmpdir(), "sluice-command-"));
  });
  afterEach(() => rmSync(scratch, { recursive: true }));
  const pidIn = (name: string) => {
    const file = join(scratch, name);
    return existsSync(file) ? Number(readFileSync(file, "utf8")) : 0;
  };

  it("opens a gate with 0 and closes it with anything else, for the reason in its last line", async () => {
    const ask = (script: string) => gate({ id: "freeze", run: sh(script) }).ask(subject(), context());
    assert.deepEqual(await ask("exit 0"), { answer: "open" });
    const closed = await ask("echo first; echo 'frozen until Monday' >&2; echo; exit 3");
    assert.equal(closed.answer, "closed");
    assert.equal(closed.answer === "closed" && closed.reason, "frozen until Monday (exited with 3)");
    assert.deepEqual(await ask("kill -9 $$"), {
      answer: "closed",
      reason: "was ended by a signal",
      hint: undefined,
    });
  });

  it("closes a gate when its time is up, and is ended with all its children", async () => {
    const run = sh(`sleep 600 & echo $! > ${scratch}/child; echo waiting; wait`);
    const answer = await gate({ id: "slow", run, timeout: 300 }).ask(subject(), context());
    assert.deepEqual(answer, {
      answer: "closed",
      reason: "waiting (took longer than 0.3 s)",
      hint: undefined,
    });
    await until(() => !lives(pidIn("child")));
  });

  it("is ended with all its children when the signal fires, although it will not hear of it", async () => {
    const ctx = context();
    const run = sh(
      `trap '' TERM; sh -c "trap '' TERM; sleep 600 & wait; sleep 600" & echo $! > ${scratch}/child; wait; wait; sleep 600`,
    );
    const asked = assert.rejects(check({ id: "deaf", run }).run(subject(), ctx), /aborted by the test/);
    await until(() => pidIn("child") > 0);
    ctx.abort();
    await asked;
    await until(() => !lives(pidIn("child")));
  });

  it("does not wait for a daemon that it left and that holds its output", async () => {
    const run = sh(
      `setsid sh -c 'echo $$ > ${scratch}/daemon; exec sleep 600' & while [ ! -s ${scratch}/daemon ]; do sleep 0.01; done`,
    );
    try {
      assert.deepEqual(await gate({ id: "daemon", run }).ask(subject(), context()), { answer: "open" });
    } finally {
      if (pidIn("daemon")) process.kill(pidIn("daemon"), "SIGKILL");
    }
  });

  it("that can't be started is a wrong configuration, neither open nor closed", async () => {
    for (const run of [["/nonexistent/program"], [scratch], []]) {
      await assert.rejects(gate({ id: "none", run }).ask(subject(), context()), BadConfig.is);
      await assert.rejects(task({ id: "none", run }).run(subject(), context()), BadConfig.is);
      await assert.rejects(check({ id: "none", run }).run(subject(), context()), BadConfig.is);
    }
  });

  it("is told of the release, and passes a check with its last line", async () => {
    const run = sh(
      'echo "$SLUICE_ENVIRONMENT $SLUICE_SERVICE $SLUICE_VERSION $SLUICE_URL $SLUICE_RUN $SLUICE_SLOT"',
    );
    const asked = subject({ url: "http://127.0.0.1:9", slot: "green" });
    const result = await check({ id: "told", run }).run(asked, context());
    assert.deepEqual(result, { ok: true, note: "prod shop 1.2.3 http://127.0.0.1:9 run-1 green" });
  });

  it("fails a check with its last line and code", async () => {
    const result = await check({ id: "bad", run: sh("echo 2 of 9 tests failed; exit 1") }).run(
      subject(),
      context(),
    );
    assert.deepEqual(result, { ok: false, reason: "2 of 9 tests failed (exited with 1)" });
  });

  it("as a task is run again under the same key until it succeeds", async () => {
    const run = sh(
      `echo "$SLUICE_TASK_KEY" >> ${scratch}/keys; test $(wc -l < ${scratch}/keys) -ge 3 && echo migrated`,
    );
    const ctx = context();
    const result = await task({ id: "migrate", run, retries: 5, backoff: 1 }).run(subject(), ctx);
    assert.deepEqual(result, { ok: true, note: "migrated" });
    const keys = readFileSync(join(scratch, "keys"), "utf8").trim().split("\n");
    assert.deepEqual(keys, new Array(3).fill(`${subject().release}/migrate`));
    assert.match(ctx.lines[0]!, /exited with 1; 5 more to try/);
  });

  it("as a task fails once its retries are used up, and never without them", async () => {
    const run = sh(`echo x >> ${scratch}/runs; echo no space left; exit 7`);
    const result = await task({ id: "migrate", run, retries: 1, backoff: 1 }).run(subject(), context());
    assert.deepEqual(result, { ok: false, reason: "no space left (exited with 7)" });
    assert.equal(readFileSync(join(scratch, "runs"), "utf8"), "x\nx\n");
    await task({ id: "migrate", run }).run(subject(), context());
    assert.equal(readFileSync(join(scratch, "runs"), "utf8"), "x\nx\nx\n");
  });
});
