import type { IncomingMessage, ServerResponse } from "node:http";
import { sendBody } from "./body";
import type { Way } from "./guide";
import type { RequestHead } from "./headers";
import { type Exchange, fail, finish, type Lane } from "./lane";
import { down, ebb, join, type Tunnel } from "./tunnel";
import { type Break, type Handlers, type Pool, release, take } from "./upstream";
import type { Head } from "./wire";

/** Ms that a replica which refused a connection is asked last. */
const REFUSED_MS = 1000;
/** Ms after which a body is sent although no 100 came: curl's own patience. */
const CONTINUE_MS = 1000;
/** Up to this many bytes a copy as text, which Node joins with the head, costs less than a buffer of its own (measured). */
const TEXT_BYTES = 4096;
/** Asked again where a connection closed before a byte came: RFC 9110, 9.2.2 allows it for these only. */
const IDEMPOTENT = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"]);
/** What makes a request other than most. */
export interface Manner {
  /** The client waits for 100 before it sends the body. */
  asks: boolean;
  way: Way | undefined;
  tunnel: Tunnel | undefined;
}

/** Takes a request through a replica of the lane. */
export function exchange(
  lane: Lane,
  request: IncomingMessage,
  response: ServerResponse,
  { text, body }: RequestHead,
  { asks, way, tunnel }: Manner,
): void {
  const began = performance.now();
  const made: Exchange = {
    lane,
    meter: way?.matched ? lane.matched : lane.meter,
    request,
    response,
    began,
    head: text,
    body,
    cookie: way?.cookie,
    tunnel,
    connection: undefined,
    tried: undefined,
    attempts: 0,
    asks: asks && body !== "none",
    bodyBegun: false,
    bodyBytes: 0,
    bodySent: body === "none",
    sentAt: began,
    headed: false,
    flushed: false,
    done: false,
  };
  lane.inFlight++;
  made.meter.open();
  response.on("close", () => {
    // The client left. The slot did nothing wrong, so this is no 5xx: 499 is nginx's word for it.
    if (!made.done) finish(made, 499, false);
  });
  attempt(made, false);
}

/** Ends what takes too long: 504 where the replica is to blame, 408 where the client is. */
export function expire(ex: Exchange, now: number): void {
  const { answerMs, bodyMs } = ex.lane.rules;
  const still = now - ex.sentAt;
  if (ex.bodySent) {
    if (!ex.headed && still > answerMs) fail(ex, 504);
  } else if (ex.bodyBegun) {
    // A paused body waits for the replica.
    if (ex.request.isPaused()) {
      if (still > answerMs) fail(ex, 504);
    } else if (still > bodyMs) fail(ex, 408);
  }
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
  connection.reader.begin(ex.request.method ?? "GET", ex.tunnel !== undefined);
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

function ready(ex: Exchange): void {
  ex.sentAt = performance.now();
  if (ex.bodySent || ex.bodyBegun) return;
  if (ex.asks) setTimeout(() => sendBody(ex), CONTINUE_MS).unref();
  else sendBody(ex);
}

function onHead(ex: Exchange, head: Head): void {
  const { status, message, raw } = head;
  if (status < 200) {
    if (status === 101 && ex.tunnel) join(ex, ex.tunnel, head);
    // 103 and the like are hints that a proxy may drop; 100 is the client's to have once only.
    if (status === 100 && ex.asks) sendBody(ex);
    return;
  }
  ex.headed = true;
  if (ex.asks && !ex.bodyBegun) ex.response.shouldKeepAlive = false;
  raw.push("x-sluice-slot", ex.lane.slot);
  if (ex.cookie !== undefined) raw.push("set-cookie", ex.cookie);
  // A bad name or value throws here, before a byte is sent, and is a malformed answer.
  ex.response.writeHead(status, message, raw);
}

function onData(ex: Exchange, chunk: Buffer, start: number, end: number, last: boolean): void {
  const { response, connection, tunnel } = ex;
  if (tunnel?.joined) {
    down(ex, tunnel, Buffer.from(chunk.subarray(start, end)));
    return;
  }
  ex.flushed = true;
  const text = end - start <= TEXT_BYTES;
  const part = text ? chunk.toString("latin1", start, end) : Buffer.from(chunk.subarray(start, end));
  if (last) {
    if (typeof part === "string") response.end(part, "latin1");
    else response.end(part);
    watch(ex);
    return;
  }
  const more = typeof part === "string" ? response.write(part, "latin1") : response.write(part);
  if (more || !connection || connection.paused) return;
  connection.paused = true;
  watch(ex);
  response.once("drain", () => {
    connection.paused = false;
    response.socket?.setTimeout(0);
    if (connection.user === ex) connection.socket.resume();
  });
}

/** A client that takes nothing for too long is cut off. Node ends the timer with the answer, or begins the idle one. */
function watch({ response: { socket }, lane }: Exchange): void {
  if (socket && socket.writableLength > 0) socket.setTimeout(lane.rules.sendMs);
}

function onEnd(ex: Exchange, trailers: string[], reusable: boolean): void {
  const { response, tunnel } = ex;
  // The replica has said all; the client may go on, and the connections end together.
  if (tunnel?.joined) {
    ebb(ex, tunnel);
    tunnel.client.end();
    return;
  }
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
  if (ex.tunnel?.joined) {
    finish(ex, 101, false);
    ebb(ex, ex.tunnel);
    ex.tunnel.client.destroySoon();
    return;
  }
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
  drain: (ex) => {
    ex.sentAt = performance.now();
    if (ex.tunnel) ex.tunnel.client.resume();
    else ex.request.resume();
  },
  broken: onBroken,
};
