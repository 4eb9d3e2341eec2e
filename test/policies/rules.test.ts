import assert from "node:assert/strict";
import fc from "fast-check";
import { type Filled, type Handle, isArtifact, parseHandle } from "../../components/handle";
import { artifactImmutable, liveSlotFilled, rules, splitSums } from "../../policies/rules";

const HEX = "0123456789abcdef".repeat(4);

function filled(settings: Partial<Filled["settings"]> = {}, artifact = `dir:web@sha256:${HEX}`): Filled {
  return {
    pin: { artifact },
    settings: {
      variables: { PORT: "8080" },
      secrets: { API_TOKEN: "env:API_TOKEN@3" },
      arguments: ["node", "server.js"],
      files: { "/etc/app.json": HEX },
      resources: { replicas: 2 },
      probes: { health: "/healthz", startSeconds: 30 },
      ...settings,
    },
    hash: HEX,
  };
}

function handle(over: Partial<Handle> = {}): Handle {
  return {
    version: 1,
    platform: "local",
    service: "web",
    live: "blue",
    slots: { blue: filled() },
    split: { blue: 100, green: 0 },
    generation: 1,
    ...over,
  };
}

function violations(of: Handle): string[] {
  return rules.flatMap((rule) => rule.check(of).map((sentence) => `${rule.name}: ${sentence}`));
}

describe("policies", () => {
  it("a release as a run declares it at each step breaks no rule", () => {
    const previous = filled({}, `registry.example/web:1.2@sha256:${HEX}`);
    const steps: Partial<Handle>[] = [
      { live: undefined, slots: {}, split: { blue: 0, green: 0 } },
      { live: undefined, slots: { blue: filled() }, split: { blue: 0, green: 0 } },
      { live: undefined, slots: { blue: filled() }, split: { blue: 100, green: 0 } },
      {},
      { slots: { blue: filled(), green: filled() } },
      { slots: { blue: filled(), green: filled() }, split: { blue: 90, green: 10 } },
      { slots: { blue: filled(), green: filled() }, split: { blue: 0, green: 100 } },
      { live: "green", slots: { blue: filled(), green: filled() }, split: { blue: 0, green: 100 }, previous },
      { live: "green", slots: { green: filled() }, split: { blue: 0, green: 100 }, previous },
    ];
    for (const step of steps) {
      assert.deepEqual(violations(handle(step)), []);
      assert.ok(parseHandle(JSON.parse(JSON.stringify(handle(step))), "test"));
    }
  });

  it("a rule says what, why and what to do, in sentences", () => {
    const broken = handle({
      slots: { blue: filled({ variables: { DB_PASSWORD: "hunter22" } }, "web:latest") },
      split: { blue: 0, green: 40 },
    });
    const found = violations(broken);
    assert.equal(new Set(found.map((line) => line.split(":")[0])).size, rules.length);
    for (const line of found) {
      assert.match(line, /\.$/);
      assert.ok((line.match(/\. [A-Z]/g) ?? []).length >= 1, `one sentence alone: ${line}`);
    }
  });

  it("a handle of any shape is judged without a throw", () => {
    fc.assert(
      fc.property(
        fc.record(
          {
            live: fc.anything(),
            slots: fc.object({ key: fc.constantFrom("blue", "green", "pin", "settings") }),
          },
          { requiredKeys: [] },
        ),
        (any) => {
          for (const rule of rules)
            for (const sentence of rule.check(any as unknown as Handle))
              assert.equal(typeof sentence, "string");
        },
      ),
    );
  });
});

describe("artifact-immutable", () => {
  it("takes exactly what the handle's parser takes", () => {
    const part = fc.constantFrom(
      "image",
      "dir:",
      "git:",
      "a/b:1",
      "@",
      "sha256:",
      HEX,
      HEX.slice(24),
      "f",
      " ",
      "\n",
      "G",
    );
    fc.assert(
      fc.property(
        fc.array(part, { maxLength: 7 }).map((parts) => parts.join("")),
        (artifact) => {
          const found = artifactImmutable.check(handle({ slots: { blue: filled({}, artifact) } }));
          assert.equal(found.length === 0, isArtifact(artifact));
        },
      ),
      { numRuns: 3000 },
    );
    for (const good of [
      `web@sha256:${HEX}`,
      `dir:my web@sha256:${HEX}`,
      `git:github.com/a/b@${HEX.slice(24)}`,
    ])
      assert.ok(
        isArtifact(good) &&
          artifactImmutable.check(handle({ slots: { blue: filled({}, good) } })).length === 0,
      );
  });

  it("looks at the idle slot and at what a restore would bring back, too", () => {
    const bad = filled({}, "web:latest");
    assert.match(
      artifactImmutable.check(handle({ slots: { blue: filled(), green: bad } })).join(),
      /^Slot green/,
    );
    assert.match(artifactImmutable.check(handle({ previous: bad })).join(), /^The previous release/);
  });

  it("admits only the configured sources, where some are", () => {
    assert.deepEqual(artifactImmutable.check(handle(), { sources: ["dir:"] }), []);
    assert.match(
      artifactImmutable.check(handle(), { sources: ["registry.example/"] }).join(),
      /none of the sources/,
    );
  });

  it("never shows the password in an artifact's address", () => {
    const [sentence = ""] = artifactImmutable.check(
      handle({ slots: { blue: filled({}, "git:https://u:hunter22@example.org/r@main") } }),
    );
    assert.doesNotMatch(sentence, /hunter22/);
  });
});

describe("split-sums", () => {
  const share = fc.integer({ min: 0, max: 100 });

  it("passes two shares that sum to 100, whatever they are", () => {
    fc.assert(
      fc.property(share, (blue) => {
        assert.deepEqual(splitSums.check(handle({ split: { blue, green: 100 - blue } })), []);
      }),
    );
  });

  it("refuses every other sum but 0/0 where nothing is live", () => {
    fc.assert(
      fc.property(share, share, fc.constantFrom("blue" as const, undefined), (blue, green, live) => {
        const fine = blue + green === 100 || (blue + green === 0 && live === undefined);
        assert.equal(splitSums.check(handle({ live, split: { blue, green } })).length, fine ? 0 : 1);
      }),
    );
  });

  it("refuses 0/0 where a slot is live, and takes it where none is", () => {
    const split = { blue: 0, green: 0 };
    assert.match(splitSums.check(handle({ split })).join(), /0\/0 although blue is live/);
    assert.deepEqual(splitSums.check(handle({ live: undefined, split })), []);
  });

  it("refuses shares that are no whole percent", () => {
    for (const split of [
      { blue: 99.5, green: 0.5 },
      { blue: 120, green: -20 },
      { blue: 100 },
      { blue: "100", green: 0 },
    ])
      assert.equal(
        splitSums.check({ ...handle(), split } as unknown as Handle).length,
        1,
        JSON.stringify(split),
      );
  });
});

describe("live-slot-filled", () => {
  const check = (over: Partial<Handle>, minReplicas?: number) =>
    liveSlotFilled.check(handle(over), minReplicas === undefined ? {} : { minReplicas }).join("\n");

  it("refuses a live slot that is empty", () => {
    assert.match(check({ slots: { green: filled() } }), /^Slot blue is live and empty/);
  });

  it("refuses traffic to an empty slot", () => {
    assert.match(
      check({ split: { blue: 90, green: 10 } }),
      /^Slot green is to take 10 % of the traffic and empty/,
    );
  });

  it("refuses traffic to a slot without replicas or without a health path", () => {
    assert.match(check({ slots: { blue: filled({ resources: { replicas: 0 } }) } }), /has 0 replicas/);
    for (const health of ["", "healthz", "/a b"])
      assert.match(
        check({ slots: { blue: filled({ probes: { health, startSeconds: 1 } }) } }),
        /no health path/,
      );
  });

  it("says nothing of an idle slot", () => {
    const green = filled({ resources: { replicas: 0 }, probes: { health: "", startSeconds: 1 } });
    assert.equal(check({ slots: { blue: filled(), green } }), "");
  });

  it("asks for as many replicas as are configured", () => {
    assert.equal(check({}, 2), "");
    assert.match(check({}, 3), /2 replicas where at least 3/);
  });
});
