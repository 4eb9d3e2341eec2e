import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import * as path from "node:path";
import { storeArtifact } from "../../../components/local/artifact";
import { type Client, connect } from "../../../components/local/client";
import { endStrays, startOf } from "../../../components/local/process";
import type { Fill } from "../../../components/local/protocol";
import { markOf } from "../../../components/local/state";

/** A server that says who it is; what it does beside that is asked for by variables and paths. */
export const SERVER = `
const http = require("node:http");
const { PORT, TAG, DELAY } = process.env;
const server = http.createServer((request, response) => {
  if (request.url === "/slow") return setTimeout(() => response.end("slow " + TAG), 400);
  if (request.url === "/never") return response.write("never ");
  if (request.url === "/env") return response.end(JSON.stringify({ ...process.env }));
  if (request.url === "/missing") return response.writeHead(404).end();
  response.end(TAG + " " + process.pid);
});
setTimeout(() => server.listen(Number(PORT), "127.0.0.1", () => console.log("listening", TAG)), Number(DELAY || 0));
process.on("SIGTERM", () => server.close(() => process.exit(0)));
`;

/** Programs beside the server, each going wrong in its own way. */
export const PROGRAMS = {
  "server.js": SERVER,
  // Ends at once, whatever it was answering.
  "rude.js": SERVER.replace(/process.on.*/, ""),
  // Does not end before SIGKILL.
  "stubborn.js": `process.on("SIGTERM", () => console.log("no")); console.log("up"); setInterval(() => {}, 1000);`,
  "crash.js": `console.error("cannot go on"); process.exit(7);`,
  "deaf.js": "setInterval(() => {}, 1000);",
  "greedy.js": `require("node:http").createServer().listen(Number(process.env.FIXED), "127.0.0.1");`,
};

type Falsy = false | 0 | "" | null | undefined;

/** Waits for a fact: asks until the answer is truthy. */
export async function until<T>(ask: () => T | Promise<T>, ms = 15_000): Promise<Exclude<T, Falsy>> {
  const deadline = performance.now() + ms;
  for (;;) {
    const answer = await ask();
    if (answer) return answer as Exclude<T, Falsy>;
    if (performance.now() > deadline) throw new Error(`not within ${ms} ms: ${ask}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Whether a process runs. */
export function alive(pid: number): boolean {
  return startOf(pid) !== undefined;
}

/** A state directory with a supervisor of its own. */
export interface Stage {
  root: string;
  directory: string;
  connect(options?: Parameters<typeof connect>[1]): Promise<Client>;
  /** A fill of the programs; `tag` makes the settings differ. */
  fill(tag: string, change?: FillChange): Promise<Fill>;
  close(): Promise<void>;
}

/** What a test changes of the usual fill. */
export interface FillChange {
  arguments?: string[];
  variables?: Record<string, string>;
  secrets?: Record<string, string>;
  replicas?: number;
  health?: string;
  startSeconds?: number;
}

/** A fill of an artifact. */
export function fillOf(artifact: string, root: string, tag: string, change: FillChange = {}): Fill {
  const { arguments: command = ["node", "server.js"], variables = {}, secrets = {} } = change;
  const { replicas = 1, health = "/", startSeconds = 15 } = change;
  return {
    artifact,
    root,
    hash: Buffer.from(tag).toString("hex").padEnd(64, "0"),
    settings: {
      variables: { TAG: tag, ...variables },
      secrets,
      arguments: command,
      files: {},
      resources: { replicas },
      probes: { health, startSeconds },
    },
  };
}

/** Makes a stage; the environment is what its supervisors start with. @default prefix "sluice-stage-" */
export function openStage(environment: Record<string, string> = {}, prefix = "sluice-stage-"): Stage {
  const root = mkdtempSync(path.join(tmpdir(), prefix));
  const directory = path.join(root, "state");
  const clients: Client[] = [];
  const given = { SLUICE_GRACE_MS: "2000", XDG_CACHE_HOME: path.join(root, "cache"), ...environment };
  const former = new Map(Object.keys(given).map((name) => [name, process.env[name]]));
  Object.assign(process.env, given);
  let artifact: Promise<{ artifact: string }> | undefined;
  return {
    root,
    directory,
    async connect(options = {}) {
      const client = await connect(directory, { root, ...options });
      clients.push(client);
      return client;
    },
    async fill(tag, change) {
      artifact ??= makeArtifact(root);
      return fillOf((await artifact).artifact, root, tag, change);
    },
    async close() {
      const client = await connect(directory, { start: false }).catch(() => undefined);
      await client?.stop();
      for (const each of clients) each.close();
      await endStrays(markOf(directory), 0, new Set());
      for (const [name, value] of former) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
      await removeTree(root);
    },
  };
}

async function makeArtifact(root: string): Promise<{ artifact: string }> {
  const source = mkdtempSync(path.join(root, "source-"));
  for (const [name, text] of Object.entries(PROGRAMS)) writeFileSync(path.join(source, name), text);
  return storeArtifact({ directory: path.relative(root, source) }, { root });
}

/** Removes a tree that holds read-only copies; a process that is ending may still write to its log. */
async function removeTree(root: string): Promise<void> {
  execFileSync("chmod", ["-R", "u+w", root]);
  rmSync(root, { recursive: true, force: true, maxRetries: 5 });
}
