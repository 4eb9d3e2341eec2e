import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import autocannon from "autocannon";
import { createMetrics } from "../../components/local/metrics";
import { createProxy } from "../../components/local/proxy";
import { createChooser } from "../../components/local/split";
import { median, type Row } from "./row";

interface Load {
  rps: number;
  /** Ms. */
  median: number;
  failed: number;
}

/** Seconds of one measurement: short and often, since a machine's noise comes and goes in seconds. */
const SECONDS = 1;
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 12);
const CONNECTIONS = 50;

/** Throughput through the proxy against the bare server's, and what the proxy adds at 500 requests a second. */
export async function benchProxy(): Promise<Row[]> {
  const server = await start("server");
  const proxy = await start("proxy", server.port);
  const source = await start("load");
  const bare = `http://127.0.0.1:${server.port}/`;
  const proxied = `http://127.0.0.1:${proxy.port}/`;
  const full = { connections: CONNECTIONS, duration: SECONDS };
  const slow = { connections: 10, duration: SECONDS, overallRate: 500 };
  try {
    // V8 compiles what is used often; the first seconds measure that.
    for (const url of [bare, proxied]) await load(source.child, { url, ...full, duration: 3 });
    const ratios: number[] = [];
    const rates: { bare: number[]; proxied: number[] } = { bare: [], proxied: [] };
    const added: number[] = [];
    const costs: { bare: number[]; proxied: number[] } = { bare: [], proxied: [] };
    let failed = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const alone = await load(source.child, { url: bare, ...full });
      const [ours, theirs] = [await cpu(proxy.child), await cpu(server.child)];
      const through = await load(source.child, { url: proxied, ...full });
      costs.proxied.push(((await cpu(proxy.child)) - ours) / (through.rps * SECONDS));
      costs.bare.push(((await cpu(server.child)) - theirs) / (through.rps * SECONDS));
      ratios.push(through.rps / alone.rps);
      rates.bare.push(alone.rps);
      rates.proxied.push(through.rps);
      const direct = await load(source.child, { url: bare, ...slow });
      const calm = await load(source.child, { url: proxied, ...slow });
      added.push(calm.median - direct.median);
      failed += through.failed + calm.failed;
    }
    const ratio = median(ratios) * 100;
    const spread = [0.25, 0.75].map((q) => (quantile(ratios, q) * 100).toFixed(0)).join(" to ");
    return [
      {
        figure: "proxy: throughput against the bare server",
        value:
          `${ratio.toFixed(1)} % (middle half of ${ROUNDS} rounds: ${spread} %; ` +
          `${Math.round(median(rates.proxied))} of ${Math.round(median(rates.bare))} rps)`,
        target: ">= 35 % (stretch 50 %)",
        ok: ratio >= 35,
      },
      {
        figure: "proxy: added to the median at 500 rps",
        value: `${median(added).toFixed(2)} ms`,
        target: "<= 1 ms",
        ok: median(added) <= 1,
      },
      { figure: "proxy: requests failed under load", value: String(failed), target: "0", ok: failed === 0 },
      {
        figure: "proxy: CPU per request, its own and the server's behind it",
        value: `${median(costs.proxied).toFixed(0)} us, ${median(costs.bare).toFixed(0)} us`,
        target: "for information",
        ok: true,
      },
    ];
  } finally {
    for (const { child } of [source, proxy, server]) child.kill("SIGKILL");
  }
}

function quantile(values: number[], q: number): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length * q)] ?? 0;
}

/** Microseconds of CPU that a process has used; the kernel counts in hundredths of a second. */
async function cpu(child: ChildProcess): Promise<number> {
  const fields = (await readFile(`/proc/${child.pid}/stat`, "utf8")).split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

async function start(role: string, upstream = 0): Promise<{ child: ChildProcess; port: number }> {
  const child = fork(__filename, [role, String(upstream)], { execArgv: ["--import", "tsx"] });
  const [port] = (await once(child, "message")) as [number];
  return { child, port };
}

/** Has the process that makes the load make some. */
async function load(source: ChildProcess, options: autocannon.Options): Promise<Load> {
  source.send(options);
  const [answer] = (await once(source, "message")) as [Load];
  return answer;
}

function report(value: unknown): void {
  process.send?.(value);
}

async function serve(): Promise<void> {
  const body = JSON.stringify({ service: "web", version: "1.0.0", ok: true });
  const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
  const server = createServer((_request, response) => response.writeHead(200, headers).end(body));
  server.listen(0, "127.0.0.1", () => {
    const address = server.address();
    report(typeof address === "object" && address?.port);
  });
}

async function front(upstream: number): Promise<void> {
  const proxy = createProxy({ service: "web", port: 0, metrics: createMetrics(), choose: createChooser(1) });
  proxy.route({
    split: { blue: 90, green: 10 },
    upstreams: { blue: [{ port: upstream }], green: [{ port: upstream }] },
  });
  report(await proxy.listen());
}

function fire(options: autocannon.Options): void {
  // autocannon's histogram counts whole milliseconds, so the median is taken from the responses themselves.
  const times: number[] = [];
  const rated = options.overallRate !== undefined;
  const instance = autocannon(options, (_error, result) => {
    const answer: Load = {
      rps: result.requests.total / result.duration,
      median: median(times),
      failed: result.non2xx + result.errors,
    };
    report(answer);
  });
  if (rated) instance.on("response", (_client, _code, _bytes, time) => void times.push(time));
}

async function main([role, upstream]: string[]): Promise<void> {
  if (role === "server") await serve();
  else if (role === "proxy") await front(Number(upstream));
  else if (role === "load") {
    process.on("message", (options) => fire(options as autocannon.Options));
    report(0);
  } else console.table(await benchProxy());
}

if (require.main === module) void main(process.argv.slice(2));
