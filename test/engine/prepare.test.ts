import assert from "node:assert/strict";
import type { Context, Target } from "../../automation/core/ports";
import { prepare } from "../../automation/engine/prepare";
import { blueGreen } from "../../automation/index";
import type { Handle } from "../../components/handle";

const NOW: Handle = {
  version: 1,
  platform: "local",
  service: "web",
  slots: {},
  split: { blue: 0, green: 0 },
  generation: 3,
};

/** What `prepare` says of a stack that is seen like this. */
async function refusal(seen: {
  declared?: Handle;
  drift: string[];
}): Promise<{ code: string; hint: string }> {
  const target = { key: "web.prod", service: "web", observe: async () => seen } as unknown as Target;
  const release = { id: "", pins: {} };
  const cargo = { request: "promote staging prod", release, services: [], dryRun: false };
  const ctx = { fence: { run: "20261124T055217-1a2b3c", token: 1 } } as Context;
  const environment = { name: "prod", strategy: blueGreen() };
  return prepare(environment, cargo, new Map([[target.key, target]]), ctx).then(
    () => assert.fail("it was not refused"),
    (e) => e,
  );
}

describe("A world that is not as declared", () => {
  it("is put back by Pulumi: no new plan would end it", async () => {
    const { code, hint } = await refusal({ declared: NOW, drift: ["blue runs nothing"] });
    assert.equal(code, "world-moved");
    assert.match(hint, /^`npm run pulumi -- up --refresh -s web\.prod` puts back what the stack declares/);
  });

  it("belongs to another stack where this one declares nothing", async () => {
    const { code, hint } = await refusal({ drift: ["web.prod runs something"] });
    assert.equal(code, "world-moved");
    assert.match(hint, /`npm run pulumi -- stack rename web\.prod -s <its name>`/);
    assert.doesNotMatch(hint, /up --refresh/);
  });

  it("of another run names the environment", async () => {
    const { code, hint } = await refusal({ declared: { ...NOW, run: "20261124T055216-1a2b3c" }, drift: [] });
    assert.equal(code, "journal-elsewhere");
    assert.match(hint, /`npm run abort -- prod`/);
  });
});
