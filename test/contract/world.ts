import { readFileSync } from "node:fs";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Context, Subject } from "../../automation/core/ports";
import type { Handle } from "../../components/handle";

/** A release that is asked about. */
export function subject(change: Partial<Subject> = {}): Subject {
  return {
    environment: "prod",
    target: "prod",
    service: "shop",
    release: "a".repeat(64),
    pin: { artifact: `dir:shop@sha256:${"b".repeat(64)}`, version: "1.2.3", commit: "c".repeat(40) },
    ...change,
  };
}

/** The handle of a service on the local platform. */
export function handle(directory = "/nowhere"): Handle {
  return {
    version: 1,
    platform: "local",
    service: "shop",
    slots: {
      green: {
        pin: subject().pin,
        hash: "d".repeat(64),
        settings: {
          variables: {},
          secrets: {},
          arguments: [],
          files: {},
          resources: { replicas: 1 },
          probes: { health: "/healthz", startSeconds: 10 },
        },
      },
    },
    split: { blue: 0, green: 0 },
    generation: 0,
    local: { directory, name: "shop.prod", url: "http://127.0.0.1:1" },
  };
}

/** A context that can be aborted, with what was logged. */
export function context(): Context & { lines: string[]; abort(): void } {
  const controller = new AbortController();
  const lines: string[] = [];
  return {
    signal: controller.signal,
    now: () => Date.now(),
    log: (line) => lines.push(line),
    fence: { run: "run-1", token: 1 },
    lines,
    abort: () => controller.abort(new Error("aborted by the test")),
  };
}

/** A real server on loopback. */
export async function serve(
  listener: RequestListener,
): Promise<{ url: string; server: Server; close(): Promise<void> }> {
  const server = createServer(listener);
  // A test that failed before its end must not keep the process.
  server.unref().on("connection", (socket) => socket.unref());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    server,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Whether a process is there, zombies left out. */
export function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return process.platform !== "linux";
  }
}

/** Resolves once it is so; rejects after `limit` milliseconds. */
export async function until(fact: () => boolean, limit = 5000): Promise<void> {
  const end = performance.now() + limit;
  while (!fact()) {
    if (performance.now() > end) throw new Error(`not so within ${limit} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
