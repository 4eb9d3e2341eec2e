import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  accessSync,
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { cacheDirectory } from "../../automation/toolchain/cache";

/**
 * A Prometheus binary: one on PATH, one kept from last time, or Debian's package, unpacked and not installed.
 * Gives the reason where there is none; in CI, where the package could be had, that is a failure.
 */
export function findPrometheus(): { binary: string } | { reason: string } {
  const kept = join(cacheDirectory(process.env), "prometheus", "prometheus");
  const there = [...(process.env.PATH ?? "").split(delimiter).map((path) => join(path, "prometheus")), kept];
  const found = there.find(executable);
  if (found) return { binary: found };
  if (!(process.env.PATH ?? "").split(delimiter).some((path) => executable(join(path, "apt-get"))))
    return { reason: "there is no Prometheus here, and no apt-get to download Debian's with" };
  const work = mkdtempSync(join(tmpdir(), "sluice-prometheus-"));
  try {
    const quiet = { cwd: work, stdio: "pipe" } as const;
    // A fresh machine may have no lists yet; without the right to fetch them the first error stands.
    const download = "apt-get download prometheus || { apt-get update && apt-get download prometheus; }";
    execFileSync("sh", ["-c", `{ ${download}; } && dpkg-deb -x prometheus_*.deb x`], quiet);
    mkdirSync(join(kept, ".."), { recursive: true, mode: 0o700 });
    // Another suite may do the same: whoever is last puts the same file there.
    execFileSync("cp", ["x/usr/bin/prometheus", `${kept}.${process.pid}`], quiet);
    renameSync(`${kept}.${process.pid}`, kept);
    return { binary: kept };
  } catch (thrown) {
    if (process.env.CI) throw thrown;
    return { reason: `Debian's package can't be had: ${String(thrown).slice(0, 200)}` };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function executable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** A running Prometheus. */
export interface Running {
  url: string;
  stop(): Promise<void>;
}

/** Starts one on loopback that scrapes these `host:port`s 5 times a second; resolves once it answers. */
export async function startPrometheus(
  binary: string,
  targets: readonly string[],
  flags: readonly string[] = [],
): Promise<Running> {
  const directory = mkdtempSync(join(tmpdir(), "sluice-prometheus-"));
  const jobs = [{ job_name: "sluice", static_configs: [{ targets }] }];
  const global = { scrape_interval: "200ms", scrape_timeout: "200ms" };
  // JSON is YAML.
  writeFileSync(join(directory, "prometheus.yml"), JSON.stringify({ global, scrape_configs: jobs }));
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    const log = join(directory, "log");
    const fd = openSync(log, "w");
    const child = spawn(
      binary,
      [
        `--config.file=${join(directory, "prometheus.yml")}`,
        `--storage.tsdb.path=${join(directory, "data")}`,
        `--web.listen-address=127.0.0.1:${port}`,
        "--log.level=warn",
        ...flags,
      ],
      { cwd: directory, stdio: ["ignore", fd, fd] },
    );
    closeSync(fd);
    const url = `http://127.0.0.1:${port}`;
    if (await answers(url, child)) return { url, stop: () => stop(child, directory) };
    // Its port may have been taken between our look and its start.
    if (attempt === 3)
      throw new Error(`Prometheus does not start: ${readFileSync(log, "utf8").slice(-2000)}`);
  }
}

async function answers(url: string, child: ChildProcess): Promise<boolean> {
  while (child.exitCode === null && child.signalCode === null) {
    if (
      await fetch(`${url}/-/ready`).then(
        (r) => r.ok,
        () => false,
      )
    )
      return true;
    await new Promise((next) => setTimeout(next, 20));
  }
  return false;
}

async function stop(child: ChildProcess, directory: string): Promise<void> {
  const closed = once(child, "close");
  if (child.exitCode === null && child.signalCode === null && child.kill("SIGKILL")) await closed;
  rmSync(directory, { recursive: true, force: true });
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
