import { accessSync, constants, existsSync } from "node:fs";
import { createServer } from "node:net";
import { delimiter, isAbsolute, join } from "node:path";
import { type Client, connect } from "../../components/local/client";
import { holder } from "../../components/local/port";
import { stateDirectory } from "../../components/local/release";
import type { Service } from "../../components/release";
import type { Desk } from "../engine/carry";
import { portOf } from "../engine/pending";
import { keyOf } from "../engine/pipeline";
import { bad, type Finding, good, probe, warning } from "./finding";

type Looker = Pick<Desk, "project">;

/** What each platform that a service names lacks. */
export async function platforms(desk: Looker): Promise<Finding[]> {
  const { project } = desk;
  const { services } = project.pipeline;
  const strange = services.filter((s) => (s.platform ?? "local") !== "local");
  return [
    ...strange.map((s) =>
      bad(
        `platform of ${s.name}`,
        `there is no platform "${s.platform}"`,
        "Known: local. Correct `platform` in stacks/services.ts.",
      ),
    ),
    ...services.map((s) => source(project.root, s)),
    ...(strange.length < services.length ? await embedded(desk) : []),
  ];
}

/** Whether an artifact can be made, and what it holds started. */
export function source(root: string, service: Service, path = process.env.PATH ?? ""): Finding {
  const what = `service ${service.name}`;
  const { source: from, start } = service;
  const mend = "Correct it in stacks/services.ts.";
  if ("git" in from) return good(what, `made from ${from.git}`);
  const directory = join(root, from.directory);
  if (!existsSync(directory)) return bad(what, `there is no directory ${from.directory}`, mend);
  const [program = ""] = start;
  // What a build makes is not there yet.
  if (from.build || program.includes("/") || program === "") return good(what, `made from ${from.directory}`);
  const there = path.split(delimiter).some((folder) => isAbsolute(folder) && runs(join(folder, program)));
  return there
    ? good(what, `made from ${from.directory}, started by ${program}`)
    : bad(what, `its start command ${program} is not on PATH`, mend);
}

function runs(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

async function embedded(desk: Looker): Promise<Finding[]> {
  const { root } = desk.project;
  let client: Client | undefined;
  try {
    const findings = await probe("supervisor", async () => {
      client = await connect(stateDirectory(root), { start: false }).catch((e) => {
        if ((e as { code?: string }).code === "supervisor-unreachable") return undefined;
        throw e;
      });
      return supervisor(client && (await client.info()));
    });
    return [...findings, ...(await ports(desk, client))];
  } finally {
    client?.close();
  }
}

/** The supervisor, if one runs: an older one goes on, but does not do what this version can. */
export function supervisor(info: { version: string; pid: number } | undefined): Finding {
  const { version } = require("../../package.json") as { version: string };
  if (!info) return good("supervisor", "none runs; it is started when it is needed");
  const found = `sluice ${info.version}, process ${info.pid}`;
  if (info.version === version) return good("supervisor", found);
  return warning(
    "supervisor",
    `${found}; this is ${version}`,
    "While no run is open: `npm run local -- down`, then any `promote` or `pulumi up` starts this one.",
  );
}

/** A public port must be free, or be held by our own supervisor, and be one stack's. */
async function ports(desk: Looker, client: Client | undefined): Promise<Finding[]> {
  const { root, pipeline } = desk.project;
  const services = (await client?.services().catch(() => [])) ?? [];
  const ours = new Map(services.map((s) => [s.port, s.name]));
  const taken = new Map<number, string>();
  const findings: Finding[] = [];
  for (const { name } of pipeline.environments)
    for (const service of pipeline.services.filter((s) => (s.platform ?? "local") === "local")) {
      const stack = keyOf(pipeline, service, name);
      const port = portOf(root, stack);
      const other = port === undefined ? undefined : taken.get(port);
      if (port !== undefined) taken.set(port, stack);
      findings.push(await portOfStack(stack, port, other, ours.get(port ?? 0), `${service.name}.${name}`));
    }
  return findings;
}

async function portOfStack(
  stack: string,
  port: number | undefined,
  other: string | undefined,
  server: string | undefined,
  service: string,
): Promise<Finding> {
  const what = `port of ${stack}`;
  const set = `\`npm run pulumi -- config set sluice:port <port> -s ${stack}\``;
  if (port === undefined) return bad(what, "none is set", `Set one: ${set}.`);
  if (other !== undefined) return bad(what, `${port} is the port of ${other} too`, `Set another: ${set}.`);
  if (server === service) return good(what, `${port}, served by the supervisor`);
  if (server !== undefined)
    return bad(what, `${port} is served by the supervisor for ${server}`, `Set another: ${set}.`);
  const problem = await listen(port);
  if (problem === undefined) return good(what, `${port}, free`);
  if (problem === "EACCES")
    return bad(what, `${port} may not be listened on`, `Set one from 1024 up: ${set}.`);
  const who = await holder(port);
  return bad(
    what,
    `${port} is taken by ${who}`,
    `Stop it (\`ss -ltnp 'sport = :${port}'\`), or set another: ${set}.`,
  );
}

function listen(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (e: NodeJS.ErrnoException) => resolve(e.code ?? e.message));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(undefined)));
  });
}
