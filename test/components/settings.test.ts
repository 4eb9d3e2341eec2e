import assert from "node:assert/strict";
import fc from "fast-check";
import { hashSettings, resolveSettings } from "../../components/settings";
import { service } from "../support/handle";

describe("settings", () => {
  it("a service alone has defaults for all it does not say", () => {
    assert.deepEqual(resolveSettings(service()), {
      variables: {},
      secrets: {},
      arguments: ["node", "server.js"],
      files: {},
      resources: { replicas: 1 },
      probes: { health: "/", startSeconds: 30 },
    });
  });

  it("the stack's configuration takes precedence over the service", () => {
    const of = service({ replicas: 2, variables: { LEVEL: "info", REGION: "eu" } });
    const settings = resolveSettings(of, { replicas: 5, variables: { LEVEL: "debug" } });
    assert.deepEqual(settings.variables, { LEVEL: "debug", REGION: "eu" });
    assert.equal(settings.resources.replicas, 5);
  });

  it("equal settings have equal hashes, whatever the order of their variables", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.stringMatching(/^[A-Z_]{2,8}$/), fc.string()), (given) => {
        const { PORT: _taken, ...variables } = given;
        const reversed = Object.fromEntries(Object.entries(variables).reverse());
        assert.equal(
          hashSettings(resolveSettings(service({ variables }))),
          hashSettings(resolveSettings(service({ variables: reversed }))),
        );
      }),
    );
  });

  it("whatever changes in the settings changes the hash", () => {
    const hash = (...given: Parameters<typeof resolveSettings>) => hashSettings(resolveSettings(...given));
    const hashes = [
      hash(service()),
      hash(service({ start: ["node", "server.js", "-v"] })),
      hash(service({ health: "/healthz" })),
      hash(service({ startSeconds: 31 })),
      hash(service({ secrets: { TOKEN: "env:TOKEN@1" } })),
      hash(service({ secrets: { TOKEN: "env:TOKEN@2" } })),
      hash(service(), { replicas: 2 }),
      hash(service(), { variables: { A: "" } }),
    ];
    assert.equal(new Set(hashes).size, hashes.length);
  });

  it("a secret is a versioned reference, and what is none is refused without being shown", () => {
    for (const value of ["hunter2", "env:TOKEN", "TOKEN@1", "env:TO KEN@1", ""])
      assert.throws(
        () => resolveSettings(service({ secrets: { TOKEN: value } })),
        (thrown: Error) =>
          "code" in thrown && thrown.code === "bad-config" && !/hunter2/.test(thrown.message),
      );
  });

  it("names that no environment can have, that are the platform's or that are given twice are refused", () => {
    for (const more of [
      { variables: { "A-B": "1" } },
      { variables: { PORT: "1" } },
      { variables: { TOKEN: "1" }, secrets: { TOKEN: "env:TOKEN@1" } },
    ])
      assert.throws(() => resolveSettings(service(more)), { code: "bad-config" });
  });
});
