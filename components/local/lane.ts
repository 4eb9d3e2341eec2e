import { type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { Slot } from "../handle";
import type { Body } from "./headers";
import type { Rules } from "./limits";
import type { Meter } from "./metrics";
import type { Tunnel } from "./tunnel";
import { type Connection, type Pool, release } from "./upstream";

/** What the requests of one slot share. */
export interface Lane {
  readonly slot: Slot;
  /** The replicas, as of the newest route. */
  pools: readonly Pool<Exchange>[];
  /** Where the next look for the least busy replica begins. */
  next: number;
  inFlight: number;
  readonly meter: Meter;
  /** Counts those that are no user's. */
  readonly matched: Meter;
  readonly rules: Rules;
}

/** One request and its answer. */
export interface Exchange {
  readonly lane: Lane;
  readonly meter: Meter;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Ms of the monotonic clock, as all times here. */
  readonly began: number;
  /** What the replica is sent before the body. */
  readonly head: string;
  readonly body: Body;
  /** The Set-Cookie that keeps the client on this slot. */
  readonly cookie: string | undefined;
  /** Set where the client asks for a WebSocket. */
  readonly tunnel: Tunnel | undefined;
  connection: Connection<Exchange> | undefined;
  /** Replicas that were asked in vain. */
  tried: Pool<Exchange>[] | undefined;
  attempts: number;
  /** The client waits for 100 before it sends the body. */
  asks: boolean;
  /** Bytes of the body have been taken from the client, and how many. */
  bodyBegun: boolean;
  bodyBytes: number;
  bodySent: boolean;
  /** When the replica last got something to work on. */
  sentAt: number;
  /** The final head has come, and `flushed`: it is on its way to the client. */
  headed: boolean;
  flushed: boolean;
  done: boolean;
}

/** Ms that a client may go on sending after it was refused: at once closed, it could lose the answer to a reset. */
const LINGER_MS = 1000;
/** What the client is told: nothing about what is behind. */
const REASONS: Record<number, string> = {
  400: "the request is malformed\n",
  408: "the request took too long to come\n",
  413: "the request's body is too large\n",
  414: "the request's address is too long\n",
  431: "the request has too many headers\n",
  502: "the service broke off its answer\n",
  503: "the service has no replica that is ready\n",
  504: "the service took too long to answer\n",
};
/** What is sent to be found at fault, so nothing after it can be trusted. */
const CLOSES = new Set([400, 408, 413, 414, 431]);

/** Connections whose last answer is under way. */
const shutting = new Set<Socket>();

/** Makes this the connection's last request: Node hands out those behind it too, if they came in the same packet. */
export function shut({ socket }: IncomingMessage, response: ServerResponse): void {
  response.shouldKeepAlive = false;
  if (shutting.has(socket)) return;
  shutting.add(socket);
  socket.once("close", () => shutting.delete(socket));
}

/** Whether a request came behind the connection's last one. */
export function isLate({ socket }: IncomingMessage): boolean {
  return shutting.size > 0 && shutting.has(socket);
}

/** Answers in the service's stead. */
export function say(
  request: IncomingMessage,
  response: ServerResponse,
  code: number,
  headers: Record<string, string> = {},
  text: string = REASONS[code] ?? "",
): void {
  const { "content-length": length, "transfer-encoding": encoding } = request.headers;
  // What is left of a body would be read as the next request.
  const unread = !request.complete && (encoding !== undefined || Number(length) > 0);
  if (unread || CLOSES.has(code)) shut(request, response);
  // Node remembers the reason of an answer that it found malformed.
  response.writeHead(code, STATUS_CODES[code] ?? "", {
    "content-type": "text/plain",
    "content-length": text.length,
    ...(code === 503 && { "retry-after": "1" }),
    ...headers,
  });
  // After a malformed request nothing can be told apart any more, so nothing is waited for.
  if (!unread || code === 400) return void response.end(text);
  response.write(text);
  const end = (): void => void response.end();
  const timer = setTimeout(end, LINGER_MS).unref();
  response.once("close", () => clearTimeout(timer));
  request.once("end", end).resume();
}

/** Ends an exchange; `keep` where the replica's connection can take another. */
export function finish(ex: Exchange, code: number, keep: boolean): void {
  const { lane, connection, meter } = ex;
  const now = performance.now();
  ex.done = true;
  ex.connection = undefined;
  lane.inFlight--;
  if (ex.tunnel?.joined) meter.closed();
  else meter.done(code, (now - ex.began) / 1000);
  if (connection) release(connection, keep && ex.bodySent, now);
}

/** Ends an exchange that got no whole answer. */
export function fail(ex: Exchange, code: number): void {
  if (ex.done) return;
  finish(ex, code, false);
  const { request, response, tunnel, lane } = ex;
  // The head is out, so breaking off is the only way left to say that this is not the whole answer.
  if (tunnel?.joined) tunnel.client.destroySoon();
  else if (response.headersSent) response.destroy();
  else say(request, response, code, { "x-sluice-slot": lane.slot });
}
