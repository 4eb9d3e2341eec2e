import { accessSync, constants, statfsSync } from "node:fs";
import { createServer } from "node:net";
import pc from "picocolors";
import { SluiceError } from "../../components/errors";
import { connect } from "../../components/local/client";
import { stateDirectory } from "../../components/local/release";
import type { Desk } from "../engine/carry";
import { type CliFailed, runCli } from "../engine/cli";
import { portOf } from "../engine/pending";
import { keyOf } from "../engine/pipeline";
import { withToolchain } from "../toolchain/pulumi";
import { refuseSecrets } from "../toolchain/secure";

/** One thing that was looked at. */
export interface Finding {
  what: string;
  state: "good" | "warning" | "bad";
  found: string;
  /** The command or change that mends it. */
  mend?: string | undefined;
}

/** Free space below which journals and artifacts are in danger: 1 GiB. */
const LITTLE = 1024 ** 3;

/** Looks at everything a promotion needs, and says what is missing and what mends it. */
export async function doctor(desk: Desk): Promise<Finding[]> {
  const { project } = desk;
  const findings: Finding[] = [node(), disk(project.root)];
  findings.push(
    await probe("Pulumi CLI", async () => {
      const cli = await project.cli();
      return `${cli.version}, ${cli.path} (${cli.origin})`;
    }),
  );
  findings.push(
    await probe(
      "backend",
      async () => {
        const cli = await project.cli();
        const env = withToolchain(project.pulumi.env, cli);
        try {
          await runCli(["stack", "ls", "--json", "--non-interactive"], {
            path: cli.path,
            cwd: project.root,
            env,
          });
        } catch (e) {
          throw new Error((e as CliFailed).message.split("\n")[0], { cause: e });
        }
        return project.pulumi.backend || "as `pulumi login` chose it";
      },
      "Check PULUMI_BACKEND_URL, or `backend.url` in Pulumi.yaml.",
    ),
  );
  if (project.pulumi.embedded)
    findings.push({
      what: "secrets provider",
      state: "warning",
      found: "the embedded default: an empty passphrase, which protects nothing",
      mend: "Keep no secret in the stacks' configuration, or move: `npm run pulumi -- stack change-secrets-provider <provider> -s <stack>`.",
    });
  findings.push(
    await probe("secrets in the configuration", async () => {
      refuseSecrets(project.pulumi);
      return "none under the embedded default";
    }),
  );
  findings.push(...(await ports(desk)));
  return findings;
}

function node(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const good = major > 20 || (major === 20 && minor >= 19);
  return good
    ? { what: "Node", state: "good", found: process.versions.node }
    : { what: "Node", state: "bad", found: process.versions.node, mend: "Install Node >= 20.19." };
}

function disk(root: string): Finding {
  try {
    accessSync(root, constants.W_OK);
    const { bavail, bsize } = statfsSync(root);
    const free = bavail * bsize;
    const found = `${(free / 1024 ** 3).toFixed(1)} GiB free under ${root}`;
    return free > LITTLE
      ? { what: "disk", state: "good", found }
      : { what: "disk", state: "bad", found, mend: "Free at least 1 GiB." };
  } catch (e) {
    return { what: "disk", state: "bad", found: (e as Error).message, mend: `Make ${root} writable.` };
  }
}

async function probe(what: string, look: () => Promise<string>, mend?: string): Promise<Finding> {
  try {
    return { what, state: "good", found: await look() };
  } catch (e) {
    return {
      what,
      state: "bad",
      found: (e as Error).message,
      mend: e instanceof SluiceError ? e.hint : mend,
    };
  }
}

/** A public port must be free, or be held by our own supervisor. */
async function ports(desk: Desk): Promise<Finding[]> {
  const { project } = desk;
  const client = await connect(stateDirectory(project.root), { start: false }).catch(() => undefined);
  const ours = new Map((await client?.services())?.map((s) => [s.port, s.name]) ?? []);
  client?.close();
  const findings: Finding[] = [];
  for (const environment of project.pipeline.environments)
    for (const service of project.pipeline.services) {
      const stack = keyOf(project.pipeline, service, environment.name);
      const what = `port of ${stack}`;
      const port = portOf(project.root, stack);
      if (port === undefined)
        findings.push({
          what,
          state: "bad",
          found: "none is set",
          mend: `npm run pulumi -- config set sluice:port <port> -s ${stack}`,
        });
      else if (ours.get(port) === `${service.name}.${environment.name}`)
        findings.push({ what, state: "good", found: `${port}, served by the supervisor` });
      else if (await isFree(port)) findings.push({ what, state: "good", found: `${port}, free` });
      else
        findings.push({
          what,
          state: "bad",
          found: `${port} is in use by another process`,
          mend: `Stop it, or npm run pulumi -- config set sluice:port <port> -s ${stack}`,
        });
    }
  return findings;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

/** The findings for people. */
export function doctorLines(findings: readonly Finding[]): string[] {
  const marks = { good: pc.green("✓"), warning: pc.yellow("!"), bad: pc.red("✗") };
  return findings.flatMap((f) => [
    `${marks[f.state]} ${f.what}: ${f.found}`,
    ...(f.mend ? [`    ${f.mend}`] : []),
  ]);
}
