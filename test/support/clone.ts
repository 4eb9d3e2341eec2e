import { execFileSync, spawn } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

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
export function clone(): Clone {
  const root = mkdtempSync(join(tmpdir(), "sluice-clone-"));
  const files = git(REPOSITORY, "ls-files", "-co", "--exclude-standard", "-z").split("\0").filter(Boolean);
  for (const file of files) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    copyFileSync(join(REPOSITORY, file), join(root, file));
  }
  const ports = setPorts(root);
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

// The committed ports may be taken by the very project that is being worked on.
function setPorts(root: string): Record<string, number> {
  const ports: Record<string, number> = {};
  for (const stack of ["dev", "staging", "prod"]) {
    const server = createServer().listen(0, "127.0.0.1");
    const address = server.address();
    const port = typeof address === "object" && address ? address.port : 0;
    server.close();
    const file = join(root, "stacks", `Pulumi.${stack}.yaml`);
    writeFileSync(file, readFileSync(file, "utf8").replace(/^(\s*sluice:port:).*$/m, `$1 "${port}"`));
    ports[stack] = port;
  }
  return ports;
}

function sh(cwd: string, line: string): Promise<{ code: number; output: string }> {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(SLUICE_|PULUMI_|NODE_OPTIONS$|npm_)/.test(name)),
  );
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
