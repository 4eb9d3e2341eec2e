import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { error } from "../../components/errors";
import type { Environment } from "./cache";

/** The environment in which every Pulumi CLI of a project runs. */
export interface PulumiEnvironment {
  /** The directory of Pulumi.yaml. */
  root: string;
  /** The project's name there. */
  project: string;
  /** All variables, the caller's included. */
  env: Record<string, string>;
  /** The URL of the backend; empty where `pulumi login` chose it. */
  backend: string;
  /** The state is in this clone, under `.sluice/`: nothing protects it. */
  embedded: boolean;
}

export const NoProject = error("no-project", {
  message: (cwd: string) => `Neither ${cwd} nor any directory above it has a Pulumi.yaml.`,
  hint: () => "Go to the directory of the project, the one with Pulumi.yaml, and run the command there.",
});

/** What Pulumi.yaml says for the embedded default. */
export const EMBEDDED = "file://.sluice/backend";

/** The nearest directory upwards that has a Pulumi.yaml. Throws `no-project`. */
export function findRoot(cwd: string): string {
  for (let directory = resolve(cwd); ; directory = dirname(directory)) {
    if (existsSync(join(directory, "Pulumi.yaml"))) return directory;
    if (directory === dirname(directory)) throw NoProject(cwd);
  }
}

/**
 * What the CLI must see so that it uses the project's backend from wherever it is started. Makes the directory of
 * the embedded default on first use, for the CLI refuses one that isn't there.
 */
export function pulumiEnvironment(root: string, env: Environment = process.env): PulumiEnvironment {
  const own = join(root, ".sluice", "backend");
  // The CLI resolves a relative URL from its working directory, hence an absolute one.
  const ownUrl = pathToFileURL(own).href;
  const text = readFileSync(join(root, "Pulumi.yaml"), "utf8");
  const project = /^name:[ \t]*["']?([\w.-]+)/m.exec(text)?.[1] ?? "sluice";
  const chosen = env.PULUMI_BACKEND_URL || backendUrl(text);
  const embedded = chosen === EMBEDDED || chosen === ownUrl;
  const result: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) if (value !== undefined) result[name] = value;
  result.PULUMI_SKIP_UPDATE_CHECK = "true";
  result.SLUICE_ROOT = root;
  if (embedded) {
    mkdirSync(own, { recursive: true, mode: 0o700 });
    result.PULUMI_BACKEND_URL = ownUrl;
    if (env.PULUMI_CONFIG_PASSPHRASE === undefined && env.PULUMI_CONFIG_PASSPHRASE_FILE === undefined) {
      result.PULUMI_CONFIG_PASSPHRASE = "";
    }
  }
  return { root, project, env: result, backend: embedded ? ownUrl : (chosen ?? ""), embedded };
}

/** `backend.url` of a Pulumi.yaml in block or flow style; reading two lines does not need the 30 ms of a parser. */
function backendUrl(text: string): string | undefined {
  const lines = text.replace(/(^|\s)#.*$/gm, "$1").split("\n");
  const start = lines.findIndex((line) => line.startsWith("backend:"));
  if (start < 0) return undefined;
  const next = lines.findIndex((line, index) => index > start && /^\S/.test(line));
  const block = lines.slice(start, next < 0 ? undefined : next).join("\n");
  const url = /[\s{,]["']?url["']?:[ \t]*(?:"([^"\n]*)"|'([^'\n]*)'|([^\s},]+))/.exec(block);
  return url?.slice(1).find((part) => part !== undefined);
}
