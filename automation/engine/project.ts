import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { BadConfig, SluiceError } from "../../components/errors";
import type { Service } from "../../components/release";
import type { Context, Fence, Target } from "../core/ports";
import { local } from "../targets/local";
import { findRoot, type PulumiEnvironment, pulumiEnvironment } from "../toolchain/environment";
import { findPulumi, type Toolchain } from "../toolchain/find";
import { withToolchain } from "../toolchain/pulumi";
import { refuseSecrets } from "../toolchain/secure";
import { keyOf, type Pipeline } from "./pipeline";
import type { Environment } from "./run";

/** Everything that the commands share: the checkout, its pipeline, and the CLI to drive it with. */
export interface Project {
  root: string;
  pipeline: Pipeline;
  pulumi: PulumiEnvironment;
  /** Finds or makes the CLI on first use. */
  cli(): Promise<Toolchain>;
  target(service: Service, environment: Environment): Promise<Target>;
  /** Milliseconds spent in the CLI so far, by command. */
  spent: Map<string, { count: number; milliseconds: number }>;
}

/** Opens the project around a directory. Throws `no-project`, `bad-config`. */
export function openProject(cwd: string, progress: (line: string) => void): Project {
  const root = findRoot(cwd);
  const pipeline = load(root);
  const pulumi = pulumiEnvironment(root);
  const spent: Project["spent"] = new Map();
  let found: Promise<Toolchain> | undefined;
  const cli = () => (found ??= findPulumi({ progress }));
  // The whole SDK is behind this require: status and history don't pay for it until they need a stack.
  const stackOf = () => (require("./stack") as typeof import("./stack")).openStack;

  async function target(service: Service, environment: Environment): Promise<Target> {
    refuseSecrets(pulumi);
    const key = keyOf(pipeline, service, environment.name);
    const toolchain = await cli();
    const stack = stackOf()({
      root,
      project: pulumi.project,
      name: key,
      services: pipeline.services,
      cli: toolchain,
      env: withToolchain(pulumi.env, toolchain),
      backend: pulumi.backend,
      policyPacks: (environment.policies ?? [ownPack(root)]).map((pack) => resolve(root, pack)),
      onOperation: ({ command, milliseconds }) => {
        const sum = spent.get(command) ?? { count: 0, milliseconds: 0 };
        spent.set(command, { count: sum.count + 1, milliseconds: sum.milliseconds + milliseconds });
      },
    });
    return local({ key, service: service.name, name: `${service.name}.${environment.name}`, root, stack });
  }

  return { root, pipeline, pulumi, cli, target, spent };
}

/** The project's own pack where it has one, else the one that comes with Sluice. */
function ownPack(root: string): string {
  const own = join(root, "policies");
  return existsSync(join(own, "PulumiPolicy.yaml")) ? own : join(__dirname, "..", "..", "policies");
}

function load(root: string): Pipeline {
  const file = join(root, "automation", "pipeline.ts");
  try {
    const loaded = createRequire(join(root, "package.json"))(file) as { default?: Pipeline };
    if (!loaded.default) throw BadConfig(file, "it has no default export");
    return loaded.default;
  } catch (e) {
    if (e instanceof SluiceError) throw e;
    throw BadConfig(file, e instanceof Error ? (e.message.split("\n")[0] ?? "") : String(e));
  }
}

/** A context for looking, outside any run. */
export function looking(log: (line: string) => void, signal = new AbortController().signal): Context {
  const fence: Fence = { run: "", token: 0 };
  return { signal, now: Date.now, log, fence };
}
