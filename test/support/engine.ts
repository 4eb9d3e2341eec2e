import type { Output } from "@pulumi/pulumi/output";
import { setAllConfig } from "@pulumi/pulumi/runtime/config";
import { type MockResourceArgs, setMocks } from "@pulumi/pulumi/runtime/mocks";
import { type DeclareOptions, declare } from "../../components/program";

/** What the engine of a test knows, and where it fails. */
export interface EngineOptions {
  /** @default "prod" */
  stack?: string;
  /** The outputs that the stack stored last. @default none */
  outputs?: Record<string, unknown>;
  /** Names of outputs that are secret. @default none */
  secret?: string[];
  /** @default { "sluice:port": "4300" } */
  config?: Record<string, string>;
  /** Keys of the configuration that are secret. @default none */
  secretKeys?: string[];
  /** Name of the resource whose registration fails. @default none */
  failing?: string;
}

/** Runs the program against an engine in memory; tells what it registered, in order, and the handle it would store. */
export async function run(options: DeclareOptions, engine: EngineOptions = {}) {
  const registered: MockResourceArgs[] = [];
  const { stack = "prod", outputs = {}, secret = [] } = engine;
  setAllConfig(engine.config ?? { "sluice:port": "4300" }, engine.secretKeys ?? []);
  await setMocks(
    {
      newResource: (resource) => {
        if (resource.type === "pulumi:pulumi:StackReference")
          return { id: resource.name, state: { ...resource.inputs, outputs, secretOutputNames: secret } };
        registered.push(resource);
        if (resource.name === engine.failing && resource.type.startsWith("pulumi-nodejs:"))
          throw new Error(`injected at ${resource.name}`);
        return { id: `id-${resource.name}`, state: resource.inputs };
      },
      call: () => ({}),
    },
    "sluice",
    stack,
    false,
    "organization",
  );
  const names = () => registered.map((resource) => `${resource.type} ${resource.name}`);
  try {
    const { handle } = await declare({ root: "/project", ...options });
    return { stored: await settled(handle), registered, names };
  } catch (thrown) {
    return { thrown, registered, names };
  }
}

/** The value of an output, or undefined where it can never have one. */
function settled<T>(output: Output<T>): Promise<T | undefined> {
  return new Promise((resolve) => {
    output.apply((value) => resolve(value as T));
    (output as unknown as { promise(): Promise<T> }).promise().then(resolve, () => resolve(undefined));
  });
}
