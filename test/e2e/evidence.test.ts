import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Fact } from "../../automation/core/events";
import type { Verdict } from "../../automation/core/model";
import { essence, get, handleOf, journalOf, quicken, until, users } from "../support/driver";
import { type Project, project } from "../support/project";

/** A service that fails when it is told to: by the number of the request, or as long as a file is there. */
function serve(p: Project, version: string, fails: string): void {
  writeFileSync(
    join(p.root, "stacks", "sample", "server.js"),
    `const { existsSync } = require("node:fs");
const outage = () => existsSync(${JSON.stringify(join(p.root, "outage"))});
let count = 0;
const server = require("node:http").createServer((request, response) => {
  if (request.url === "/healthz") return void response.end("ok");
  count++;
  response.statusCode = ${fails} ? 500 : 200;
  response.end("sample ${version}");
});
server.listen(Number(process.env.PORT), "127.0.0.1");
process.once("SIGTERM", () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
void outage;
`,
  );
}

// One project, told in order: each law begins where the one before it ended.
describe("a release judged by evidence, in real time", function () {
  this.timeout(240_000);
  let p: Project;
  before(async () => {
    p = await project();
    settings(200, [20, 100]);
  });
  after(() => p?.dispose());

  function settings(rps: number, weights: number[]): void {
    const judges = 'judges: [errorRate({ max: "1%", worseThan: 1.5 })]';
    const times = 'every: "1s", stepBake: "5s", minBake: "8s", maxDuration: "3m", probe: 5';
    quicken(p, { rps, weights, extra: `analysis: analysis({ source: scrape(), ${judges}, ${times} }),` });
  }
  const promote = () => p.sluice(["promote", "staging", "prod", "--build"]);
  const verdicts = (): Verdict[] =>
    journalOf(p, "prod").flatMap((e: Fact) => {
      const verdict = e.type === "step.finished" ? (e.verdict ?? e.failure?.verdict) : undefined;
      return verdict ? [verdict] : [];
    });

  it("is promoted where one request in a thousand fails, twice of two", async () => {
    serve(p, "1", "false");
    const first = await promote();
    assert.equal(first.code, 0, first.stdout + first.stderr);
    for (const version of ["2", "3"]) {
      serve(p, version, "count % 1000 === 500");
      // Users, so that there is a past of the release that is live.
      const crowd = users(p.ports.prod ?? 0, 50);
      const { code, stdout, stderr } = await promote();
      await crowd.stop();
      assert.equal(code, 0, stdout + stderr);
      assert.match((await get(p.ports.prod ?? 0)).text, new RegExp(`sample ${version}`));
      const decided = verdicts();
      assert.deepEqual(
        decided.map((v) => [v.verdict, v.rule]),
        [
          ["pass", "evidence for the release"],
          ["pass", "evidence for the release"],
        ],
      );
      for (const { findings } of decided) {
        assert.ok(findings[0]!.evidence!.for >= Math.log(20));
        assert.ok(findings[0]!.figures.requests! > 298, "what it takes at least, without any error");
      }
    }
    const past = journalOf(p, "prod").find((e) => e.type === "past.known");
    assert.ok(
      past?.type === "past.known" && (past.past?.baseline.requests ?? 0) > 100,
      "the time before is known",
    );
  });

  it("goes back at the third error of a fixed schedule, for the first three are enough", async () => {
    settings(20, [10, 100]);
    const before = await handleOf(p, "prod");
    serve(p, "4", "count % 5 === 0");
    const { code, stdout, stderr } = await promote();
    assert.equal(code, 1, stdout + stderr);
    const [verdict] = verdicts();
    const { requests, errors } = verdict!.findings[0]!.figures;
    assert.deepEqual([requests, errors], [15, 3]);
    assert.match(verdict!.rule!, /evidence against the release, by error-rate/);
    assert.deepEqual(essence(await handleOf(p, "prod")), essence(before));
  });

  it("goes back from an outage that starts at 100 %", async () => {
    settings(200, [20, 100]);
    serve(p, "5", "outage() && count % 2 === 0");
    const before = await handleOf(p, "prod");
    const running = promote();
    await until("all traffic on the new slot", () =>
      journalOf(p, "prod").some(
        (e) => e.type === "step.finished" && e.step.endsWith("shift-100") && e.outcome === "done",
      ),
    );
    writeFileSync(join(p.root, "outage"), "");
    const { code, stdout, stderr } = await running;
    assert.equal(code, 1, stdout + stderr);
    assert.match(stdout, /rolling back: The release fails: canary/);
    for (let i = 0; i < 20; i++) assert.match((await get(p.ports.prod ?? 0)).text, /sample 3/);
    assert.deepEqual(essence(await handleOf(p, "prod")), essence(before));
  });
});
