import { execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type CliFailed, runCli } from "../engine/cli";
import type { Project } from "../engine/project";
import { MINIMUM, type Toolchain } from "../toolchain/find";
import { withToolchain } from "../toolchain/pulumi";
import { refuseSecrets } from "../toolchain/secure";
import { bad, type Finding, good, probe, warning } from "./finding";
import { place } from "./machine";

/** The Pulumi CLI, what it needs beside it, and the SDK that the program uses. */
export async function pulumi({ root, cli }: Pick<Project, "root" | "cli">): Promise<Finding[]> {
  let found: Toolchain | undefined;
  const findings = await probe("Pulumi CLI", async () => {
    found = await cli();
    return good("Pulumi CLI", `${found.version}, ${found.path} (${found.origin})`);
  });
  return [...findings, ...(await sdk(root, found?.version)), ...(found ? [languageHost(found.path)] : [])];
}

/** The SDK in this project's packages; its major version must be the CLI's. */
function sdk(root: string, cli: string | undefined): Promise<Finding[]> {
  const look = () => {
    const { version } = createRequire(join(root, "package.json"))("@pulumi/pulumi/package.json") as {
      version: string;
    };
    const differs = cli !== undefined && version.split(".")[0] !== cli.split(".")[0];
    return differs
      ? bad(
          "Pulumi SDK",
          `${version}, but the CLI is ${cli}`,
          `Take a CLI >= ${MINIMUM} of the same major version.`,
        )
      : good("Pulumi SDK", version);
  };
  return probe("Pulumi SDK", look, "Run `npm ci`.");
}

/** The engine starts programs through its language host: beside the binary, or on PATH. */
export function languageHost(
  path: string,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Finding {
  const name = "pulumi-language-nodejs";
  const real = existsSync(path) ? realpathSync(path) : path;
  const folders = [dirname(path), dirname(real), ...(env.PATH ?? "").split(delimiter)].filter(Boolean);
  const there = folders.map((folder) => join(folder, name)).find((file) => existsSync(file));
  if (there) return good("Pulumi plugins", `${there}; providers of the embedded platform need none`);
  return bad(
    "Pulumi plugins",
    `no ${name} beside ${path} or on PATH`,
    "Install the whole distribution of Pulumi, not the one binary; or unset SLUICE_PULUMI, and one is made whole.",
  );
}

const KINDS: readonly [scheme: RegExp, kind: string][] = [
  [/^file:/, "files"],
  [/^s3:/, "S3"],
  [/^gs:/, "Google Cloud Storage"],
  [/^azblob:/, "Azure Blob Storage"],
  [/^https?:/, "Pulumi Cloud"],
];

/** The backend: which kind, whether it answers, and whether it takes what is written. */
export async function backend({
  root,
  pulumi: of,
  cli,
}: Pick<Project, "root" | "pulumi" | "cli">): Promise<Finding[]> {
  const kind = KINDS.find(([scheme]) => scheme.test(of.backend))?.[1] ?? "as `pulumi login` chose it";
  const ask = async () => {
    const found = await cli();
    const env = withToolchain(of.env, found);
    const args = ["stack", "ls", "--json", "--non-interactive"];
    try {
      await runCli(args, { path: found.path, cwd: root, env });
    } catch (e) {
      throw new Error((e as CliFailed).message.split("\n")[0], { cause: e });
    }
    return good("backend", `${of.backend || "(default)"} (${kind}) answers`);
  };
  const mend =
    "Check PULUMI_BACKEND_URL, or `backend.url` in Pulumi.yaml, and your access: `npm run pulumi -- whoami -v`.";
  return [
    ...(await probe("backend", ask, mend)),
    // Another kind shows whether it can be written when it is; trying would leave something there.
    ...(of.backend.startsWith("file:") ? [place("backend's files", fileURLToPath(of.backend))] : []),
  ];
}

/** Who protects secrets in the state and the configuration. */
export async function secrets({ root, pulumi: of }: Pick<Project, "root" | "pulumi">): Promise<Finding[]> {
  const what = "secrets provider";
  const findings: Finding[] = [];
  if (of.embedded && !of.env.PULUMI_CONFIG_PASSPHRASE && !of.env.PULUMI_CONFIG_PASSPHRASE_FILE)
    findings.push(
      warning(
        what,
        "the embedded default: an empty passphrase, which protects nothing",
        "Keep no secret in the stacks' configuration, or move: `npm run pulumi -- stack change-secrets-provider <provider> -s <stack>`.",
      ),
    );
  else findings.push(passphrase(root, of.env));
  const look = () => {
    refuseSecrets(of);
    return good("secrets in the configuration", "none that nothing protects");
  };
  return [...findings, ...(await probe("secrets in the configuration", look))];
}

function passphrase(root: string, env: Readonly<Record<string, string>>): Finding {
  const what = "secrets provider";
  const salted = readdirSync(join(root, "stacks"))
    .filter((name) => /^Pulumi\..+\.ya?ml$/.test(name))
    .filter((name) => {
      const text = readFileSync(join(root, "stacks", name), "utf8");
      return (
        /^encryptionsalt:/m.test(text) && !/^secretsprovider:\s*["']?(?!passphrase|default)\S/m.test(text)
      );
    });
  const given = env.PULUMI_CONFIG_PASSPHRASE !== undefined || env.PULUMI_CONFIG_PASSPHRASE_FILE !== undefined;
  if (salted.length === 0 || given)
    return good(what, salted.length > 0 ? "a passphrase, which is set" : "the stacks' own");
  return bad(
    what,
    `${salted.join(", ")} want a passphrase, and none is set`,
    "Set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE.",
  );
}

/** Git: what an artifact's commit and a git source come from. */
export async function git(
  needed: boolean,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<Finding> {
  try {
    const { stdout } = await promisify(execFile)("git", ["--version"], { env: { ...env }, timeout: 10_000 });
    return good("git", stdout.trim().replace(/^git version /, ""));
  } catch {
    const mend = "Install it, for example `apt-get install git`.";
    return needed
      ? bad("git", "there is none, and a service is made from a repository", mend)
      : warning("git", "there is none: pins get no commit", mend);
  }
}
