import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PolicyEvent } from "@pulumi/pulumi/automation";
import { findPulumi } from "../../automation/toolchain/find";
import type { Filled, Handle } from "../../components/handle";

const REPOSITORY = join(__dirname, "..", "..");
const HEX = "0123456789abcdef".repeat(4);

/** What a release registers, without its platform: the child leaves a line in a file when it is created or updated. */
const PROGRAM = `
import * as pulumi from "@pulumi/pulumi";
const { handle, late, asset } = JSON.parse(process.env.SCENE ?? "{}");
class Release extends pulumi.ComponentResource {
  constructor(name: string, handle: pulumi.Input<unknown>) { super("sluice:index:Release", name, { handle }); }
}
class Other extends pulumi.ComponentResource {
  constructor(file: pulumi.asset.Asset) { super("test:index:Other", "other", { file }); }
}
const touch: pulumi.dynamic.ResourceProvider = {
  create: async (inputs) => { note(inputs, "created"); return { id: "touched", outs: inputs }; },
  update: async (_id, _olds, news) => { note(news, "updated"); return { outs: news }; },
};
function note({ file }: { file: string }, what: string) { require("node:fs").appendFileSync(file, what + "\\n"); }
class Touch extends pulumi.dynamic.Resource {
  constructor(name: string, props: Record<string, pulumi.Input<unknown>>, opts: pulumi.CustomResourceOptions) {
    super(touch, name, props, opts);
  }
}
if (asset) new Other(new pulumi.asset.StringAsset("text"));
if (late) new Release("web", new Touch("first", { file: process.env.MADE }, {}).id.apply((id) => ({ ...handle, service: id })));
else if (handle) new Touch("child", { file: process.env.MADE, handle: JSON.stringify(handle) }, { parent: new Release("web", handle) });
`;

interface Scene {
  handle?: Handle;
  /** The handle is known only once something was created. */
  late?: boolean;
  /** Another resource of the stack has an asset among its inputs. */
  asset?: boolean;
}

interface Ended {
  code: number;
  said: string;
}

function handle(
  over: Partial<Handle> = {},
  variables: Record<string, string> = { LOG_LEVEL: "info" },
): Handle {
  const blue: Filled = {
    pin: { artifact: `dir:web@sha256:${HEX}` },
    settings: {
      variables,
      secrets: { API_TOKEN: "env:API_TOKEN@1" },
      arguments: ["node", "server.js"],
      files: {},
      resources: { replicas: 1 },
      probes: { health: "/healthz", startSeconds: 30 },
    },
    hash: HEX,
  };
  return {
    version: 1,
    platform: "local",
    service: "web",
    live: "blue",
    slots: { blue },
    split: { blue: 100, green: 0 },
    generation: 1,
    ...over,
  };
}

describe("the policy pack", function () {
  this.timeout(120_000);
  let root: string;
  let cli: string;
  let stacks = 0;

  before(async () => {
    root = mkdtempSync(join(tmpdir(), "sluice-policies-"));
    for (const name of ["backend", "home", "node_modules"]) mkdirSync(join(root, name), { mode: 0o700 });
    // As after `npm install sluice`. The project's own package.json has no version.
    const installed = join(root, "node_modules", "sluice");
    for (const name of ["policies", "package.json"])
      cpSync(join(REPOSITORY, name), join(installed, name), { recursive: true });
    for (const name of ["@pulumi", "tsx"])
      symlinkSync(join(REPOSITORY, "node_modules", name), join(root, "node_modules", name));
    writeFileSync(
      join(root, "Pulumi.yaml"),
      'name: sluice\nmain: index.ts\nruntime: { name: nodejs, options: { typescript: false, nodeargs: "--import tsx" } }\n',
    );
    writeFileSync(join(root, "package.json"), '{ "name": "shop" }');
    writeFileSync(join(root, "index.ts"), PROGRAM);
    cli = (await findPulumi()).path;
  });

  after(() => rmSync(root, { recursive: true, force: true }));

  /** A stack of its own; its commands run in the project's root. */
  async function stack() {
    stacks += 1;
    const name = `s${stacks}`;
    const made = join(root, `made-${name}`);
    const log = join(root, `events-${name}`);
    const pulumi = (args: string[], scene: Scene = {}) => run([...args, "-s", name], made, scene);
    const operate =
      (verb: string[]) =>
      (scene: Scene, more: string[] = [], pack = join(REPOSITORY, "policies")) => {
        rmSync(log, { force: true });
        return pulumi([...verb, "--policy-pack", pack, "--event-log", log, ...more], scene);
      };
    assert.equal((await pulumi(["stack", "init", "--no-select"])).code, 0);
    return {
      preview: operate(["preview"]),
      up: operate(["up", "--skip-preview", "--yes"]),
      made: () => (existsSync(made) ? readFileSync(made, "utf8") : ""),
      policyEvents: () =>
        readFileSync(log, "utf8")
          .split("\n")
          .filter(Boolean)
          .map((line) => (JSON.parse(line) as { policyEvent?: PolicyEvent }).policyEvent)
          .filter((event) => event !== undefined),
      resources: async () => {
        const exported = JSON.parse((await pulumi(["stack", "export"])).said) as {
          deployment: { resources?: { type: string; inputs?: { handle?: Handle } }[] };
        };
        return exported.deployment.resources ?? [];
      },
    };
  }

  function run(args: string[], made: string, scene: Scene): Promise<Ended> {
    const env: NodeJS.ProcessEnv = {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      PULUMI_HOME: join(root, "home"),
      PULUMI_BACKEND_URL: `file://${join(root, "backend")}`,
      PULUMI_CONFIG_PASSPHRASE: "",
      PULUMI_SKIP_UPDATE_CHECK: "true",
      // Without it the flag --event-log is not known.
      PULUMI_DEBUG_COMMANDS: "true",
      SCENE: JSON.stringify(scene),
      MADE: made,
    };
    return new Promise((resolve, reject) => {
      const child = execFile(
        cli,
        [...args, "--non-interactive", "--color", "never"],
        { cwd: root, env, maxBuffer: 1 << 26, timeout: 60_000 },
        (problem, stdout, stderr) => {
          if (problem && child.exitCode === null) reject(problem);
          else resolve({ code: child.exitCode ?? 1, said: stdout + stderr });
        },
      );
    });
  }

  it("passes a good release in preview and up, and says nothing", async () => {
    const { preview, up, made, policyEvents } = await stack();
    const looked = await preview({ handle: handle() });
    assert.equal(looked.code, 0, looked.said);
    const done = await up({ handle: handle() });
    assert.equal(done.code, 0, done.said);
    assert.doesNotMatch(looked.said + done.said, /warning|error|\[(?:mandatory|advisory)\]/i);
    assert.match(done.said, /✅ sluice@v/);
    assert.equal(made(), "created\n");
    assert.deepEqual(policyEvents(), []);
  });

  it("stops each violation in the preview, by its name, and shows no secret", async () => {
    const { preview, made, policyEvents } = await stack();
    const bad = handle({ split: { blue: 90, green: 20 } }, { DB_PASSWORD: "hunter22" });
    if (bad.slots.blue) bad.slots.blue.pin.artifact = "web:latest";
    const { code, said } = await preview({ handle: bad });
    assert.notEqual(code, 0);
    const events = policyEvents();
    assert.deepEqual(events.map(({ policyName }) => policyName).sort(), [
      "artifact-immutable",
      "live-slot-filled",
      "no-plain-secret",
      "split-sums",
    ]);
    for (const event of events) {
      assert.equal(event.enforcementLevel, "mandatory");
      assert.match(event.resourceUrn ?? "", /sluice:index:Release::web$/);
      assert.match(said, new RegExp(`\\[mandatory\\] +${event.policyName}`));
    }
    assert.doesNotMatch(said + JSON.stringify(events), /hunter22/);
    assert.equal(made(), "");
  });

  it("stops a violation in up before anything of the release exists", async () => {
    const { up, made, resources } = await stack();
    const { code, said } = await up({ handle: handle({}, { DB_PASSWORD: "hunter22" }) });
    assert.notEqual(code, 0);
    assert.match(said, /\[mandatory\] +no-plain-secret/);
    assert.equal(made(), "");
    assert.deepEqual(
      (await resources()).map(({ type }) => type),
      ["pulumi:pulumi:Stack"],
    );
  });

  it("leaves a release that is there as it is when its successor violates a rule", async () => {
    const { up, made, resources } = await stack();
    assert.equal((await up({ handle: handle() })).code, 0);
    const refused = await up({ handle: handle({ generation: 2, split: { blue: 50, green: 50 } }) });
    assert.notEqual(refused.code, 0);
    assert.match(refused.said, /\[mandatory\] +live-slot-filled/);
    assert.equal(made(), "created\n");
    const release = (await resources()).find(({ type }) => type === "sluice:index:Release");
    assert.equal(release?.inputs?.handle?.generation, 1);
  });

  it("refuses a stack without a release in the preview, and a handle that is not known in time", async () => {
    const { preview, policyEvents, made } = await stack();
    assert.notEqual((await preview({})).code, 0);
    assert.deepEqual(
      policyEvents().map(({ policyName }) => policyName),
      ["release-declared"],
    );
    assert.notEqual((await preview({ handle: handle(), late: true })).code, 0);
    assert.deepEqual(
      policyEvents().map(({ policyName }) => policyName),
      ["handle-plain"],
    );
    assert.equal(made(), "");
  });

  it("takes configuration: names that are allowed, and levels", async () => {
    const { preview, policyEvents } = await stack();
    const file = join(root, "policies.json");
    const scene = { handle: handle({}, { CSRF_TOKEN: "literal" }) };
    const configured = async (config: unknown) => {
      writeFileSync(file, JSON.stringify(config));
      return (await preview(scene, ["--policy-pack-config", file])).code;
    };
    assert.notEqual(await configured({}), 0);
    assert.equal(await configured({ "no-plain-secret": { allowed: ["CSRF_TOKEN"] } }), 0);
    assert.deepEqual(policyEvents(), []);
    assert.equal(await configured({ "no-plain-secret": "advisory" }), 0);
    assert.deepEqual(
      policyEvents().map(({ enforcementLevel }) => enforcementLevel),
      ["advisory"],
    );
    scene.handle = handle();
    assert.notEqual(await configured({ "live-slot-filled": { minReplicas: -1 } }), 0, "it has a schema");
    assert.notEqual(await configured({ "live-slot-filled": { minReplicas: 2 } }), 0);
  });

  it("works as an installed library, in a stack with assets too", async () => {
    const { preview, policyEvents } = await stack();
    const pack = join("node_modules", "sluice", "policies");
    const good = await preview({ handle: handle(), asset: true }, [], pack);
    assert.equal(good.code, 0, good.said);
    assert.doesNotMatch(good.said, /warning|error/i);
    assert.notEqual(
      (await preview({ handle: handle({}, { API_KEY: "literal" }), asset: true }, [], pack)).code,
      0,
    );
    assert.deepEqual(
      policyEvents().map(({ policyName }) => policyName),
      ["no-plain-secret"],
    );
  });

  it("starts in whatever directory the engine runs, and takes the version from its own", async () => {
    const program = require.resolve("@pulumi/pulumi/cmd/run-policy-pack");
    const child = spawn(process.execPath, [program, "127.0.0.1:1", join(REPOSITORY, "policies")], {
      cwd: root,
    });
    try {
      let said = "";
      for await (const chunk of child.stdout) {
        said += chunk;
        if (said.includes("\n")) break;
      }
      assert.match(said, /^\d+\n$/, "it says where it listens");
    } finally {
      child.kill("SIGKILL");
    }
  });
});
