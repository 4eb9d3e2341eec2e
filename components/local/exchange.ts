import type { IncomingMessage, ServerResponse } from "node:http";
import type { Slot } from "../handle";
import { type Body, requestHead } from "./headers";
import type { Meter } from "./metrics";
import { type Break, type Connection, type Handlers, type Pool, release, take } from "./upstream";
import type { Head } from "./wire";

/** What the requests of one slot share. */
export interface Lane {
  readonly slot: Slot;
  /** The replicas, as of the newest route. */
  pools: readonly Pool<Exchange>[];
  /** Where the next look for the least busy replica begins. */
  next: number;
  inFlight: number;
  readonly meter: Meter;
  /** Called once nothing is in flight. */
  readonly waiting: Set<() => void>;
}

/** One request and its answer. */
export interface Exchange {
  readonly lane: Lane;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Ms of the monotonic clock, as all times here. */
  readonly began: number;
  /** What the replica is sent before the body. */
  readonly head: string;
  readonly body: Body;
  connection: Connection<Exchange> | undefined;
  /** Replicas that were asked in vain. */
  tried: Pool<Exchange>[] | undefined;
  attempts: number;
  /** The client waits for 100 before it sends the body. */
  asks: boolean;
  /** Bytes of the body have been taken from the client. */
  bodyBegun: boolean;
  bodySent: boolean;
  /** When the replica last got something to work on. */
  sentAt: number;
  /** The final head has come, and `flushed`: it is on its way to the client. */
  headed: boolean;
  flushed: boolean;
  done: boolean;
}

/** Ms that a replica which refused a connection is asked last. */
const REFUSED_MS = 1000;
/** Ms after which a body is sent although no 100 came: curl's own patience. */
const CONTINUE_MS = 1000;
/** Up to this many bytes a copy as text, which Node joins with the head, costs less than a buffer of its own (measured). */
const TEXT_BYTES = 4096;
/** Asked again where a connection closed before a byte came: RFC 9110, 9.2.2 allows it for these only. */
const IDEMPOTENT = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"]);
/** What the client is told: nothing about what is behind. */
const REASONS: Record<number, string> = {
  502: "the service broke off its answer\n",
  503: "the service has no replica that is ready\n",
  504: "the service took too long to answer\n",
};

/** Takes a request through a replica of the lane. */
export function exchange(
  lane: Lane,
  request: IncomingMessage,
  response: ServerResponse,
  asks: boolean,
): void {
  const { text, body } = requestHead(request);
  const began = performance.now();
  const made: Exchange = {
    lane,
    request,
    response,
    began,
    head: text,
    body,
    connection: undefined,
    tried: undefined,
    attempts: 0,
    asks: asks && body !== "none",
    bodyBegun: false,
    bodySent: body === "none",
    sentAt: began,
    headed: false,
    flushed: false,
    done: false,
  };
  lane.inFlight++;
  lane.meter.open();
  response.on("close", () => {
    // The client left. The slot did nothing wrong, so this is no 5xx: 499 is nginx's word for it.
    if (!made.done) finish(made, 499, false);
  });
  attempt(made, false);
}

/** Answers 504 where the replica has had the whole request for longer than `limit` ms. */
export function expire(ex: Exchange, now: number, limit: number): void {
  if (ex.bodySent && !ex.headed && now - ex.sentAt > limit) fail(ex, 504);
}

function attempt(ex: Exchange, fresh: boolean): void {
  const pool = pick(ex);
  if (!pool) {
    fail(ex, ex.attempts === 0 ? 503 : 502);
    return;
  }
  ex.attempts++;
  const connection = take(pool, ex, fresh, performance.now());
  ex.connection = connection;
  connection.reader.begin(ex.request.method ?? "GET");
  connection.socket.write(ex.head, "latin1");
  if (connection.reused) ready(ex);
}

/** The least busy replica that was not asked yet, taking turns among equals. */
function pick({ lane, tried, began }: Exchange): Pool<Exchange> | undefined {
  const { pools } = lane;
  if (pools.length === 1 && !tried) return pools[0];
  let best: Pool<Exchange> | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < pools.length; i++) {
    const pool = pools[(lane.next + i) % pools.length]!;
    if (tried?.includes(pool)) continue;
    const load = pool.busy + (began - pool.refusedAt < REFUSED_MS ? 1e6 : 0);
    if (load >= least) continue;
    least = load;
    best = pool;
  }
  lane.next = (lane.next + 1) % (pools.length || 1);
  return best;
}

function finish(ex: Exchange, code: number, keep: boolean): void {
  const { lane, connection } = ex;
  const now = performance.now();
  ex.done = true;
  ex.connection = undefined;
  if (connection) release(connection, keep && ex.bodySent, now);
  lane.meter.done(code, (now - ex.began) / 1000);
  if (--lane.inFlight === 0) for (const empty of [...lane.waiting]) empty();
}

function fail(ex: Exchange, code: number): void {
  if (ex.done) return;
  finish(ex, code, false);
  const { response } = ex;
  if (response.headersSent) {
    // The head is out, so breaking off is the only way left to say that this is not the whole answer.
    response.destroy();
    return;
  }
  const text = REASONS[code] ?? "";
  // What is left of a body would be read as the next request.
  if (!ex.bodySent) response.shouldKeepAlive = false;
  response.writeHead(code, {
    "content-type": "text/plain",
    "content-length": text.length,
    "x-sluice-slot": ex.lane.slot,
  });
  response.end(text);
}

function ready(ex: Exchange): void {
  ex.sentAt = performance.now();
  if (ex.bodySent || ex.bodyBegun) return;
  if (ex.asks) setTimeout(() => sendBody(ex), CONTINUE_MS).unref();
  else sendBody(ex);
}

function sendBody(ex: Exchange): void {
  if (ex.bodyBegun || ex.done) return;
  ex.bodyBegun = true;
  const { request, body } = ex;
  if (ex.asks && !ex.headed) ex.response.writeContinue();
  request.on("data", (chunk: Buffer) => {
    const socket = ex.connection?.socket;
    if (!socket) return;
    ex.sentAt = performance.now();
    if (body === "chunked") {
      socket.cork();
      socket.write(`${chunk.length.toString(16)}\r\n`, "latin1");
      socket.write(chunk);
      const more = socket.write("\r\n", "latin1");
      socket.uncork();
      if (!more) request.pause();
    } else if (!socket.write(chunk)) request.pause();
  });
  request.on("end", () => {
    ex.bodySent = true;
    ex.sentAt = performance.now();
    if (body === "chunked") ex.connection?.socket.write(lastChunk(request.rawTrailers), "latin1");
  });
}

function lastChunk(trailers: string[]): string {
  let text = "0\r\n";
  for (let i = 0; i < trailers.length; i += 2) text += `${trailers[i]}: ${trailers[i + 1]}\r\n`;
  return `${text}\r\n`;
}

function onHead(ex: Exchange, { status, message, raw }: Head): void {
  if (status < 200) {
    // 103 and the like are hints that a proxy may drop; 100 is the client's to have once only.
    if (status === 100 && ex.asks) sendBody(ex);
    return;
  }
  ex.headed = true;
  if (ex.asks && !ex.bodyBegun) ex.response.shouldKeepAlive = false;
  raw.push("x-sluice-slot", ex.lane.slot);
  // A bad name or value throws here, before a byte is sent, and is a malformed answer.
  ex.response.writeHead(status, message, raw);
}

function onData(ex: Exchange, chunk: Buffer, start: number, end: number, last: boolean): void {
  const { response, connection } = ex;
  ex.flushed = true;
  const text = end - start <= TEXT_BYTES;
  const part = text ? chunk.toString("latin1", start, end) : Buffer.from(chunk.subarray(start, end));
  if (last) {
    if (typeof part === "string") response.end(part, "latin1");
    else response.end(part);
    return;
  }
  const more = typeof part === "string" ? response.write(part, "latin1") : response.write(part);
  if (more || !connection || connection.paused) return;
  connection.paused = true;
  response.once("drain", () => {
    connection.paused = false;
    if (connection.user === ex) connection.socket.resume();
  });
}

function onEnd(ex: Exchange, trailers: string[], reusable: boolean): void {
  const { response } = ex;
  if (!response.writableEnded) {
    if (trailers.length > 0) response.addTrailers(pairs(trailers));
    response.end();
  }
  finish(ex, response.statusCode, reusable);
}

function pairs(flat: string[]): [string, string][] {
  const made: [string, string][] = [];
  for (let i = 0; i < flat.length; i += 2) made.push([flat[i]!, flat[i + 1]!]);
  return made;
}

function onBroken(ex: Exchange, why: Break): void {
  const { connection } = ex;
  if (ex.done || !connection) return;
  const { pool } = connection;
  const untouched = !ex.bodyBegun && !connection.heard;
  // A new connection is closed unheard where the replica exits before it accepts: once that is bad timing too, and
  // only once, so that a request which kills replicas does not kill them all.
  const timing = connection.reused || ex.attempts === 1;
  const stale = why === "closed" && timing && IDEMPOTENT.has(ex.request.method ?? "");
  if (why === "refused") pool.refusedAt = performance.now();
  if (!untouched || (why !== "refused" && !stale) || ex.attempts > ex.lane.pools.length) {
    fail(ex, 502);
    return;
  }
  release(connection, false, 0);
  ex.connection = undefined;
  // A replica that closed a kept connection may well take a new one, where there is no other to ask.
  if (why === "refused" || ex.lane.pools.length > 1) ex.tried = [...(ex.tried ?? []), pool];
  attempt(ex, true);
}

/** What connections do for the requests they work for. */
export const handlers: Handlers<Exchange> = {
  ready,
  head: onHead,
  data: onData,
  end: onEnd,
  flush: (ex) => {
    if (!ex.headed || ex.flushed) return;
    ex.flushed = true;
    ex.response.flushHeaders();
  },
  drain: (ex) => void ex.request.resume(),
  broken: onBroken,
};
