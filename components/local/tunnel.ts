import { IncomingMessage, type ServerResponse, validateHeaderName, validateHeaderValue } from "node:http";
import type { Socket } from "node:net";
import { asksForWebSocket } from "./headers";
import { type Exchange, finish } from "./lane";
import type { Head } from "./wire";

/** A client that asked for a WebSocket. */
export interface Tunnel {
  readonly client: Socket;
  /** What it sent before the replica agreed: until then the replica would take it for another request. */
  early: Buffer[];
  /** Whether the replica has agreed, so that bytes go both ways. */
  joined: boolean;
  /** Who takes what the client sends from then on. */
  up: Socket | undefined;
}

/** Most bytes that are kept for a replica that has not agreed yet: a libuv read. */
const EARLY_BYTES = 64 * 1024;

/**
 * A request whose protocol may change only where it is a whole WebSocket handshake. Node asks `upgrade` before it
 * gives the connection out of its hands, and offers no other way to answer for one request alone.
 */
export class Incoming extends IncomingMessage {
  /** Whether another protocol was asked for, be it one that is tunnelled or not. */
  declare asked: boolean | null;

  get upgrade(): boolean {
    return this.asked === true && (this.method === "CONNECT" || asksForWebSocket(this));
  }

  set upgrade(asked: boolean | null) {
    this.asked = asked;
  }
}

/** Takes the client's connection; `first` is what came with its request. */
export function hold(client: Socket, first: Buffer, response: ServerResponse): Tunnel {
  const tunnel: Tunnel = { client, early: [], joined: false, up: undefined };
  let held = 0;
  const take = (chunk: Buffer): void => {
    if (tunnel.up) {
      if (!tunnel.up.write(chunk)) client.pause();
      return;
    }
    tunnel.early.push(chunk);
    held += chunk.length;
    if (held > EARLY_BYTES) client.pause();
  };
  // Node's parser was there for this connection; from here on an answer is sent and ended by hand.
  response.assignSocket(client);
  response.shouldKeepAlive = false;
  response.on("finish", () => client.destroySoon());
  client.setTimeout(0);
  client.on("error", () => undefined);
  client.on("timeout", () => client.destroy());
  client.on("data", take);
  client.on("end", () => {
    if (tunnel.up) tunnel.up.end();
    else client.destroy();
  });
  if (first.length > 0) take(first);
  return tunnel;
}

/** The replica has agreed: joins the two connections. Throws, before a byte is sent, where its head is malformed. */
export function join(ex: Exchange, tunnel: Tunnel, { message, raw }: Head): void {
  const { connection, response, meter, began } = ex;
  const { client } = tunnel;
  if (!connection) return;
  const headers = [...raw, "connection", "upgrade", "upgrade", "websocket", "x-sluice-slot", ex.lane.slot];
  if (ex.cookie !== undefined) headers.push("set-cookie", ex.cookie);
  validateHeaderValue("reason", message);
  let text = `HTTP/1.1 101 ${message}\r\n`;
  for (let i = 0; i < headers.length; i += 2) {
    const [name, value] = [headers[i]!, headers[i + 1]!];
    validateHeaderName(name);
    validateHeaderValue(name, value);
    text += `${name}: ${value}\r\n`;
  }
  response.detachSocket(client);
  client.write(`${text}\r\n`, "latin1");
  ex.headed = ex.flushed = true;
  tunnel.joined = true;
  tunnel.up = connection.socket;
  // One side may have said all it has to say while the other goes on.
  tunnel.up.allowHalfOpen = true;
  for (const chunk of tunnel.early.splice(0)) tunnel.up.write(chunk);
  client.on("close", () => !ex.done && finish(ex, 101, false));
  client.resume();
  // One request, counted by its handshake: how long people stay is no latency.
  meter.answered(101, (performance.now() - began) / 1000);
}

/** What the replica says goes to the client; a client that takes none of it for too long is cut off. */
export function down(ex: Exchange, { client }: Tunnel, chunk: Buffer): void {
  const { connection } = ex;
  if (client.write(chunk) || !connection || connection.paused) return;
  connection.paused = true;
  client.setTimeout(ex.lane.rules.sendMs);
  client.once("drain", () => {
    connection.paused = false;
    client.setTimeout(0);
    if (connection.user === ex) connection.socket.resume();
  });
}

/** No more is coming from the replica: the client has so long to take what has come, or to say something itself. */
export function ebb(ex: Exchange, { client }: Tunnel): void {
  client.setTimeout(ex.lane.rules.sendMs);
}
