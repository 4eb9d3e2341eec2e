import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { chmod, type FileHandle, lstat, mkdir, open, readdir, readlink, symlink } from "node:fs/promises";
import { join } from "node:path";
import { error } from "../errors";

export const ArtifactEscapes = error("artifact-escapes", {
  message: (link: string, to: string) =>
    `The symbolic link ${link} leads to ${to}, which is not surely inside the source.`,
  hint: (link: string) =>
    `Make ${link} a plain relative link inside the source, copy what it points to, or add it to \`ignore\`.`,
});

export const ArtifactSpecial = error("artifact-special-file", {
  message: (path: string, what: string) => `${path} is ${what}, which an artifact can't hold.`,
  hint: (path: string) => `Remove ${path}, or add its name to the source's \`ignore\`.`,
});

/** Something in a tree, by its path from the root. */
interface Entry {
  path: string;
  kind: "file" | "link" | "directory";
}

/** Which entries are left out. */
export type Skip = (name: string, absolute: string) => boolean;

/** Files read at once: more gains nothing on libuv's four threads. */
const PARALLEL = 8;
/** Bytes per read: whole for nearly every source file, and bounded for a large one. */
const CHUNK = 1024 * 1024;

/**
 * Hashes a tree: path, kind, executable bit and content of everything, sorted by path. With `into` it is copied
 * there on the way, each byte read once, so that the hash is of what was copied even if a file changes meanwhile.
 */
export async function readTree(
  from: string,
  skip: Skip,
  into?: string,
  signal?: AbortSignal,
): Promise<string> {
  const entries = await walk(from, "", skip, signal);
  if (into !== undefined) {
    for (const { path, kind } of entries)
      if (kind === "directory") await mkdir(join(into, path), { mode: 0o700 });
  }
  const lines: string[] = [];
  let next = 0;
  const work = async (): Promise<void> => {
    const buffer = Buffer.allocUnsafe(CHUNK);
    for (let entry = entries[next++]; entry; entry = entries[next++]) {
      signal?.throwIfAborted();
      const line = await readEntry(from, entry, buffer, into).catch(gone);
      if (line) lines.push(JSON.stringify([entry.path, ...line]));
    }
  };
  await settle(Array.from({ length: PARALLEL }, work));
  return createHash("sha256").update(lines.sort().join("\n")).digest("hex");
}

/** Checks every link of a tree and takes the right to write from everybody, files 0400 or 0500, directories 0500. */
export async function sealTree(root: string): Promise<void> {
  for (const { path, kind } of (await walk(root, "", () => false)).reverse()) {
    const full = join(root, path);
    if (kind === "link") checkLink(path, await readlink(full));
    else await chmod(full, kind === "directory" || (await lstat(full)).mode & 0o100 ? 0o500 : 0o400);
  }
  await chmod(root, 0o500);
}

/** Lets a tree be removed again by a user who is not root. */
export async function unsealTree(root: string): Promise<void> {
  await chmod(root, 0o700);
  for (const entry of await readdir(root, { withFileTypes: true })) {
    if (entry.isDirectory()) await unsealTree(join(root, entry.name));
  }
}

/** Waits for all even if one failed: nobody shall still write into a copy that is being removed. */
async function settle(work: Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(work)).find((result) => result.status === "rejected");
  if (failed) throw failed.reason;
}

/** A file that vanished between the listing and the reading was not there. */
function gone(thrown: NodeJS.ErrnoException): undefined {
  if (thrown.code === "ENOENT" && (thrown.syscall === "open" || thrown.syscall === "readlink"))
    return undefined;
  throw thrown;
}

async function walk(root: string, under: string, skip: Skip, signal?: AbortSignal): Promise<Entry[]> {
  signal?.throwIfAborted();
  const found: Entry[] = [];
  const listed = await readdir(join(root, under), { withFileTypes: true }).catch(
    (thrown: NodeJS.ErrnoException) => {
      if (thrown.code === "ENOENT" && under !== "") return [];
      throw thrown;
    },
  );
  for (const entry of listed) {
    const path = under === "" ? entry.name : `${under}/${entry.name}`;
    if (skip(entry.name, join(root, path))) continue;
    if (entry.name.includes("\ufffd")) throw ArtifactSpecial(path, "a file whose name is not UTF-8");
    if (entry.isSymbolicLink()) found.push({ path, kind: "link" });
    else if (entry.isFile()) found.push({ path, kind: "file" });
    else if (entry.isDirectory()) {
      found.push({ path, kind: "directory" }, ...(await walk(root, path, skip, signal)));
    } else
      throw ArtifactSpecial(path, entry.isSocket() ? "a socket" : entry.isFIFO() ? "a pipe" : "a device");
  }
  return found;
}

async function readEntry(
  from: string,
  { path, kind }: Entry,
  buffer: Buffer,
  into?: string,
): Promise<string[]> {
  if (kind === "directory") return ["directory"];
  if (kind === "link") {
    const to = await readlink(join(from, path));
    checkLink(path, to);
    if (into !== undefined) await symlink(to, join(into, path));
    return ["link", to];
  }
  // Without following: what was a file when it was listed may be a link or a pipe by now.
  const source = await open(
    join(from, path),
    constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
  );
  try {
    const stat = await source.stat();
    if (!stat.isFile()) throw ArtifactSpecial(path, "no file any more");
    const executable = (stat.mode & 0o100) !== 0;
    const copy =
      into === undefined ? undefined : await open(join(into, path), "wx", executable ? 0o700 : 0o600);
    try {
      return [executable ? "executable" : "file", await pump(source, buffer, copy)];
    } finally {
      await copy?.close();
    }
  } finally {
    await source.close();
  }
}

async function pump(source: FileHandle, buffer: Buffer, copy?: FileHandle): Promise<string> {
  const hash = createHash("sha256");
  for (;;) {
    const { bytesRead } = await source.read(buffer, 0, buffer.length);
    if (bytesRead === 0) return hash.digest("hex");
    const chunk = buffer.subarray(0, bytesRead);
    hash.update(chunk);
    // writeFile on a handle goes on after a short write.
    await copy?.writeFile(chunk);
  }
}

/**
 * A link may lead up only at its beginning: those steps go through real directories, and what follows goes down,
 * through links that are checked alike. So nothing leaves the tree, without looking at the disk.
 */
function checkLink(path: string, to: string): void {
  let depth = path.split("/").length - 1;
  let down = false;
  for (const part of to.split("/")) {
    if (part === "" || part === ".") {
      if (to.startsWith("/")) throw ArtifactEscapes(path, to);
    } else if (part !== "..") down = true;
    else if (down || --depth < 0) throw ArtifactEscapes(path, to);
  }
}
