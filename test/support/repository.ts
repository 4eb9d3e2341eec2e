import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

/** A real git repository, made by hand. */
export interface Repository {
  path: string;
  /** `file://` URL. */
  url: string;
  git(...args: string[]): string;
  /** Commits files, links (`{ to }`) and removals (`null`); gives the commit. */
  commit(files: Record<string, string | { to: string } | null>): string;
}

const PLAIN = {
  PATH: process.env.PATH,
  HOME: "/nonexistent",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_CONFIG_GLOBAL: "/dev/null",
  ...Object.fromEntries(
    ["AUTHOR", "COMMITTER"].flatMap((who) => [
      [`GIT_${who}_NAME`, "a person"],
      [`GIT_${who}_EMAIL`, "person@example.org"],
      [`GIT_${who}_DATE`, "2026-01-01T00:00:00Z"],
    ]),
  ),
};

/** Makes an empty repository with the branch main. */
export function makeRepository(path: string): Repository {
  mkdirSync(path, { recursive: true });
  const git = (...args: string[]) =>
    execFileSync("git", ["-c", "protocol.file.allow=always", ...args], {
      cwd: path,
      env: PLAIN,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    }).trim();
  git("init", "--quiet", "--initial-branch=main");
  return {
    path,
    url: pathToFileURL(path).href,
    git,
    commit(files) {
      for (const [name, content] of Object.entries(files)) {
        const file = join(path, name);
        mkdirSync(dirname(file), { recursive: true });
        if (content === null) git("rm", "-rq", "--", name);
        else if (typeof content === "string") writeFileSync(file, content);
        else symlinkSync(content.to, file);
      }
      git("add", "--all");
      git("commit", "--quiet", "--allow-empty", "--message=change");
      return git("rev-parse", "HEAD");
    },
  };
}

/** Serves the repositories under a directory over HTTP as git does it; `before` may answer first, by true. */
export async function serveGit(
  root: string,
  before: (...args: Parameters<RequestListener>) => boolean = () => false,
): Promise<{ url: string; requests: string[]; close(): Promise<void> }> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    if (before(request, response)) return;
    const url = new URL(request.url ?? "/", "http://git");
    const child = spawn("git", ["http-backend"], {
      env: {
        ...PLAIN,
        GIT_PROJECT_ROOT: root,
        GIT_HTTP_EXPORT_ALL: "1",
        PATH_INFO: decodeURIComponent(url.pathname),
        QUERY_STRING: url.search.slice(1),
        REQUEST_METHOD: request.method,
        CONTENT_TYPE: request.headers["content-type"] ?? "",
        HTTP_CONTENT_ENCODING: request.headers["content-encoding"] ?? "",
        GIT_PROTOCOL: String(request.headers["git-protocol"] ?? ""),
      },
      stdio: ["pipe", "pipe", "ignore"],
    });
    child.stdin.on("error", () => undefined);
    request.pipe(child.stdin);
    const chunks: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
    child.on("close", () => {
      const all = Buffer.concat(chunks);
      const end = all.indexOf("\r\n\r\n");
      const headers = all.toString("latin1", 0, end).split("\r\n");
      const status = /^status: (\d+)/i.exec(headers.find((line) => /^status:/i.test(line)) ?? "")?.[1];
      response.writeHead(
        Number(status ?? 200),
        headers.filter((line) => !/^status:/i.test(line)).flatMap((line) => line.split(/: /, 2)),
      );
      response.end(all.subarray(end + 4));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** A directory of a test, its name as hard as a name may be. */
export function hardDirectory(parent: string): string {
  return mkdtempSync(join(parent, "a b ü'% @#-"));
}
