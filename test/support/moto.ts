import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { cacheDirectory } from "../../automation/toolchain/cache";

/** Another version may answer differently. */
const VERSION = "5.2.1";

/** A Python with moto and botocore, made once and kept in the cache. */
export function findMoto(): string {
  const kept = join(cacheDirectory(process.env), `moto-${VERSION}`);
  const binary = join(kept, "bin", "python");
  if (existsSync(binary)) return binary;
  mkdirSync(dirname(kept), { recursive: true, mode: 0o700 });
  const work = mkdtempSync(`${kept}-`);
  try {
    execFileSync("python3", ["-m", "venv", work], { stdio: "pipe" });
    const install = [
      "-m",
      "pip",
      "install",
      "--quiet",
      "--disable-pip-version-check",
      `moto[server]==${VERSION}`,
    ];
    execFileSync(join(work, "bin", "python"), install, { stdio: "pipe" });
    renameSync(work, kept);
  } catch (thrown) {
    // Another suite may have been faster; its own is as good.
    if (!existsSync(binary)) throw thrown;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return binary;
}

/** Starts moto's server on loopback: AWS's services in memory. */
export async function startMoto(): Promise<{ url: string; stop(): Promise<void> }> {
  const child = spawn(findMoto(), ["-m", "moto.server", "-H", "127.0.0.1", "-p", "0"], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const url = await new Promise<string>((resolve, reject) => {
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said += text;
      const found = /Running on (http:\/\/\S+)/.exec(said)?.[1];
      if (found) resolve(found);
    });
    child.on("error", reject);
    child.on("exit", () => reject(new Error(`moto does not start: ${said.slice(-2000)}`)));
  });
  return { url, stop: () => stop(child) };
}

async function stop(child: ChildProcess): Promise<void> {
  const closed = once(child, "close");
  if (child.exitCode === null && child.signalCode === null && child.kill("SIGKILL")) await closed;
}

/** A shape of botocore's service models. */
export interface Shape {
  type: string;
  members?: Record<string, { shape: string }>;
  required?: string[];
  member?: { shape: string };
  enum?: string[];
  pattern?: string;
  min?: number;
  max?: number;
}

/** What AWS publishes of the service: its operations and their shapes. */
export interface Model {
  metadata: { targetPrefix: string; jsonVersion: string; protocols: string[] };
  operations: Record<string, { input: { shape: string }; output: { shape: string } }>;
  shapes: Record<string, Shape>;
}

/** CloudWatch's model, out of botocore. */
export function cloudWatchModel(): Model {
  const script =
    "import json, botocore.loaders as l; print(json.dumps(l.Loader().load_service_model('cloudwatch', 'service-2')))";
  return JSON.parse(
    execFileSync(findMoto(), ["-c", script], { encoding: "utf8", maxBuffer: 64 * 1024 * 1024 }),
  );
}
