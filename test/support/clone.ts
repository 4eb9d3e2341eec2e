import { execFileSync, spawn } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { freePorts, setPort } from "./project";

const REPOSITORY = join(__dirname, "..", "..");

/** What `git clone` gives, with this tree's uncommitted changes, and ports that are free here. */
export interface Clone {
  root: string;
  ports: Record<string, number>;
  /** Runs a command line in a shell, as a reader of the README would. */
  sh(line: string): Promise<{ code: number; output: string }>;
  dispose(): Promise<void>;
}

/** Makes a clone. Its npm packages are its own to install. */
export async function clone(): Promise<Clone> {
  const root = mkdtempSync(join(tmpdir(), "sluice-clone-"));
  const files = git(REPOSITORY, "ls-files", "-co", "--exclude-standard", "-z").split("\0").filter(Boolean);
  for (const file of files) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    copyFileSync(join(REPOSITORY, file), join(root, file));
  }
  // The committed ports may be taken by the very project that is being worked on.
  const ports = await freePorts(["dev", "staging", "prod"]);
  for (const [stack, port] of Object.entries(ports)) setPort(root, stack, port);
  git(root, "init", "-q");
  git(root, "add", "-A");
  git(root, "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "clone");
  return {
    root,
    ports,
    sh: (line) => sh(root, line),
    async dispose() {
      await sh(root, "node bin/sluice.js local down");
      rmSync(root, { recursive: true, force: true, maxRetries: 3 });
    },
  };
}

function git(cwd: string, ...args: string[]): string {
  return execFileSync("git", args, { cwd, encoding: "utf8", maxBuffer: 1 << 26 });
}

function sh(cwd: string, line: string): Promise<{ code: number; output: string }> {
  const ours = /^(SLUICE_|PULUMI_|NODE_OPTIONS$|npm_)/;
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !ours.test(name)));
  env.NO_COLOR = "1";
  return new Promise((resolve, reject) => {
    const child = spawn("bash", ["-c", line], { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    const hear = (chunk: Buffer) => {
      output += chunk;
    };
    child.stdout.on("data", hear);
    child.stderr.on("data", hear);
    child.once("error", reject);
    child.once("close", (code) => resolve({ code: code ?? -1, output }));
  });
}
