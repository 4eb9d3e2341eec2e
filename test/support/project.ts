import { execFile, spawn } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { pulumiEnvironment } from "../../automation/toolchain/environment";
import { findPulumi } from "../../automation/toolchain/find";
import { withToolchain } from "../../automation/toolchain/pulumi";
import { connect } from "../../components/local/client";
import { stateDirectory } from "../../components/local/release";

const REPOSITORY = join(__dirname, "..", "..");
/** What a clone has and a run may read or change. */
const COPIED = [
  "components",
  "stacks",
  "automation",
  "policies",
  "bin",
  "package.json",
  "tsconfig.json",
  "Pulumi.yaml",
];

/** How a command ended and what it said. */
export interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

/** How to run a command. */
export interface CommandOptions {
  /** Beside the project's own. @default {} */
  env?: Record<string, string | undefined>;
  /** Ends the command with SIGKILL. @default never */
  signal?: AbortSignal;
}

/** A copy of this project in a temporary directory, with a backend and a supervisor of its own. */
export interface Project {
  readonly root: string;
  /** Public ports by stack. */
  readonly ports: Record<string, number>;
  /** What `sluice` gets; the Pulumi CLI gets what `sluice pulumi` would give it beside. */
  readonly env: Record<string, string | undefined>;
  /** Runs the Pulumi CLI in the project's root. */
  pulumi(args: string[], options?: CommandOptions): Promise<Ended>;
  /** Runs `sluice` in the project's root. */
  sluice(args: string[], options?: CommandOptions): Promise<Ended>;
  /** Ends the supervisor and removes all files. */
  dispose(): Promise<void>;
}

/** What one may say about a project. */
export interface ProjectOptions {
  /** Public ports by stack. @default free ones, for every stack in stacks/ */
  ports?: Record<string, number>;
  /** Gives the project caches of its own, such as the store of artifacts. @default false */
  ownCache?: boolean;
}

/** Copies the project. */
export async function project(options: ProjectOptions = {}): Promise<Project> {
  const root = mkdtempSync(join(tmpdir(), "sluice-project-"));
  for (const name of COPIED)
    if (existsSync(join(REPOSITORY, name)))
      cpSync(join(REPOSITORY, name), join(root, name), { recursive: true });
  symlinkSync(join(REPOSITORY, "node_modules"), join(root, "node_modules"));
  const ports = options.ports ?? (await freePorts(["dev", "staging", "prod"]));
  for (const [stack, port] of Object.entries(ports)) setPort(root, stack, port);
  const toolchain = await findPulumi();
  const env = {
    ...withoutOurs(process.env),
    // In CI colours are on even without a terminal.
    NO_COLOR: "1",
    SLUICE_PULUMI: toolchain.path,
    // Its own: two projects would write the same files of the CLI's at once.
    PULUMI_HOME: join(root, ".pulumi"),
    ...(options.ownCache ? { XDG_CACHE_HOME: join(root, ".cache") } : {}),
  };
  const cli = withToolchain(pulumiEnvironment(root, env).env, toolchain);
  const command = (file: string, args: string[], { env: more, signal }: CommandOptions = {}) =>
    run(file, args, root, { ...env, ...more }, signal);
  return {
    root,
    ports,
    env,
    pulumi: (args, given) =>
      command(toolchain.path, ["--non-interactive", ...args], { ...given, env: { ...cli, ...given?.env } }),
    sluice: (args, given) => command(process.execPath, [join(root, "bin", "sluice.js"), ...args], given),
    dispose: async () => {
      if (existsSync(stateDirectory(root))) {
        const client = await connect(stateDirectory(root), { start: false }).catch(() => undefined);
        await client?.stop();
      }
      // Artifacts are read-only, and a directory that can't be written can't be emptied.
      await promisify(execFile)("chmod", ["-R", "u+w", root]).catch(() => undefined);
      rmSync(root, { recursive: true, force: true, maxRetries: 3 });
    },
  };
}

/** Below those that the kernel gives to connections: one of those may be taken before it is listened on. */
const FIRST_PORT = 20_000;
const LAST_PORT = 32_000;

/** Ports that nobody listens on now. */
export async function freePorts<K extends string>(names: readonly K[]): Promise<Record<K, number>> {
  const found = new Set<number>();
  while (found.size < names.length) {
    const port = FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT));
    if (await isFree(port)) found.add(port);
  }
  const ports = [...found];
  return Object.fromEntries(names.map((name, i) => [name, ports[i]])) as Record<K, number>;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

/** Gives a stack another public port. */
export function setPort(root: string, stack: string, port: number) {
  const file = join(root, "stacks", `Pulumi.${stack}.yaml`);
  const before = readFileSync(file, "utf8");
  writeFileSync(file, before.replace(/^(\s*sluice:port:).*$/m, `$1 "${port}"`));
}

/** The tests' own variables would change what is tested. */
function withoutOurs(env: NodeJS.ProcessEnv): Record<string, string | undefined> {
  return Object.fromEntries(
    Object.entries(env).filter(([name]) => !/^(SLUICE_|PULUMI_|NODE_OPTIONS$|npm_)/.test(name)),
  );
}

function run(
  file: string,
  args: string[],
  cwd: string,
  env: Record<string, string | undefined>,
  signal?: AbortSignal,
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      cwd,
      env,
      stdio: ["ignore", "pipe", "pipe"],
      ...(signal ? { signal, killSignal: "SIGKILL" as const } : {}),
    });
    const out = { stdout: "", stderr: "" };
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      out.stdout += chunk;
    });
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
      out.stderr += chunk;
    });
    child.on("error", (error) => {
      if (error.name !== "AbortError") reject(error);
    });
    child.on("close", (code) => resolve({ code: code ?? 128, ...out }));
  });
}
