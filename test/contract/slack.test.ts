import assert from "node:assert/strict";
import { evolve, type Fact, type RunState } from "../../automation/core/events";
import { SecretMissing } from "../../automation/engine/secret";
import { NotifyFailed, type SlackOptions, slack } from "../../automation/notify/slack";
import { entry, planned } from "./events";
import { context, serve } from "./world";

const VARIABLE = "SLUICE_TEST_SLACK";

describe("slack", () => {
  const told: { text?: string; channel?: string }[] = [];
  let server: Awaited<ReturnType<typeof serve>>;
  let status = 200;
  let state: RunState;

  beforeEach(async () => {
    told.length = 0;
    status = 200;
    state = planned()[1];
    server = await serve(async (request, response) => {
      let body = "";
      for await (const chunk of request) body += chunk;
      told.push(JSON.parse(body));
      response.writeHead(status, { location: "/elsewhere" }).end("ok");
    });
    process.env[VARIABLE] = `${server.url}/services/T0/B0/verysecret`;
  });
  afterEach(async () => {
    delete process.env[VARIABLE];
    await server.close();
  });

  const tell = (fact: Fact, options: Partial<SlackOptions> = {}) =>
    slack({ webhook: { env: VARIABLE }, ...options }).notify(
      entry(fact),
      evolve(state, entry(fact)),
      context(),
    );

  it("tells of a run's beginning with what goes where and who asked", async () => {
    await slack({ webhook: { env: VARIABLE }, channel: "#releases" }).notify(...planned(), context());
    assert.deepEqual(told, [
      { channel: "#releases", text: "shop 1.2.3 → *prod*: run run-1 begins, asked for by ada." },
    ]);
  });

  it("tells of rollback, pause and end with the reason, and of nothing else", async () => {
    await tell({ type: "run.paused", reason: "waits for approval", diverted: [] });
    await tell({ type: "rollback.begun", reason: "5 % of 1,204 requests failed" });
    await tell({ type: "run.finished", outcome: "promoted", reason: "settled" });
    await tell({ type: "answer.given", answer: "approve", who: "bob" });
    assert.deepEqual(
      told.map((message) => message.text?.replace("shop 1.2.3 → *prod*: run run-1 ", "")),
      [
        "is paused: waits for approval",
        "is being rolled back: 5 % of 1,204 requests failed",
        "is done, promoted: settled",
      ],
    );
  });

  it("tells only of what was asked for", async () => {
    await tell({ type: "run.paused", reason: "r", diverted: [] }, { on: ["run.finished"] });
    assert.deepEqual(told, []);
  });

  it("lets nobody's text become a mention or a link", async () => {
    await tell({ type: "rollback.begun", reason: "<!channel> a & b" });
    assert.match(told[0]!.text!, /&lt;!channel&gt; a &amp; b$/);
  });

  it("throws where the message was not taken, and never shows the webhook", async () => {
    const paused: Fact = { type: "run.paused", reason: "r", diverted: [] };
    const quiet = (thrown: unknown) =>
      NotifyFailed.is(thrown) && !/verysecret/.test(`${thrown} ${thrown.stack} ${JSON.stringify(thrown)}`);
    for (status of [302, 403, 404, 500]) await assert.rejects(tell(paused), quiet, String(status));
    process.env[VARIABLE] = "http://127.0.0.1:1/verysecret";
    await assert.rejects(tell(paused), quiet);
    process.env[VARIABLE] = "verysecret";
    await assert.rejects(tell(paused), quiet);
    delete process.env[VARIABLE];
    await assert.rejects(tell(paused), SecretMissing.is);
  });
});
