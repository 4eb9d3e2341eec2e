import { createServer, type IncomingMessage, type Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { SLOTS, type Slot, type Split } from "../handle";
import { exchange, expire, handlers } from "./exchange";
import { createGuide } from "./guide";
import { requestHead } from "./headers";
import { type Exchange, fail, isLate, type Lane, say, shut } from "./lane";
import { type Rules, rulesOf, TIMEOUTS, type Timeouts } from "./limits";
import type { Metrics } from "./metrics";
import type { LocalOptions } from "./options";
import { holder, PortInUse, PortRefused } from "./port";
import type { Chooser } from "./split";
import { hold, Incoming, type Tunnel } from "./tunnel";
import { type Connection, createPool, giveUp, type Pool, retire, sweep } from "./upstream";

/** A replica that takes requests on loopback. */
export interface Upstream {
  readonly port: number;
}

/** Where the requests of a service go. */
export interface Route {
  split: Split;
  upstreams: Readonly<Record<Slot, readonly Upstream[]>>;
  /** @default weights alone decide, and every limit is as documented */
  options?: LocalOptions | undefined;
  live?: Slot | undefined;
  /** Whether a slot is ready as a whole. @default neither */
  ready?: Readonly<Record<Slot, boolean>> | undefined;
  /** What the slots hold, artifact and settings. @default nothing that a cookie could name */
  contents?: Partial<Record<Slot, string>> | undefined;
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
  /** @default TIMEOUTS */
  timeouts?: Partial<Timeouts> | undefined;
}

/** The weighted reverse proxy of one service. */
export interface Proxy {
  /** Starts to listen and gives the port. Throws `port-in-use`. */
  listen(): Promise<number>;
  /** Takes effect from the next request on. */
  route(next: Route): void;
  /** Requests that the slot has not finished answering, open WebSockets included. */
  inFlight(slot: Slot): number;
  /**
   * True once what is in flight on the slot now, or on those of its replicas that are named, has ended; false where
   * that took longer than the deadline.
   */
  drained(slot: Slot, deadlineMs: number, ports?: readonly number[]): Promise<boolean>;
  /** Breaks off what is in flight on replicas of the slot that the route has left, or on those named of them; says how much that was. */
  cut(slot: Slot, ports?: readonly number[]): number;
  /** Takes no more requests, lets those in flight finish, then frees the port. @default deadlineMs 10000 */
  close(deadlineMs?: number): Promise<void>;
}

/** Ms between looks for overdue answers and idle connections. */
const SWEEP_MS = 500;
/** Ms between looks for idle clients while the proxy closes. */
const IDLE_LOOK_MS = 20;
/** Why a request is refused although it is well formed. */
const BUSY = "the service has too many requests\n";
const NOTHING = "nothing is live\n";
const CROWDED =
  "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/** Makes the proxy of a service; it answers 503 until it gets a route. */
export function createProxy(options: ProxyOptions): Proxy {
  const { service, choose, metrics } = options;
  const timeouts = { ...TIMEOUTS, ...options.timeouts };
  const rules = rulesOf(undefined, timeouts);
  let split: Split = { blue: 0, green: 0 };
  let guide: ReturnType<typeof createGuide>;
  let pools = new Map<number, Pool<Exchange>>();
  // Requests in work are found through their connections: a set of requests, which changes with each of them, costs a
  // fifth of the proxy's time (measured), most of it in the garbage collector.
  const open = new Set<Connection<Exchange>>();
  const lane = (slot: Slot): Lane => ({
    slot,
    pools: [],
    next: 0,
    inFlight: 0,
    meter: metrics.meter(service, slot),
    matched: metrics.matched(service, slot),
    rules,
  });
  const lanes: Record<Slot, Lane> = { blue: lane("blue"), green: lane("green") };
  let closing = false;

  const handle = (
    request: IncomingMessage,
    response: ServerResponse,
    asks = false,
    tunnel: Tunnel | undefined = undefined,
  ): void => {
    const refuse = (code: number, text?: string): void => {
      metrics.refused(service, code);
      say(request, response, code, {}, text);
    };
    // Where another protocol was offered in vain, Node's parser skips what came right behind the request.
    if (isLate(request)) return;
    if (closing || (!tunnel && (request as Incoming).asked)) shut(request, response);
    const head = requestHead(request, rules.trusting, tunnel !== undefined);
    if (typeof head === "number") refuse(head);
    else if (head.length > rules.bodyBytes) refuse(413);
    else if (lanes.blue.inFlight + lanes.green.inFlight >= rules.requests) refuse(503, BUSY);
    else {
      const way = guide?.(request);
      const slot = way ? way.slot : choose(split);
      if (slot) exchange(lanes[slot], request, response, head, { asks, way, tunnel });
      else refuse(503, NOTHING);
    }
  };
  const server = createFront(rules, handle);

  const sweeper = setInterval(
    () => {
      const now = performance.now();
      for (const connection of open) {
        if (connection.user) expire(connection.user, now);
        giveUp(connection, now, rules.connectMs);
      }
      for (const pool of pools.values()) sweep(pool, now);
    },
    Math.min(SWEEP_MS, ...Object.values(timeouts)),
  );
  sweeper.unref();
  /** Breaks off what is in work, for whom `which` holds. */
  const cut = (which: (connection: Connection<Exchange>) => boolean): number => {
    const users = [...open].flatMap((connection) => (which(connection) && connection.user) || []);
    for (const user of users) fail(user, user.headed ? 502 : 504);
    return users.length;
  };

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
      Object.assign(rules, rulesOf(next.options, timeouts));
      guide = createGuide(
        next.options,
        {
          split,
          live: next.live,
          ready: next.ready ?? { blue: false, green: false },
          contents: next.contents ?? {},
          replicas: { blue: lanes.blue.pools.length, green: lanes.green.pools.length },
        },
        choose,
      );
    },
    inFlight: (slot) => lanes[slot].inFlight,
    drained: async (slot, deadlineMs, ports) => {
      const busy = new Set<Pool<Exchange>>();
      for (const { user, pool } of open)
        if (user?.lane === lanes[slot] && (ports?.includes(pool.port) ?? true)) busy.add(pool);
      const ends = await Promise.all([...busy].map((pool) => drained(pool, deadlineMs)));
      return ends.every(Boolean);
    },
    cut: (slot, ports) =>
      cut(
        ({ user, pool }) =>
          pool.retired && user?.lane === lanes[slot] && (ports?.includes(pool.port) ?? true),
      ),
    close: async (deadlineMs = 10_000) => {
      closing = true;
      for (const { user } of open)
        if (user && !user.response.headersSent) user.response.shouldKeepAlive = false;
      const late = setTimeout(() => {
        cut(() => true);
        server.closeAllConnections();
      }, deadlineMs);
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

type Handle = (
  request: IncomingMessage,
  response: ServerResponse,
  asks?: boolean,
  tunnel?: Tunnel | undefined,
) => void;

/** The server that clients reach, and the limits that hold before there is a request. */
function createFront(rules: Rules, handle: Handle): Server {
  const server = createServer(
    {
      IncomingMessage: Incoming,
      keepAliveTimeout: rules.idleMs,
      headersTimeout: rules.headMs,
      // A long upload that goes on is no fault: the time between its pieces is limited instead.
      requestTimeout: 0,
      connectionsCheckingInterval: Math.min(HEAD_LOOK_MS, rules.headMs),
      // Node would refuse that by itself, and go on with what came behind it.
      requireHostHeader: false,
      noDelay: true,
    },
    (request, response) => handle(request, response),
  );
  // Beyond its limit Node forgets headers in silence, be it the one that says how long the body is.
  server.maxHeadersCount = 0;
  server.on("checkContinue", (request, response) => handle(request, response, true));
  server.on("upgrade", (request: IncomingMessage, socket: Socket, first: Buffer) => {
    const response = new ServerResponse(request);
    handle(request, response, false, hold(socket, first, response));
  });
  let connections = 0;
  server.on("connection", (socket: Socket) => {
    socket.once("close", () => connections--);
    if (++connections <= rules.connections) return;
    socket.write(CROWDED);
    socket.destroySoon();
  });
  return server;
}

/** Ms between looks for clients whose head takes too long. */
const HEAD_LOOK_MS = 2000;

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

function drained(pool: Pool<Exchange>, deadlineMs: number): Promise<boolean> {
  if (pool.busy === 0) return Promise.resolve(true);
  return new Promise((resolve) => {
    const empty = (): void => finish(true);
    const late = setTimeout(() => finish(false), deadlineMs);
    const finish = (answer: boolean): void => {
      clearTimeout(late);
      pool.waiting.delete(empty);
      resolve(answer);
    };
    pool.waiting.add(empty);
  });
}
