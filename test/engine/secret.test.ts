import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  resolvedSecrets,
  resolveSecret,
  SecretMissing,
  type SecretRef,
} from "../../automation/engine/secret";
import { BadConfig } from "../../components/errors";

const VARIABLE = "SLUICE_TEST_SECRET";

describe("A secret reference", () => {
  let scratch: string;
  beforeEach(() => {
    scratch = mkdtempSync(join(tmpdir(), "sluice-secret-"));
  });
  afterEach(() => {
    rmSync(scratch, { recursive: true });
    delete process.env[VARIABLE];
  });

  it("gives the secret from a variable, a file or a command, without the line's end", async () => {
    process.env[VARIABLE] = "from-env";
    const file = join(scratch, "token");
    writeFileSync(file, " from file \n", { mode: 0o600 });
    assert.equal(await resolveSecret({ env: VARIABLE }), "from-env");
    assert.equal(await resolveSecret({ file }), " from file ");
    assert.equal(
      await resolveSecret({ command: ["sh", "-c", "echo from-command; echo noise >&2"] }),
      "from-command",
    );
  });

  it("that leads to nothing says where it looked", async () => {
    writeFileSync(join(scratch, "empty"), "\n");
    process.env[VARIABLE] = "";
    const refs: SecretRef[] = [
      { env: "SLUICE_TEST_NOT_SET" },
      { env: VARIABLE },
      { file: join(scratch, "none") },
      { file: join(scratch, "empty") },
      { file: scratch },
      { command: ["/nonexistent/program"] },
      { command: ["true"] },
    ];
    for (const ref of refs) await assert.rejects(resolveSecret(ref), SecretMissing.is, JSON.stringify(ref));
  });

  it("never shows what a failing command wrote", async () => {
    const ref = { command: ["sh", "-c", "echo hunter22; echo hunter22 >&2; exit 4"] };
    await assert.rejects(resolveSecret(ref), (thrown: Error) => {
      assert.ok(SecretMissing.is(thrown));
      assert.match(thrown.message, /ended with 4/);
      return !/hunter22/.test(`${thrown.stack} ${JSON.stringify(thrown)}`);
    });
  });

  it("is never the secret itself, and such a one is not shown", async () => {
    // @ts-expect-error A plain string where a secret belongs is a type error.
    const plain: SecretRef = "hunter22";
    const wrong = [
      plain,
      undefined,
      null,
      7,
      {},
      { env: 7 },
      { token: "hunter22" },
      { command: "hunter22" },
      { command: [] },
    ];
    for (const ref of [...wrong, { env: "A", file: "B" }])
      await assert.rejects(
        resolveSecret(ref as SecretRef),
        (thrown) => BadConfig.is(thrown) && !/hunter22/.test(String(thrown)),
        JSON.stringify(ref),
      );
  });

  it("is known to the redactor once it was resolved", async () => {
    process.env[VARIABLE] = "known-from-now-on";
    await resolveSecret({ env: VARIABLE });
    assert.ok(resolvedSecrets().includes("known-from-now-on"));
  });
});
