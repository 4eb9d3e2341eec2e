import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { findRoot, NoProject, pulumiEnvironment } from "../../automation/toolchain/environment";
import { refuseSecrets, SecretUnderEmbeddedDefault, secureValues } from "../../automation/toolchain/secure";

let root: string;
function project(backend: string): void {
  writeFileSync(join(root, "Pulumi.yaml"), `name: x\nruntime: nodejs\n${backend}\nstackConfigDir: stacks\n`);
}
const EMBEDDED = "backend:\n  # in this clone\n  url: file://.sluice/backend";

/** Gives each test of the block a project of its own, in a directory with an awkward name. */
function inProject(): void {
  beforeEach(() => {
    root = realpathSync(mkdtempSync(join(tmpdir(), "sluice ünï #%-")));
    mkdirSync(join(root, "stacks"));
  });
  afterEach(() => {
    rmSync(root, { recursive: true, force: true });
  });
}

describe("the environment of the Pulumi CLI", () => {
  inProject();

  it("is the embedded backend, absolute, made for this user alone, with the empty passphrase", () => {
    project(EMBEDDED);
    const own = join(root, ".sluice", "backend");
    const { env, backend, embedded } = pulumiEnvironment(root, { HOME: "/home/x" });
    assert.equal(backend, pathToFileURL(own).href);
    assert.ok(embedded);
    assert.deepEqual(env, {
      HOME: "/home/x",
      PULUMI_BACKEND_URL: backend,
      PULUMI_CONFIG_PASSPHRASE: "",
      PULUMI_SKIP_UPDATE_CHECK: "true",
      SLUICE_ROOT: root,
    });
    for (const directory of [own, join(root, ".sluice")])
      assert.equal(statSync(directory).mode & 0o777, 0o700);
    assert.deepEqual(pulumiEnvironment(root, env).env, env, "and the same again inside itself");
  });

  it("reads backend.url however it is written", () => {
    for (const backend of [
      "backend:\n  url: file://.sluice/backend # here",
      'backend:\n\n  other: 1\n  url: "file://.sluice/backend"',
      "backend: { url: 'file://.sluice/backend' }",
      "backend: {other: 1, url: file://.sluice/backend}",
      "backend:\n    'url': file://.sluice/backend",
    ]) {
      project(backend);
      assert.ok(pulumiEnvironment(root, {}).embedded, backend);
    }
    for (const backend of [
      "description: url of the backend is file://.sluice/backend",
      "# backend:\n#   url: file://.sluice/backend",
      "backend:\n  # url: file://.sluice/backend\n  url: s3://bucket",
      "backend:\nother:\n  url: file://.sluice/backend",
    ]) {
      project(backend);
      assert.ok(!pulumiEnvironment(root, {}).embedded, backend);
      assert.ok(!existsSync(join(root, ".sluice", "not made")));
    }
  });

  it("leaves the user's backend and passphrase alone", () => {
    project(EMBEDDED);
    const theirs = pulumiEnvironment(root, { PULUMI_BACKEND_URL: "s3://bucket", PULUMI_AUTOMATION_API: "x" });
    assert.equal(theirs.backend, "s3://bucket");
    assert.ok(!theirs.embedded);
    assert.equal(theirs.env.PULUMI_CONFIG_PASSPHRASE, undefined);
    assert.equal(theirs.env.PULUMI_AUTOMATION_API, "x");
    assert.ok(!existsSync(join(root, ".sluice")), "and makes nothing for it");
    assert.equal(
      pulumiEnvironment(root, { PULUMI_CONFIG_PASSPHRASE: "own" }).env.PULUMI_CONFIG_PASSPHRASE,
      "own",
    );
    const file = pulumiEnvironment(root, { PULUMI_CONFIG_PASSPHRASE_FILE: "/f" }).env;
    assert.equal(file.PULUMI_CONFIG_PASSPHRASE, undefined);
    project("backend:\n  url: gs://bucket");
    const written = pulumiEnvironment(root, {});
    assert.equal(written.backend, "gs://bucket");
    assert.equal(written.env.PULUMI_BACKEND_URL, undefined, "the CLI reads Pulumi.yaml itself");
  });

  it("belongs to the nearest Pulumi.yaml upwards", () => {
    project("");
    const deep = join(root, "a", "b");
    mkdirSync(deep, { recursive: true });
    assert.equal(findRoot(deep), root);
    assert.equal(findRoot(root), root);
    rmSync(join(root, "Pulumi.yaml"));
    assert.throws(() => findRoot(deep), NoProject.is);
  });
});

describe("secrets under the embedded default", () => {
  inProject();

  const stack = (name: string, text: string) =>
    writeFileSync(join(root, "stacks", `Pulumi.${name}.yaml`), text);

  it("are found wherever they are in a stack's file, by key and never by value", () => {
    stack(
      "plain",
      "encryptionsalt: v1:abc\nconfig:\n  sluice:port: '4300'\n  sluice:note: no secure thing here\n",
    );
    stack("block", "encryptionsalt: v1:abc\nconfig:\n  sluice:token:\n    secure: v1:HUSH\n");
    stack("flow", 'config: {"a:b": {"secure": "HUSH"}, "a:c": [{x: {secure: HUSH}}]}\n');
    stack("escaped", 'config:\n  a:b:\n    "s\\x65cure": HUSH\n');
    stack("environment", "environment:\n  values:\n    fn::secure: HUSH\n");
    stack("key", "encryptedkey: HUSH\n");
    writeFileSync(join(root, "stacks", "services.yaml"), "secure: x\n");
    const key = (name: string, path: string) => ({ file: join("stacks", `Pulumi.${name}.yaml`), key: path });
    assert.deepEqual(secureValues(root), [
      key("block", "config.sluice:token"),
      key("escaped", "config.a:b"),
      key("flow", "config.a:b"),
      key("flow", "config.a:c.0.x"),
      key("key", "encryptedkey"),
    ]);
    project(EMBEDDED);
    assert.throws(
      () => refuseSecrets(pulumiEnvironment(root, {})),
      (problem) => {
        assert.ok(SecretUnderEmbeddedDefault.is(problem));
        assert.doesNotMatch(`${problem}`, /HUSH/);
        assert.match(problem.hint, /pulumi -- stack change-secrets-provider .* -s block/);
        return true;
      },
    );
  });

  it("are let be where something protects them", () => {
    stack(
      "kms",
      "secretsprovider: awskms://alias/x\nencryptedkey: abc\nconfig:\n  a:b:\n    secure: v1:HUSH\n",
    );
    project(EMBEDDED);
    refuseSecrets(pulumiEnvironment(root, {}));
    stack("prod", "config:\n  a:b:\n    secure: v1:HUSH\n");
    refuseSecrets(pulumiEnvironment(root, { PULUMI_CONFIG_PASSPHRASE: "long and own" }));
    refuseSecrets(pulumiEnvironment(root, { PULUMI_BACKEND_URL: "s3://bucket" }));
    assert.throws(() => refuseSecrets(pulumiEnvironment(root, {})), SecretUnderEmbeddedDefault.is);
    assert.throws(
      () => refuseSecrets(pulumiEnvironment(root, { PULUMI_CONFIG_PASSPHRASE: "" })),
      SecretUnderEmbeddedDefault.is,
    );
  });
});
