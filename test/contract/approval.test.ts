import assert from "node:assert/strict";
import fc from "fast-check";
import type { Answer } from "../../automation/core/model";
import type { Asked } from "../../automation/core/ports";
import { type ApprovalOptions, approval } from "../../automation/gates/approval";
import { context, subject } from "./world";

const PLAN = "a".repeat(64);
const DAY = 24 * 3_600_000;

function asked(answers: Partial<Answer>[], change: Partial<Asked> = {}): Asked {
  const full = answers.map((a): Answer => ({ answer: "approve", who: "bob@b", at: 1000, plan: PLAN, ...a }));
  return { run: "r", actor: "ann@a", plan: PLAN, since: 0, answers: full, ...change };
}

function ask(options: ApprovalOptions, about: Asked, now = 2000) {
  return approval(options).ask(subject({ asked: about }), { ...context(), now: () => now });
}

describe("approval", () => {
  it("opens once as many different people as it wants have approved this very plan", () =>
    fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 4 }),
        fc.array(
          fc.record({ who: fc.constantFrom("ann@a", "bob@b", "cyd@c", "dan@d"), other: fc.boolean() }),
        ),
        fc.boolean(),
        async (quorum, said, requester) => {
          const answers = said.map(({ who, other }) => ({ who, plan: other ? "b".repeat(64) : PLAN }));
          const people = new Set(said.filter((a) => !a.other).map((a) => a.who));
          if (!requester) people.delete("ann@a");
          const { answer } = await ask({ quorum, requester }, asked(answers));
          assert.equal(answer, people.size >= quorum ? "open" : "wait");
        },
      ),
    ));

  it("does not count who began the run, in a CI job or not, and says so", async () => {
    for (const who of ["ann@a", "ann@a (CI)"]) {
      const said = await ask({}, asked([{ who }]));
      assert.equal(said.answer, "wait");
      assert.match(
        said.answer === "wait" ? said.reason : "",
        /0 of 1 person approved it; ann@a began the run/,
      );
    }
    assert.equal((await ask({ requester: true }, asked([{ who: "ann@a" }]))).answer, "open");
  });

  it("is closed by one rejection of this plan, whoever approved it before or after, and says whose", async () => {
    const said = await ask(
      { quorum: 1 },
      asked([{}, { answer: "reject", who: "cyd@c", reason: "Friday" }, {}]),
    );
    assert.deepEqual(said, { answer: "closed", reason: "cyd@c (unverified) rejected it: Friday" });
    const other = asked([{ answer: "reject", plan: "b".repeat(64) }, {}]);
    assert.equal((await ask({}, other)).answer, "open");
  });

  it("waits until it expires, to the millisecond, and no approval counts that came later", async () => {
    const wait = await ask({}, asked([]), DAY - 1);
    assert.deepEqual([wait.answer, wait.answer === "wait" && wait.retryAfter], ["wait", 1]);
    const closed = await ask({ expires: "1h" }, asked([{ at: 3_600_001 }]), 3_600_000);
    assert.equal(closed.answer, "closed");
    assert.match(closed.answer === "closed" ? closed.reason : "", /0 of 1 person approved it within 60 min/);
    assert.equal((await ask({ expires: "1h" }, asked([{ at: 3_600_000 }]), 9e9)).answer, "open");
  });

  it("says in a dry run, where nobody is asked, that somebody will be", async () => {
    const said = await approval({ quorum: 2 }).ask(subject(), context());
    assert.deepEqual(
      [said.answer, "reason" in said && said.reason],
      ["wait", "2 people will have to approve"],
    );
  });

  it("refuses a quorum of nobody and a time that is none", () => {
    for (const quorum of [0, 1.5, -1]) assert.throws(() => approval({ quorum }), /quorum/);
    assert.throws(() => approval({ expires: "soon" as "1h" }), /expires/);
  });
});
