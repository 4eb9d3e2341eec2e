import { copyFileSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { canonical } from "../../components/handle";
import { connect } from "../../components/local/client";
import { stateDirectory } from "../../components/local/release";
import { handleOf, journalOf } from "../support/driver";
import { freePorts, type Project, project, setPort } from "../support/project";
import { crowd, type Met } from "./crowd";
import { type Hook, type Watched, watched } from "./hook";

/** Users of the service that is promoted, requests a second: the figure. */
const RPS = 200;

/** The strategies, each in an environment of its own; short weights and bakes, for every point is a run. */
const STRATEGIES = {
  canary: "canary({ weights: [50, 100] })",
  bluegreen: "blueGreen()",
  rolling: "rolling()",
} as const;

export type StrategyName = keyof typeof STRATEGIES;
export const STRATEGY_NAMES = Object.keys(STRATEGIES) as StrategyName[];

/** Environments that keep one release each, so that none has to be built for a run. */
const SOURCES = ["a", "b", "bad"] as const;
export type ReleaseName = (typeof SOURCES)[number];

/** How an environment was left, without what every run may change. */
export interface EndState {
  /** Canonical JSON: handle, and what the supervisor has. */
  text: string;
  generation: number;
  live: string | undefined;
}

/** A promotion under users, killed on its way or not. */
export interface Trial {
  first: Watched;
  /** The same command once more, where the first was killed before the run's end. */
  second?: Watched | undefined;
  /** Exit code of whichever ended the run. */
  code: number;
  end: EndState;
  /** Generations that the run went through. */
  generations: number;
  /** Times that the environment's task took effect, and was begun. */
  effects: number;
  begun: number;
  /** Steps that the journal has finished more than once. */
  twice: string[];
  /** Events of the run's journal beside samples. */
  events: number;
  met: Met;
}

/** A project where releases can be promoted again and again without being built. */
export interface Drill {
  project: Project;
  trial(strategy: StrategyName, release: ReleaseName, hook?: Omit<Hook, "log">): Promise<Trial>;
  dispose(): Promise<void>;
}

/** Makes the project: a service that says its version, three releases, and an environment per strategy. */
export async function drill(): Promise<Drill> {
  const p = await project();
  try {
    const stacks = join(p.root, "stacks");
    const ports = await freePorts([...SOURCES, "spare", ...STRATEGY_NAMES] as const);
    for (const [name, port] of Object.entries(ports)) {
      copyFileSync(join(stacks, "Pulumi.prod.yaml"), join(stacks, `Pulumi.${name}.yaml`));
      setPort(p.root, name, port);
    }
    writeFileSync(join(p.root, "automation", "pipeline.ts"), pipelineText(p.root));
    // A build goes through two environments; the second gets its own release next.
    for (const [name, next] of [
      ["bad", "b"],
      ["b", "a"],
      ["a", "spare"],
    ] as const) {
      writeFileSync(join(stacks, "sample", "server.js"), server(name));
      const { code, stdout, stderr } = await p.sluice(["promote", name, next, "--build"]);
      if (code !== 0) throw new Error(stdout + stderr);
    }
    return {
      project: p,
      trial: (strategy, release, hook) => trial(p, ports[strategy], strategy, release, hook),
      dispose: () => p.dispose(),
    };
  } catch (e) {
    await p.dispose();
    throw e;
  }
}

async function trial(
  p: Project,
  port: number,
  environment: StrategyName,
  release: ReleaseName,
  hook: Omit<Hook, "log"> = {},
): Promise<Trial> {
  // A task is done once per release; the releases here come again and again.
  for (const name of ["effects", "begun", join(".sluice", "runs", environment, "tasks")])
    rmSync(join(p.root, name), { recursive: true, force: true });
  const last = journalOf(p, environment)[0]?.at;
  const before = (await endState(p, environment))?.generation ?? 0;
  const command = ["promote", release, environment];
  const users = crowd(port, RPS, "bad");
  const first = await watched(p, command, hook);
  const journal = () => {
    const events = journalOf(p, environment);
    return events[0]?.at === last ? [] : events;
  };
  const over = journal().at(-1)?.type === "run.finished";
  const second = first.killed && !over ? await watched(p, command) : undefined;
  const met = await users.stop();
  // Before the first release nobody can be answered.
  if (before === 0) met.failed = [];
  const events = journal().filter((e) => e.type !== "sample.taken");
  const done = events.flatMap((e) => (e.type === "step.finished" && e.outcome === "done" ? [e.step] : []));
  const end = await endState(p, environment);
  const finished = events.at(-1);
  const outcome = finished?.type === "run.finished" ? finished.outcome : undefined;
  return {
    first,
    second,
    code: second?.code ?? (first.killed ? (outcome === "promoted" ? 0 : 1) : first.code),
    end: end ?? { text: "", generation: 0, live: undefined },
    generations: (end?.generation ?? 0) - before,
    effects: lines(join(p.root, "effects")),
    begun: lines(join(p.root, "begun")),
    twice: done.filter((step, i) => done.indexOf(step) !== i),
    events: events.length,
    met,
  };
}

async function endState(p: Project, environment: string): Promise<EndState | undefined> {
  const handle = await handleOf(p, environment);
  if (!handle) return undefined;
  const client = await connect(stateDirectory(p.root), { start: false });
  const service = await client.service(`sample.${environment}`);
  client.close();
  const { generation, by: _by, proved, ...declared } = handle;
  const { run: _run, at: _at, ...proof } = proved ?? { run: "", at: "" };
  const slots = Object.entries(service?.slots ?? {}).map(([name, slot]) => {
    const { state, artifact, hash, wanted, ready, former } = slot;
    return [name, { state, artifact, hash, wanted, ready, former }];
  });
  const { split, live, run, port, givenBack } = service ?? {};
  const held = { split, live, run, port, givenBack, slots: Object.fromEntries(slots) };
  return { text: canonical({ ...declared, proof, held }), generation, live: handle.live };
}

function lines(file: string): number {
  return existsSync(file) ? readFileSync(file, "utf8").split("\n").length - 1 : 0;
}

/** The sample, but it says its version in a header too. A bad one fails a third of what it is asked. */
function server(version: ReleaseName): string {
  return `"use strict";
const { createServer } = require("node:http");
const server = createServer((request, response) => {
  if (request.url === "/healthz") return void response.end("ok");
  response.statusCode = Math.random() < ${version === "bad" ? 0.3 : 0} ? 500 : 200;
  response.setHeader("x-version", ${JSON.stringify(version)});
  response.end(${JSON.stringify(version)});
});
server.listen(Number(process.env.PORT), "127.0.0.1");
process.once("SIGTERM", () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
`;
}

function pipelineText(root: string): string {
  // As a task must: a repetition for the same run takes no effect, and is seen.
  const mark = `cd "$0" && echo >> begun && { grep -qsx "$SLUICE_RUN" effects || echo "$SLUICE_RUN" >> effects; }`;
  const targets = Object.entries(STRATEGIES).map(
    ([name, strategy]) => `    {
      name: "${name}", strategy: ${strategy}, tasks: [mark], checks: [health({ path: "/healthz" })],
      analysis: analysis({
        source: scrape(), every: 0.5, stepBake: 1, minBake: 0, probe: 100, judges: [errorRate({ max: "1%" })],
      }),
    },`,
  );
  const sources = [...SOURCES, "spare"].map((name) => `    { name: "${name}", strategy: blueGreen() },`);
  return `import { services } from "../stacks/services";
import { analysis, blueGreen, canary, errorRate, health, pipeline, rolling, scrape, task } from "./index";
const mark = task({ id: "mark", run: ["sh", "-c", ${JSON.stringify(mark)}, ${JSON.stringify(root)}] });
export default pipeline({
  services,
  environments: [
${[...sources, ...targets].join("\n")}
  ],
});
`;
}
