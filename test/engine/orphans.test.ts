import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { endOrphans } from "../../automation/engine/orphans";
import { newRunId } from "../../automation/engine/runs";

/** Whether the process runs: a zombie does nothing any more. */
function lives(pid: number): boolean {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    return text.charAt(text.lastIndexOf(")") + 2) !== "Z";
  } catch {
    return false;
  }
}

describe("The end of a run's orphans", () => {
  const started: number[] = [];
  let run: string;
  beforeEach(() => {
    run = newRunId(Date.now());
  });
  afterEach(() => {
    for (const pid of started.splice(0)) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It ended by itself.
      }
    }
  });

  /** Runs a shell script whose processes say their pids, a line each. */
  async function shell(script: string, pids: number, env: Record<string, string> = { SLUICE_RUN: run }) {
    const child = spawn("sh", ["-c", script], {
      env: { PATH: process.env.PATH ?? "", ...env },
      stdio: ["ignore", "pipe", "inherit"],
      detached: true,
    });
    child.unref();
    const said: number[] = [];
    for await (const line of createInterface(child.stdout)) {
      said.push(Number(line));
      if (said.length === pids) break;
    }
    started.push(...said);
    return { child, said };
  }

  for (const table of ["proc", "ps"] as const) {
    it(`reaches a grandchild whose parents are dead, and one that left the session (${table})`, async () => {
      const tree =
        "setsid sh -c 'echo $$; exec sleep 300' & sh -c 'echo $$; sleep 300 & echo $!; wait' & echo $$; wait";
      const { child, said } = await shell(tree, 4);
      const exit = once(child, "exit");
      child.kill("SIGKILL");
      await exit;
      const left = said.filter((pid) => pid !== child.pid);
      assert.ok(left.every(lives));
      const { ended } = await endOrphans(run, { table });
      assert.ok(!said.some(lives));
      for (const pid of left) assert.ok(ended.includes(pid), `${pid} in ${ended}`);
    });

    it(`spares other runs, and those whose name only begins alike (${table})`, async () => {
      const sleep = "echo $$; exec sleep 300";
      const others = [
        await shell(sleep, 1, { SLUICE_RUN: `${run}0` }),
        await shell(sleep, 1, { SLUICE_RUN: newRunId(1) }),
        await shell(sleep, 1, { OLD_SLUICE_RUN: run }),
        await shell(sleep, 1, {}),
      ];
      const ours = await shell(sleep, 1);
      const { ended } = await endOrphans(run, { table });
      assert.deepEqual(ended, ours.said);
      for (const { said } of others) assert.ok(lives(said[0] as number));
    });

    it(`spares itself and those it descends from, although they bear the run's name (${table})`, async () => {
      // Threads have numbers as well, and new ones are born while it looks.
      const threads = `
        const { Worker } = require("node:worker_threads");
        const next = () => new Worker("0", { eval: true, execArgv: [] }).on("exit", next);
        next();`;
      const script = `
        import { Worker } from "node:worker_threads";
        import { endOrphans } from "${process.cwd()}/automation/engine/orphans.ts";
        new Worker(${JSON.stringify(threads)}, { eval: true, execArgv: [] }).once("online", async () => {
          const { ended } = await endOrphans("${run}", { table: "${table}" });
          console.log(JSON.stringify(ended));
          process.exit(0);
        });`;
      const directory = mkdtempSync(join(tmpdir(), "sluice-orphans-"));
      const file = join(directory, "sweep.mts");
      writeFileSync(file, script);
      const child = spawn(
        "sh",
        ["-c", `sh -c '"$0" --import tsx "$1"; exit $?' "$0" "$1"; exit $?`, process.execPath, file],
        {
          env: { PATH: process.env.PATH ?? "", SLUICE_RUN: run },
          stdio: ["ignore", "pipe", "inherit"],
        },
      );
      const [line] = await once(createInterface(child.stdout), "line");
      const [code] = child.exitCode === null ? await once(child, "exit") : [child.exitCode];
      rmSync(directory, { recursive: true });
      assert.equal(code, 0);
      // tsx has helpers of its own, which are no ancestors; nothing else may be ended.
      assert.ok(Array.isArray(JSON.parse(line)));
    });
  }

  it("catches up with one that forks all the while", async () => {
    // Each process starts its successor and ends: there is a new pid every few milliseconds.
    const directory = mkdtempSync(join(tmpdir(), "sluice-orphans-"));
    const beats = join(directory, "beats");
    const hop = `hop() { (echo >> ${beats}; sleep 0.002; hop) & }`;
    await shell(`echo $$; ${hop}; hop; hop; hop; exec sleep 300`, 1);
    while (!existsSync(beats) || statSync(beats).size < 20) await new Promise(setImmediate);
    const { ended } = await endOrphans(run);
    const size = statSync(beats).size;
    assert.ok(ended.length >= 2);
    for (let n = 0; n < 4; n++) assert.deepEqual((await endOrphans(run)).ended, [], "nobody came back");
    assert.equal(statSync(beats).size, size);
    rmSync(directory, { recursive: true });
  });

  it("returns at once where there is nobody", async () => {
    assert.deepEqual(await endOrphans(run), { ended: [] });
  });

  it("names those that will not go, when its time is up", async () => {
    const { said } = await shell("echo $$; exec sleep 300", 1);
    await assert.rejects(endOrphans(run, { deadline: -1 }), (e: { code: string; message: string }) => {
      assert.equal(e.code, "orphans-alive");
      assert.ok(e.message.includes(String(said[0])));
      return true;
    });
  });
});
