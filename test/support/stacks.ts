import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Handle } from "../../components/handle";
import type { Order } from "../../components/program";
import type { CommandOptions, Ended, Project } from "./project";

/** What an `up` of a test is given beside the stack. */
export interface UpOptions extends CommandOptions {
  /** @default none: a by-hand up */
  order?: Order;
  /** Where a resource fails: its name. @default nowhere */
  failing?: string;
  /** Token of the run that the order belongs to. @default 1 */
  token?: number;
  /** More arguments of the command. @default [] */
  args?: string[];
}

/** The stacks of a project whose program takes orders from a variable, and whose resources fail where asked to. */
export function stacksOf(project: Project) {
  const at = (...path: string[]) => join(project.root, ...path);
  const index = readFileSync(at("stacks", "index.ts"), "utf8");
  const ordered = index.replace(
    "program({ services })",
    'program({ services, ...JSON.parse(process.env.TEST_ORDER ?? "{}") })',
  );
  if (ordered === index) throw new Error("stacks/index.ts is not what it was");
  writeFileSync(at("stacks", "index.ts"), ordered);
  const resources = readFileSync(at("components", "local", "resources.js"), "utf8");
  writeFileSync(at("components", "local", "resources.js"), resources + INJECTION);

  return {
    async init(stack: string): Promise<void> {
      expect0(await project.pulumi(["stack", "init", stack]));
    },
    /** Sets a key of the stack's configuration in its file; undefined removes it. */
    set(stack: string, key: string, value: string | undefined): void {
      const file = at("stacks", `Pulumi.${stack}.yaml`);
      const without = readFileSync(file, "utf8").replace(new RegExp(`^ +sluice:${key}:.*\\n`, "m"), "");
      const line = value === undefined ? "" : `  sluice:${key}: "${value}"\n`;
      writeFileSync(file, without.replace("config:\n", `config:\n${line}`));
    },
    up(stack: string, options: UpOptions = {}): Promise<Ended> {
      const { order, failing, token = 1, args = [] } = options;
      const env = {
        ...(order && {
          TEST_ORDER: JSON.stringify({ order }),
          SLUICE_RUN: order.by.run,
          SLUICE_FENCE: String(token),
        }),
        TEST_FAILING: failing,
        ...options.env,
      };
      return project.pulumi(["up", "--yes", "--skip-preview", "-s", stack, ...args], { ...options, env });
    },
    /** The handle that the stack has stored. */
    async handle(stack: string): Promise<Handle | undefined> {
      const { stdout } = await project.pulumi(["stack", "output", "--json", "-s", stack]);
      return (JSON.parse(stdout) as { handle?: Handle }).handle;
    },
    /** The resources of the stack's state, by name. */
    async state(
      stack: string,
    ): Promise<Record<string, { outputs: Record<string, unknown>; initErrors?: string[] }>> {
      const { stdout } = await project.pulumi(["stack", "export", "-s", stack]);
      const resources = JSON.parse(stdout).deployment.resources ?? [];
      return Object.fromEntries(resources.map((one: { urn: string }) => [one.urn.split("::").at(-1), one]));
    },
  };
}

export type Stacks = ReturnType<typeof stacksOf>;

/** The output of a command that must have worked. */
export function expect0(ended: Ended): string {
  if (ended.code !== 0) throw new Error(`exit ${ended.code}\n${ended.stdout}\n${ended.stderr}`);
  return ended.stdout;
}

const INJECTION = `
for (const kind of [slot, route]) {
  for (const method of ["create", "update"]) {
    const real = kind[method];
    kind[method] = async (...given) => {
      const args = given.at(-1);
      if (process.env.TEST_FAILING === (args.slot ?? "route")) throw new Error("injected at " + method);
      return real(...given);
    };
  }
}
`;
