import { once } from "node:events";
import {
  type Agent,
  createServer,
  type IncomingMessage,
  type RequestListener,
  request,
  type Server,
} from "node:http";
import { type AddressInfo, connect, createServer as createTcp, type Socket } from "node:net";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Slot } from "../../../components/handle";
import { createMetrics } from "../../../components/local/metrics";
import { createProxy, type ProxyOptions } from "../../../components/local/proxy";
import { createChooser } from "../../../components/local/split";

export type Replica = { port: number; stop(): Promise<void> };
interface Answer {
  status: number;
  headers: IncomingMessage["headers"];
  trailers: IncomingMessage["trailers"];
  body: string;
}
interface Ask {
  method?: string;
  path?: string;
  headers?: Record<string, string>;
  body?: string;
  agent?: Agent;
}

export const allBlue = { blue: 100, green: 0 };
export const allGreen = { blue: 0, green: 100 };
const stops: (() => Promise<unknown>)[] = [];

export async function replica(listener: RequestListener): Promise<Replica> {
  return serve(createServer(listener));
}

/** A replica that speaks TCP only: for what an HTTP server would never do. */
export async function raw(listener: (socket: Socket) => void): Promise<Replica> {
  const server = createTcp((socket) => {
    socket.on("error", () => undefined);
    listener(socket);
  });
  return serve(server as unknown as Server);
}

export async function serve(server: Server): Promise<Replica> {
  // Those that changed their protocol too, which the server itself forgets.
  const open = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const stop = async (): Promise<void> => {
    if (!server.listening) return;
    server.close();
    for (const socket of open) socket.destroy();
  };
  stops.push(stop);
  return { port: (server.address() as AddressInfo).port, stop };
}

export async function front(options: Partial<ProxyOptions> = {}) {
  const metrics = createMetrics();
  const proxy = createProxy({ service: "web", port: 0, metrics, choose: createChooser(7), ...options });
  const port = await proxy.listen();
  stops.unshift(() => proxy.close(100));
  return { proxy, metrics, port };
}

export function ask(
  port: number,
  { method = "GET", path = "/", headers = {}, body, agent }: Ask = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request(
      { host: "127.0.0.1", port, method, path, headers, agent: agent ?? false },
      async (response) => {
        try {
          let text = "";
          for await (const chunk of response) text += chunk;
          const { statusCode: status = 0, headers, trailers } = response;
          resolve({ status, headers, trailers, body: text });
        } catch (thrown) {
          reject(thrown);
        }
      },
    );
    sent.on("error", reject);
    sent.end(body);
  });
}

export async function until(fact: () => boolean): Promise<void> {
  while (!fact()) await pause(2);
}

/** Bytes of buffers that this process holds, without what is only not yet collected. */
export function held(): number {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
  return process.memoryUsage().arrayBuffers;
}

/** Resolves with nothing after a while. */
export function pause(ms: number): Promise<undefined> {
  return new Promise((next) => setTimeout(next, ms, undefined));
}

export function gate(): { opened: Promise<void>; open: () => void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

export const says = (text: string): RequestListener => {
  return (_request, response) => void response.end(text);
};

export async function pair(proxy: ReturnType<typeof createProxy>, split: Record<Slot, number>) {
  const blue = await replica(says("blue"));
  const green = await replica(says("green"));
  proxy.route({ split, upstreams: { blue: [blue], green: [green] } });
  return { blue: [blue], green: [green] };
}

/** Ends what a test began: for `afterEach`. */
export async function tidy(): Promise<void> {
  for (const stop of stops.splice(0)) await stop();
}

/** A client that speaks TCP only: what it heard so far, and whether the other side ended. */
interface Line {
  socket: Socket;
  heard(): string;
  ended: Promise<string>;
  /** Waits until it heard that. */
  hears(what: string | RegExp): Promise<string>;
}

/** Connects and says something, byte by byte as given. */
export async function dial(port: number, text = "", allowHalfOpen = false): Promise<Line> {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen, noDelay: true });
  let heard = "";
  socket.on("error", () => undefined);
  socket.on("data", (chunk) => {
    heard += chunk.toString("latin1");
  });
  const ended = new Promise<string>((resolve) => {
    socket.on("end", () => resolve(heard));
    socket.on("close", () => resolve(heard));
  });
  stops.unshift(async () => socket.destroy());
  await once(socket, "connect");
  if (text) socket.write(text, "latin1");
  const hears = async (what: string | RegExp): Promise<string> => {
    await until(() => (typeof what === "string" ? heard.includes(what) : what.test(heard)));
    return heard;
  };
  return { socket, heard: () => heard, ended, hears };
}
