import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect } from "../../components/local/client";
import { stateDirectory } from "../../components/local/release";
import { edit, get, handleOf, journalOf } from "../support/driver";
import { freePorts, type Project, project, setPort } from "../support/project";
import { type Measure, measure, type Peaks, watch } from "./critical";
import { watched } from "./hook";
import type { Row } from "./row";

/** The figures. SLUICE_BENCH_SERVICES takes so many services instead. */
const SERVICES = Number(process.env.SLUICE_BENCH_SERVICES ?? 50);
const WAVES = 5;
const RATIO = 1.3;
const MEGABYTES = 400;
/** Pulumi operations at a time: what a pipeline has that says nothing. */
const PARALLEL = 4;

const names = Array.from({ length: SERVICES }, (_, i) => `s${String(i).padStart(3, "0")}`);
const [FIRST = ""] = names;

/** A release of many local services, wave by wave: its time against the critical path of its Pulumi operations. */
export async function benchFleet(): Promise<Row[]> {
  const p = await project();
  try {
    const ports = await prepare(p);
    const client = await connect(stateDirectory(p.root), { start: false });
    const { pid: platform } = await client.info();
    client.close();
    let peaks: Peaks | undefined;
    const run = await watched(p, ["promote", "source", "prod"], {}, (driver) => {
      peaks = watch(driver, platform);
    });
    peaks?.stop();
    if (run.code !== 0) throw new Error(run.stdout + run.stderr);
    for (const name of names) {
      const { text } = await get(ports[name] ?? 0);
      if (!/sample 2/.test(text)) throw new Error(`${name} says ${text}`);
    }
    const made = measure(run, journalOf(p, "prod"), PARALLEL);
    return rows(made, peaks?.driver ?? 0, peaks?.all ?? 0);
  } finally {
    await p.dispose();
  }
}

function rows(m: Measure, driver: number, all: number): Row[] {
  const s = (milliseconds: number) => `${(milliseconds / 1000).toFixed(1)} s`;
  const ratio = m.wall / m.bound;
  const phases = m.phases.map(({ name, wall, bound }) => `${name} ${s(wall)} of ${s(bound)}`).join(", ");
  const kinds = [...m.operations]
    .map(([kind, { count, mean }]) => `${count} ${kind} of ${s(mean)}`)
    .join(", ");
  return [
    {
      figure: `fleet: ${SERVICES} services in ${WAVES} waves against the critical path of their operations, ${PARALLEL} at a time`,
      value: `${ratio.toFixed(2)} x (${s(m.wall)} against ${s(m.bound)})`,
      target: `<= ${RATIO} x`,
      ok: ratio <= RATIO,
    },
    {
      figure: "fleet: its parts, each of its own critical path",
      value: phases,
      target: "for information",
      ok: true,
    },
    { figure: "fleet: operations and their mean time", value: kinds, target: "for information", ok: true },
    {
      figure: "fleet: peak resident memory of the driver",
      value: `${driver.toFixed(0)} MB`,
      target: `<= ${MEGABYTES} MB`,
      ok: driver <= MEGABYTES,
    },
    {
      figure: "fleet: peak of driver, CLIs, supervisor and all replicas together",
      value: `${all.toFixed(0)} MB`,
      target: "for information",
      ok: true,
    },
  ];
}

/**
 * The fleet as it is before: one service is really promoted, twice to the source and once to prod; the others are
 * its copies, in Pulumi's state and on the platform, for hundreds of operations before the measured ones say
 * nothing.
 */
async function prepare(p: Project): Promise<Record<string, number>> {
  const stacks = join(p.root, "stacks");
  const ports = await freePorts([...names, "source", "spare"]);
  const entries = names.map(
    (name) =>
      `  { name: "${name}", source: { directory: "stacks/sample" }, start: ["node", "server.js"], health: "/healthz" },`,
  );
  writeFileSync(
    join(stacks, "services.ts"),
    `import type { Service } from "../components/release";\nexport const services: Service[] = [\n${entries.join("\n")}\n];\n`,
  );
  writeFileSync(join(p.root, "automation", "pipeline.ts"), pipelineText());
  for (const name of names)
    for (const environment of ["source", "spare", "prod"] as const) {
      const stack = `${name}.${environment}`;
      copyFileSync(join(stacks, "Pulumi.prod.yaml"), join(stacks, `Pulumi.${stack}.yaml`));
      setPort(p.root, stack, (environment === "prod" ? ports[name] : ports[environment]) ?? 0);
    }
  await promote(p, "spare", "prod");
  edit(p, "2");
  await promote(p, "spare", "source");
  for (const name of names.slice(1)) {
    copyState(p, `${name}.source`, "source", {});
    copyState(p, `${name}.prod`, "prod", { [String(ports[FIRST])]: String(ports[name]) });
  }
  await fill(p, ports);
  return ports;
}

async function promote(p: Project, from: string, to: string): Promise<void> {
  const { code, stdout, stderr } = await p.sluice(["promote", from, to, "--service", FIRST, "--build"]);
  if (code !== 0) throw new Error(stdout + stderr);
}

/** Writes a stack's state as that of the first service, under another name and port. */
function copyState(p: Project, stack: string, environment: string, swap: Record<string, string>): void {
  const folder = join(p.root, ".sluice", "backend", ".pulumi", "stacks", "sluice");
  const [name = ""] = stack.split(".");
  let text = readFileSync(join(folder, `${FIRST}.${environment}.json`), "utf8").replaceAll(FIRST, name);
  for (const [port, other] of Object.entries(swap))
    text = text.replace(new RegExp(`\\b${port}\\b`, "g"), other);
  writeFileSync(join(folder, `${stack}.json`), text);
}

/** Has the platform run in prod what the copied states say. */
async function fill(p: Project, ports: Record<string, number>): Promise<void> {
  const live = (await handleOf(p, `${FIRST}.prod`))?.slots.blue;
  if (!live) throw new Error("the first service is not live");
  const { pin, settings, hash } = live;
  const client = await connect(stateDirectory(p.root), { root: p.root, start: false });
  for (const name of names.slice(1)) {
    const service = `${name}.prod`;
    const port = ports[name] ?? 0;
    await client.fill(service, "blue", { artifact: pin.artifact, settings, hash, root: p.root }, { port });
    const ready = await client.ready(service, "blue", 60);
    if (!ready.ready) throw new Error(ready.reason);
    await client.route(service, { split: { blue: 100, green: 0 }, live: "blue", run: null, port });
  }
  client.close();
}

function pipelineText(): string {
  const size = Math.ceil(names.length / WAVES);
  const waves = Array.from({ length: WAVES }, (_, i) => names.slice(i * size, (i + 1) * size));
  return `import { services } from "../stacks/services";
import { blueGreen, pipeline } from "./index";
export default pipeline({
  services,
  environments: [
    { name: "spare", strategy: blueGreen() },
    { name: "source", strategy: blueGreen() },
    {
      name: "prod", strategy: blueGreen(), maxParallel: ${PARALLEL},
      waves: ${JSON.stringify(waves.filter((wave) => wave.length > 0))},
    },
  ],
});
`;
}
