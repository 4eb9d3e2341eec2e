import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { BadConfig } from "../../components/errors";
import { WrongUse } from "../core/errors";

/** Where the files lie that a new project begins with: this very package uses them. */
const PACKAGE = join(__dirname, "..", "..");
/** What the hints of all errors say is `npm run <one of these>`. */
const COMMANDS = [
  ...[
    "promote",
    "status",
    "history",
    "show",
    "explain",
    "replay",
    "simulate",
    "logs",
    "approve",
    "reject",
    "abort",
    "rollback",
    "redeploy",
  ],
  ...["resolve", "doctor", "pulumi", "local"],
];
const NAME = /^[a-z][a-z0-9-]{0,39}$/;

/** What is asked where nobody says it by an option. */
export interface InitAnswers {
  /** The service's name. */
  name?: string | undefined;
  /** Start command, as in a shell without quotes. */
  start?: string | undefined;
  /** Path that answers 2xx once it can take traffic. */
  health?: string | undefined;
  /** Where its source is, relative to the project. */
  directory?: string | undefined;
}

type Own = Record<keyof InitAnswers, string>;

/** What `init` did: files by path, relative to the project. */
export interface Initiated {
  written: string[];
  kept: string[];
  next: string;
}

/** Asks a person; the default where they say nothing, or where nobody can be asked. */
export type Ask = (question: string, byDefault: string) => Promise<string>;

/**
 * Makes the directory a Sluice project: in an empty one with a sample service, else around the service that is
 * there. Writes what is missing, and never over anything. Throws `wrong-use`, `bad-config`.
 */
export async function init(root: string, answers: InitAnswers, ask: Ask): Promise<Initiated> {
  const files = new Map<string, string>();
  const name = projectName(root);
  const sample = isEmpty(root) && Object.values(answers).every((answer) => answer === undefined);
  const manifest = readManifest(root);
  const own = sample ? undefined : await askOwn(root, manifest, answers, ask);
  const pipeline = template("automation/pipeline.ts").replace('"./index"', '"sluice"');
  files.set("Pulumi.yaml", pulumiYaml(name, manifest));
  files.set(
    "automation/pipeline.ts",
    own ? pipeline.replace('"/healthz"', JSON.stringify(own.health)) : pipeline,
  );
  files.set(
    "stacks/index.ts",
    template("stacks/index.ts").replace('"../components/program"', '"sluice/components"'),
  );
  files.set("stacks/services.ts", own ? ownServices(root, own) : sampleServices());
  for (const stack of ["dev", "staging", "prod"])
    files.set(`stacks/Pulumi.${stack}.yaml`, template(`stacks/Pulumi.${stack}.yaml`));
  if (sample) files.set("stacks/sample/server.js", template("stacks/sample/server.js"));
  // What Pulumi loads is CommonJS, whatever the repository's own code is.
  if (manifest.type === "module")
    for (const folder of ["automation", "stacks"])
      files.set(`${folder}/package.json`, '{ "type": "commonjs" }\n');
  const done = write(root, files);
  // Every hint names a script: that one of these is somebody else's must be said.
  for (const [name, line] of Object.entries(manifest.scripts))
    if (COMMANDS.includes(name) && !line.startsWith("sluice "))
      done.kept.push(`script "${name}" of package.json; ours is \`npx sluice ${name}\``);
  if (addScripts(root, manifest)) done.written.push("package.json (scripts)");
  if (ignore(root)) done.written.push(".gitignore (.sluice/)");
  return { ...done, next: "npm run promote -- staging prod" };
}

/** What was done, as lines for people. */
export function initLines({ written, kept, next }: Initiated): string[] {
  return [
    ...written.map((file) => `  wrote  ${file}`),
    ...kept.map((file) => `  kept   ${file}`),
    "",
    `Ready. \`${next}\` builds a first release and takes it through staging to prod, on this machine.`,
    "What is deployed is in stacks/services.ts, how it moves in automation/pipeline.ts.",
  ];
}

interface Manifest {
  text?: string | undefined;
  name?: string | undefined;
  main?: string | undefined;
  type?: string | undefined;
  scripts: Record<string, string>;
}

function readManifest(root: string): Manifest {
  const file = join(root, "package.json");
  if (!existsSync(file)) return { scripts: {} };
  const text = readFileSync(file, "utf8");
  try {
    const { name, main, type, scripts = {} } = JSON.parse(text) as Partial<Manifest>;
    return { text, name, main, type, scripts };
  } catch {
    throw BadConfig(file, "it is not JSON.");
  }
}

/** Nothing but what installing Sluice leaves, and hidden files. */
function isEmpty(root: string): boolean {
  const installed = new Set(["node_modules", "package.json", "package-lock.json"]);
  return readdirSync(root).every(
    (entry) => installed.has(entry) || entry.startsWith(".") || /\.tgz$/.test(entry),
  );
}

function projectName(root: string): string {
  const plain = basename(root)
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, "-")
    .replace(/^[^a-z]+|-+$/g, "");
  return NAME.test(plain) ? plain : plain.slice(0, 40) || "service";
}

function template(path: string): string {
  return readFileSync(join(PACKAGE, path), "utf8");
}

function pulumiYaml(name: string, { main }: Manifest): string {
  const text = template("Pulumi.yaml").replace(/^name: .*$/m, `name: ${name}`);
  // Pulumi starts what package.json calls main, and that is somebody else's here.
  return main === "stacks/index.ts" ? text : text.replace(/^stackConfigDir:/m, "main: stacks\n$&");
}

function sampleServices(): string {
  return template("stacks/services.ts").replace('"../components/release"', '"sluice/components"');
}

async function askOwn(root: string, { scripts }: Manifest, answers: InitAnswers, ask: Ask): Promise<Own> {
  const name = answers.name ?? (await ask("Name of the service", projectName(root)));
  if (!NAME.test(name))
    throw WrongUse(`a service's name is lower-case letters, digits and dashes, not ${JSON.stringify(name)}`);
  const known = !scripts.start && existsSync(join(root, "server.js")) ? "node server.js" : "npm start";
  const start = answers.start ?? (await ask("Start command; the port to listen on is in PORT", known));
  const health = answers.health ?? (await ask("Path that answers 2xx once it is ready", "/"));
  if (!health.startsWith("/"))
    throw WrongUse(`a health path begins with a slash, not ${JSON.stringify(health)}`);
  const directory = answers.directory ?? ".";
  if (!existsSync(join(root, directory)))
    throw WrongUse(`there is no directory ${JSON.stringify(directory)} here`);
  return { name, start, health, directory };
}

function ownServices(root: string, { name, start, health, directory }: Own): string {
  const locked = existsSync(join(root, directory, "package-lock.json"));
  const build = locked ? '\n      build: ["npm", "ci", "--omit=dev"],' : "";
  const words = start.trim().split(/\s+/);
  return `import type { Service } from "sluice/components";

/** What is deployed. Where and how it moves is in automation/pipeline.ts; per stack, in stacks/Pulumi.<stack>.yaml. */
export const services: Service[] = [
  {
    name: ${JSON.stringify(name)},
    source: {
      directory: ${JSON.stringify(directory)},${build}
      ignore: [".git", ".sluice", "node_modules"],
    },
    start: ${JSON.stringify(words)},
    health: ${JSON.stringify(health)},
  },
];
`;
}

function write(root: string, files: ReadonlyMap<string, string>): { written: string[]; kept: string[] } {
  const written: string[] = [];
  const kept: string[] = [];
  for (const [path, text] of files) {
    const file = join(root, path);
    mkdirSync(dirname(file), { recursive: true });
    try {
      writeFileSync(file, text, { flag: "wx" });
      written.push(path);
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code !== "EEXIST") throw e;
      kept.push(path);
    }
  }
  return { written, kept };
}

/** Adds the scripts that are missing, and touches nothing else of the file. */
function addScripts(root: string, manifest: Manifest): boolean {
  const missing = COMMANDS.filter((command) => !(command in manifest.scripts));
  if (missing.length === 0) return false;
  const text = manifest.text ?? `${JSON.stringify({ private: true }, undefined, 2)}\n`;
  const value = JSON.parse(text) as { scripts?: Record<string, string> };
  value.scripts = {
    ...value.scripts,
    ...Object.fromEntries(missing.map((command) => [command, `sluice ${command}`])),
  };
  const indent = /^([ \t]+)"/m.exec(text)?.[1] ?? "  ";
  writeFileSync(join(root, "package.json"), `${JSON.stringify(value, undefined, indent)}\n`);
  return true;
}

function ignore(root: string): boolean {
  const file = join(root, ".gitignore");
  const text = existsSync(file) ? readFileSync(file, "utf8") : "";
  const lines = text.split(/\r?\n/);
  const missing = [".sluice/", "node_modules/"].filter(
    (line) => !lines.includes(line) && !lines.includes(line.slice(0, -1)),
  );
  if (missing.length === 0) return false;
  writeFileSync(file, `${text}${text === "" || text.endsWith("\n") ? "" : "\n"}${missing.join("\n")}\n`);
  return true;
}
