import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { SLOTS, type Slot, type Split } from "../handle";
import { type Exchange, exchange, expire, handlers, type Lane } from "./exchange";
import type { Metrics } from "./metrics";
import { holder, PortInUse, PortRefused } from "./port";
import type { Chooser } from "./split";
import { type Connection, createPool, type Pool, retire, sweep } from "./upstream";

/** A replica that takes requests on loopback. */
export interface Upstream {
  readonly port: number;
}

/** Where the requests of a service go. */
export interface Route {
  split: Split;
  upstreams: Readonly<Record<Slot, readonly Upstream[]>>;
}

/** What a proxy needs. */
export interface ProxyOptions {
  service: string;
  /** Port to listen on; 0 takes a free one. */
  port: number;
  metrics: Metrics;
  choose: Chooser;
  /** Loopback only. @default "127.0.0.1" */
  host?: "127.0.0.1" | undefined;
  /** Ms until a replica that has the whole request must begin to answer; then 504. @default 60000 */
  answerMs?: number | undefined;
}

/** The weighted reverse proxy of one service. */
export interface Proxy {
  /** Starts to listen and gives the port. Throws `port-in-use`. */
  listen(): Promise<number>;
  /** Takes effect from the next request on. */
  route(next: Route): void;
  /** Requests that the slot has not finished answering. */
  inFlight(slot: Slot): number;
  /** True once nothing is in flight on the slot, false where that took longer than the deadline. */
  drained(slot: Slot, deadlineMs: number): Promise<boolean>;
  /** Takes no more requests, lets those in flight finish, then frees the port. @default deadlineMs 10000 */
  close(deadlineMs?: number): Promise<void>;
}

/** Ms an idle client is kept: longer than the 60 s that load balancers in front usually keep theirs. */
const CLIENT_IDLE_MS = 65_000;
/** Ms between looks for overdue answers and idle connections. */
const SWEEP_MS = 500;
/** Ms between looks for idle clients while the proxy closes. */
const IDLE_LOOK_MS = 20;
/** nginx's proxy_read_timeout. */
const ANSWER_MS = 60_000;

/** Makes the proxy of a service; it answers 503 until it gets a route. */
export function createProxy(options: ProxyOptions): Proxy {
  const { service, choose, answerMs = ANSWER_MS } = options;
  let split: Split = { blue: 0, green: 0 };
  let pools = new Map<number, Pool<Exchange>>();
  // Requests in work are found through their connections: a set of requests, which changes with each of them, costs a
  // fifth of the proxy's time (measured), most of it in the garbage collector.
  const open = new Set<Connection<Exchange>>();
  const lane = (slot: Slot): Lane => ({
    slot,
    pools: [],
    next: 0,
    inFlight: 0,
    meter: options.metrics.meter(service, slot),
    waiting: new Set(),
  });
  const lanes: Record<Slot, Lane> = { blue: lane("blue"), green: lane("green") };
  let closing = false;

  const handle = (request: IncomingMessage, response: ServerResponse, asks = false): void => {
    if (closing) response.shouldKeepAlive = false;
    const slot = choose(split);
    if (slot) exchange(lanes[slot], request, response, asks);
    else refuse(response);
  };
  const server = createServer({ keepAliveTimeout: CLIENT_IDLE_MS, noDelay: true }, handle);
  server.on("checkContinue", (request, response) => handle(request, response, true));

  const sweeper = setInterval(() => {
    const now = performance.now();
    for (const { user } of open) if (user) expire(user, now, answerMs);
    for (const pool of pools.values()) sweep(pool, now);
  }, SWEEP_MS);
  sweeper.unref();

  return {
    listen: () => listen(server, options.port, options.host ?? "127.0.0.1"),
    route: (next) => {
      const kept = new Map<number, Pool<Exchange>>();
      for (const slot of SLOTS) {
        lanes[slot].pools = next.upstreams[slot].map(({ port }) => {
          const pool = kept.get(port) ?? pools.get(port) ?? createPool(port, handlers, open);
          kept.set(port, pool);
          return pool;
        });
      }
      for (const [port, pool] of pools) if (!kept.has(port)) retire(pool);
      pools = kept;
      split = next.split;
    },
    inFlight: (slot) => lanes[slot].inFlight,
    drained: (slot, deadlineMs) => drained(lanes[slot], deadlineMs),
    close: async (deadlineMs = 10_000) => {
      closing = true;
      for (const { user } of open)
        if (user && !user.response.headersSent) user.response.shouldKeepAlive = false;
      const late = setTimeout(() => server.closeAllConnections(), deadlineMs);
      // A connection whose answer was already on its way says keep-alive: it is closed once it is idle.
      const idle = setInterval(() => server.closeIdleConnections(), IDLE_LOOK_MS);
      await new Promise<void>((resolve) => server.close(() => resolve()));
      clearTimeout(late);
      clearInterval(idle);
      clearInterval(sweeper);
      for (const pool of pools.values()) retire(pool);
    },
  };
}

function refuse(response: ServerResponse): void {
  const text = "nothing is live\n";
  response.writeHead(503, {
    "content-type": "text/plain",
    "content-length": text.length,
    "retry-after": "1",
  });
  response.end(text);
}

function listen(server: Server, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const failed = async (cause: NodeJS.ErrnoException): Promise<void> => {
      if (cause.code === "EADDRINUSE") reject(PortInUse(port, await holder(port)));
      else reject(PortRefused(port, cause.code ?? cause.message));
    };
    server.once("error", failed);
    server.listen({ port, host, backlog: 1024 }, () => {
      server.off("error", failed);
      const address = server.address();
      resolve(typeof address === "object" && address ? address.port : port);
    });
  });
}

function drained(lane: Lane, deadlineMs: number): Promise<boolean> {
  if (lane.inFlight === 0) return Promise.resolve(true);
  return new Promise((resolve) => {
    const empty = (): void => finish(true);
    const late = setTimeout(() => finish(false), deadlineMs);
    const finish = (answer: boolean): void => {
      clearTimeout(late);
      lane.waiting.delete(empty);
      resolve(answer);
    };
    lane.waiting.add(empty);
  });
}
