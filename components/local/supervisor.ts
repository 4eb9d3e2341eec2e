import * as fs from "node:fs";
import { createServer, type Server } from "node:http";
import * as path from "node:path";
import { error, SluiceError } from "../errors";
import { SLOTS } from "../handle";
import { createAdmin } from "./admin";
import { attempt, type Surroundings } from "./around";
import { PROTOCOL } from "./client";
import { createHistory } from "./history";
import { checkSocketFolder, socketPath } from "./launch";
import { rotate } from "./logs";
import { createMetrics, type Metrics } from "./metrics";
import { bootId, endReplica, endStrays, startOf } from "./process";
import { createRegistry } from "./registry";
import { createService, type Service } from "./service";
import {
  adoptable,
  type Desired,
  markOf,
  openStore,
  type ReplicaRecord,
  replaceFile,
  type Store,
} from "./state";
import { createWatch } from "./watch";

const { version }: { version: string } = require("../../package.json");

const DirectoryUnsafe = error("directory-unsafe", {
  message: (directory: string) => `The state directory ${directory} belongs to another user.`,
  hint: () => "Name a directory of your own.",
});

/** Milliseconds from the environment, for tests that can't wait as long as people do. */
function milliseconds(name: string, otherwise: number): number {
  const given = Number(process.env[name]);
  return given > 0 ? given : otherwise;
}

/** Not by `console`: where its file is on a full disk, it ends the process. */
function log(line: string): void {
  try {
    fs.writeSync(1, `${new Date().toISOString()} ${line}\n`);
  } catch {
    // Nowhere is left to say so.
  }
}

/** Replaces a file of notes; without it life goes on. */
async function noteDown(file: string, text: string): Promise<void> {
  if (fs.existsSync(file) && fs.readFileSync(file, "utf8") === text) return;
  await replaceFile(file, text).catch((thrown) => log(`${file}: ${String(thrown)}`));
}

/** Starts every service as it was, taking over its old processes and ending those that nobody wants. */
async function recover(around: Surroundings): Promise<Map<string, Service>> {
  const { store, mark, timing } = around;
  const boot = bootId();
  const desired = await store.load();
  const known = desired.map((one): [Desired, ReplicaRecord[]] => [
    one,
    store.loadReplicas(one.name).filter((r) => r.boot === boot && startOf(r.pid) === r.start),
  ]);
  const wanted = new Set(
    known.flatMap(([one, records]) =>
      SLOTS.flatMap((slot) => adoptable(one, slot, records).map(({ id }) => id)),
    ),
  );
  void endStrays(mark, timing.graceMs, wanted).then(
    (count) => count > 0 && log(`ended ${count} stray processes`),
  );
  for (const record of known.flatMap(([, records]) => records))
    if (!wanted.has(record.id)) void endReplica(record, timing.graceMs);
  const services = new Map<string, Service>();
  await Promise.all(
    known.map(async ([one, records]) => services.set(one.name, await createService(one, records, around))),
  );
  log(`${services.size} services, ${wanted.size} replicas taken over`);
  return services;
}

/** Listens for Prometheus on the port of last time, or on another one where that is taken. */
async function serveMetrics(store: Store, metrics: Metrics): Promise<{ server: Server; url: string }> {
  const file = path.join(store.directory, "metrics-port");
  const former = fs.existsSync(file) ? Number(fs.readFileSync(file, "utf8")) || 0 : 0;
  const server = createServer((request, response) => {
    if (request.url !== "/metrics") return void response.writeHead(404).end();
    metrics.text().then(
      (text) => response.writeHead(200, { "content-type": metrics.registry.contentType }).end(text),
      (thrown) => response.writeHead(500).end(String(thrown)),
    );
  });
  await listen(server, { host: "127.0.0.1", port: former }).catch(() =>
    listen(server, { host: "127.0.0.1", port: 0 }),
  );
  const address = server.address();
  const port = address && typeof address === "object" ? address.port : 0;
  await noteDown(file, `${port}\n`);
  return { server, url: `http://127.0.0.1:${port}/metrics` };
}

function listen(server: Server, where: { host: string; port: number } | { path: string }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(where, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** Opens the admin socket in a folder of this user alone, and notes where it is. */
async function openSocket(server: Server, directory: string): Promise<string> {
  const socket = socketPath(directory);
  fs.mkdirSync(path.dirname(socket), { recursive: true, mode: 0o700 });
  checkSocketFolder(path.dirname(socket));
  // We hold the lock, so whoever listened here before is gone.
  fs.rmSync(socket, { force: true });
  await listen(server, { path: socket });
  fs.chmodSync(socket, 0o600);
  await noteDown(path.join(directory, "socket"), `${socket}\n`);
  return socket;
}

/** Supervises until it is told to stop. */
async function supervise(directory: string, lock: number): Promise<void> {
  if (fs.statSync(directory).uid !== process.getuid?.()) throw DirectoryUnsafe(directory);
  fs.chmodSync(directory, 0o700);
  const metrics = createMetrics();
  const store = openStore(directory);
  const timing = {
    silenceMs: milliseconds("SLUICE_SILENCE_MS", 30_000),
    drainMs: milliseconds("SLUICE_DRAIN_MS", 30_000),
    graceMs: milliseconds("SLUICE_GRACE_MS", 5000),
  };
  const around = { store, mark: markOf(directory), metrics, timing, log };
  const [history, watch] = [createHistory(metrics), createWatch(metrics)];
  const services = createRegistry(await recover(around), around, (name) => {
    history.forget(name);
    watch.end(name);
  });
  setInterval(
    () => attempt(around, "history", () => history.record(services.names(), Date.now())),
    milliseconds("SLUICE_HISTORY_MS", 5000),
  ).unref();
  const scraped = await serveMetrics(store, metrics);
  const startedAt = new Date().toISOString();
  const protocol = Number(process.env.SLUICE_PROTOCOL ?? PROTOCOL);
  const { pid } = process;

  let timer: NodeJS.Timeout | undefined;
  let socket = socketPath(directory);
  const leave = (): void => {
    fs.rmSync(socket, { force: true });
    process.exit(0);
  };
  let stopping: Promise<void> | undefined;
  const stop = (keepReplicas: boolean): Promise<void> => {
    stopping ??= (async () => {
      log(keepReplicas ? "handing over" : "stopping");
      clearInterval(timer);
      await services.close(keepReplicas);
      // Last: what is answered while the services end counts, too, and who is told asks the next supervisor.
      watch.close();
    })();
    return stopping;
  };
  const admin = createAdmin({
    log,
    info: () => ({ protocol, version, pid, directory, startedAt, metrics: scraped.url }),
    services,
    metrics,
    history,
    watch,
    stop,
    ended: leave,
  });
  /** Without its directory or its socket nobody could ever reach or replace us. */
  const lookAround = async (): Promise<void> => {
    if (
      fs.statSync(path.join(directory, "lock"), { throwIfNoEntry: false })?.ino !== fs.fstatSync(lock).ino
    ) {
      log("the state directory is gone");
      await stop(false);
      return leave();
    }
    if (!fs.existsSync(socket)) {
      admin.close();
      socket = await openSocket(admin, directory);
    }
    attempt(around, "supervisor.log", () => void rotate(path.join(directory, "supervisor.log")));
    await services.tick();
  };
  socket = await openSocket(admin, directory);
  const every = Math.min(1000, timing.silenceMs / 4);
  if (!stopping)
    timer = setInterval(
      () => void lookAround().catch((thrown) => log(String(thrown?.stack ?? thrown))),
      every,
    );
  const end = (): void => void stop(false).then(leave);
  process
    .on("SIGTERM", end)
    .on("SIGINT", end)
    .on("SIGHUP", () => undefined);
  log(`process ${pid}, sluice ${version}, protocol ${protocol}`);
}

/** Runs the supervisor of a state directory, whose lock this process holds. */
export function run(directory: string, lock: number): void {
  supervise(directory, lock).catch((thrown) => {
    const { code, message, hint } =
      thrown instanceof Error && "code" in thrown && "hint" in thrown
        ? (thrown as SluiceError)
        : new SluiceError("supervisor-failed", String(thrown?.stack ?? thrown), "Read supervisor.log there.");
    // The client that started us finds this line in the log.
    console.error(JSON.stringify({ error: { code, message, hint } }));
    process.exit(1);
  });
}
