import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import autocannon from "autocannon";
import { createMetrics } from "../../components/local/metrics";
import { createProxy } from "../../components/local/proxy";
import { createChooser } from "../../components/local/split";

/** One line of the benchmark's table. */
export interface Row {
  figure: string;
  value: string;
  target: string;
  ok: boolean;
}

interface Load {
  rps: number;
  /** Ms. */
  median: number;
  failed: number;
}

/** Seconds of one measurement, connections of the throughput load, pairs of measurements. */
const SECONDS = Number(process.env.BENCH_SECONDS ?? 3);
const CONNECTIONS = 50;
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5);

/** Throughput through the proxy against the bare server's, and what the proxy adds at 500 requests a second. */
export async function benchProxy(): Promise<Row[]> {
  const server = await start("server");
  const proxy = await start("proxy", server.port);
  try {
    const urls = { bare: `http://127.0.0.1:${server.port}/`, proxied: `http://127.0.0.1:${proxy.port}/` };
    for (const url of Object.values(urls)) await load({ url, connections: CONNECTIONS, duration: 2 });
    const ratios: number[] = [];
    const rates: [number, number][] = [];
    const added: number[] = [];
    const costs: number[] = [];
    let failed = 0;
    // In turns, so that a noisy neighbour meets both alike.
    for (let round = 0; round < ROUNDS; round++) {
      const bare = await load({ url: urls.bare, connections: CONNECTIONS, duration: SECONDS });
      const before = await cpu(proxy.child);
      const proxied = await load({ url: urls.proxied, connections: CONNECTIONS, duration: SECONDS });
      costs.push(((await cpu(proxy.child)) - before) / (proxied.rps * SECONDS));
      ratios.push(proxied.rps / bare.rps);
      rates.push([bare.rps, proxied.rps]);
      failed += proxied.failed;
      const slow = { connections: 10, duration: SECONDS, overallRate: 500 };
      const direct = await load({ url: urls.bare, ...slow });
      const through = await load({ url: urls.proxied, ...slow });
      added.push(through.median - direct.median);
      failed += through.failed;
    }
    const ratio = median(ratios) * 100;
    const spread = `${(Math.min(...ratios) * 100).toFixed(0)} to ${(Math.max(...ratios) * 100).toFixed(0)} %`;
    const [bare, proxied] = rates.sort((a, b) => a[1] / a[0] - b[1] / b[0])[rates.length >> 1]!;
    return [
      {
        figure: "proxy: throughput against the bare server",
        value: `${ratio.toFixed(1)} % (${Math.round(proxied)} of ${Math.round(bare)} rps; ${spread} in ${ROUNDS} rounds)`,
        target: ">= 35 % (stretch 50 %)",
        ok: ratio >= 35,
      },
      {
        figure: "proxy: added to the median at 500 rps",
        value: `${median(added).toFixed(2)} ms`,
        target: "<= 1 ms",
        ok: median(added) <= 1,
      },
      {
        figure: "proxy: requests failed under load",
        value: String(failed),
        target: "0",
        ok: failed === 0,
      },
      {
        figure: "proxy: CPU per request",
        value: `${median(costs).toFixed(1)} us`,
        target: "for information",
        ok: true,
      },
    ];
  } finally {
    for (const { child } of [proxy, server]) child.kill("SIGKILL");
  }
}

function median(values: number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!;
}

/** Microseconds of CPU that a process has used; the kernel counts in hundredths of a second. */
async function cpu(child: ChildProcess): Promise<number> {
  const fields = (await readFile(`/proc/${child.pid}/stat`, "utf8")).split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

function run(role: string, argument: string): ChildProcess {
  return spawn(process.execPath, ["--import", "tsx", __filename, role, argument], {
    stdio: ["ignore", "pipe", "inherit"],
  });
}

async function start(role: string, upstream = 0): Promise<{ child: ChildProcess; port: number }> {
  const child = run(role, String(upstream));
  const [line] = await once(child.stdout!, "data");
  return { child, port: Number(line) };
}

/** Has a process of its own make the load. */
async function load(options: autocannon.Options): Promise<Load> {
  const child = run("load", JSON.stringify(options));
  let text = "";
  for await (const chunk of child.stdout!) text += chunk;
  return JSON.parse(text) as Load;
}

async function serve(): Promise<void> {
  const body = JSON.stringify({ service: "web", version: "1.0.0", ok: true });
  const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
  const server = createServer((_request, response) => response.writeHead(200, headers).end(body));
  server.listen(0, "127.0.0.1", () => {
    const address = server.address();
    console.log(typeof address === "object" && address?.port);
  });
}

async function front(upstream: number): Promise<void> {
  const proxy = createProxy({ service: "web", port: 0, metrics: createMetrics(), choose: createChooser(1) });
  proxy.route({
    split: { blue: 90, green: 10 },
    upstreams: { blue: [{ port: upstream }], green: [{ port: upstream }] },
  });
  console.log(await proxy.listen());
}

async function fire(options: autocannon.Options): Promise<void> {
  // autocannon's histogram counts whole milliseconds, so the median is taken from the responses themselves.
  const times: number[] = [];
  const rated = options.overallRate !== undefined;
  const instance = autocannon(options, (_error, result) => {
    const answer: Load = {
      rps: result.requests.total / result.duration,
      median: median(times) ?? 0,
      failed: result.non2xx + result.errors,
    };
    console.log(JSON.stringify(answer));
  });
  if (rated) instance.on("response", (_client, _code, _bytes, time) => void times.push(time));
}

async function main([role, argument = ""]: string[]): Promise<void> {
  if (role === "server") await serve();
  else if (role === "proxy") await front(Number(argument));
  else if (role === "load") await fire(JSON.parse(argument) as autocannon.Options);
  else console.table(await benchProxy());
}

if (require.main === module) void main(process.argv.slice(2));
