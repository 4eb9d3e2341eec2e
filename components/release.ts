import { all, type Output } from "@pulumi/pulumi/output";
import { ComponentResource, type ComponentResourceOptions } from "@pulumi/pulumi/resource";
import { BadConfig } from "./errors";
import type { Handle } from "./handle";
import type { LocalOptions } from "./local/options";
import type { GitSource } from "./local/origin";
import { LocalRelease, type LocalTransform } from "./local/release";

/** A directory to make an artifact from. */
export interface DirectorySource {
  /** Directory, relative to the project. */
  directory: string;
  /** Command that is run once in a copy of the directory. @default none */
  build?: string[] | undefined;
  /** Names left out of the artifact, at any depth. @default [] */
  ignore?: string[] | undefined;
}

/** Something that is deployed. */
export interface Service {
  /** Lower-case letters, digits and dashes; with the environment it names the service on its platform. */
  name: string;
  /** What `--build` makes an artifact from: a directory of the project, or a commit of a git repository. */
  source: DirectorySource | GitSource;
  /** Start command and its arguments; the port to listen on comes in PORT. */
  start: string[];
  /** Path that answers 2xx once a replica can take traffic. @default "/" */
  health?: string | undefined;
  /** Processes per slot; `sluice:replicas` of a stack takes precedence. @default 1 */
  replicas?: number | undefined;
  /** Seconds a new replica may take until it is ready. @default 30 */
  startSeconds?: number | undefined;
  /** Plain environment variables; those of `sluice:variables` take precedence. @default {} */
  variables?: Record<string, string> | undefined;
  /** Environment variable → versioned reference, such as `env:TOKEN@1`; never a value. @default {} */
  secrets?: Record<string, string> | undefined;
  /** Where the source is kept, for links and notes. @default none */
  repository?: string | undefined;
  /** Where it runs. @default "local" */
  platform?: "local" | undefined;
  /** How the embedded platform treats its requests. @default as documented in components/local/README.md */
  local?: LocalOptions | undefined;
}

/** Changes what the children of a release are created with: the hatch for what the arguments don't offer. */
export interface Transform {
  local?: LocalTransform | undefined;
}

/** What every platform's release is made from. */
export interface ReleaseArgs {
  /** What to declare, as plain data: policies see it before any child exists. */
  handle: Handle;
  /** Changes the service although a run is open: `sluice:force`. @default false */
  force?: boolean | undefined;
  /** How the embedded platform treats the requests. No part of the handle: `pulumi up` by hand may change it. @default as documented */
  local?: LocalOptions | undefined;
  /** @default none */
  transform?: Transform | undefined;
}

/** A service with two slots and one weighted route, on the platform that its handle names. */
export class Release extends ComponentResource {
  /** Identifiers of everything below; unresolved for ever where one of it failed. */
  readonly children: Output<string[]>;

  constructor(name: string, args: ReleaseArgs, opts?: ComponentResourceOptions) {
    super("sluice:index:Release", name, { handle: args.handle }, opts);
    const platform = createPlatform(name, args, this);
    this.children = all([this.urn, platform.children]).apply(([urn, ids]) => [urn, ...ids]);
    this.registerOutputs({ children: this.children });
  }
}

function createPlatform(name: string, args: ReleaseArgs, parent: Release): LocalRelease {
  const { handle, force, local, transform } = args;
  if (handle.platform === "local")
    return new LocalRelease(name, { handle, force, options: local, transform: transform?.local }, { parent });
  throw BadConfig(`release ${name}`, `There is no platform "${handle.platform}". Known: local.`);
}
