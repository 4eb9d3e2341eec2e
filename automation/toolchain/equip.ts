import { randomUUID } from "node:crypto";
import {
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { digest, stampOf } from "./cache";

/** Programs the engine wants beside the binary (on PATH alone it warns on each run), and where their text is. */
const SHIMS = { "pulumi-language-nodejs": "language.js", "pulumi-resource-pulumi-nodejs": "provider.js" };

// Without the manifest a `"type": "module"` in some directory above would change how Node reads the shims.
const BESIDE = {
  "lean.js": readFileSync(join(__dirname, "lean.js"), "utf8"),
  "package.json": '{ "type": "commonjs" }\n',
};

// An equipped copy nobody used for this long is removed when a new one is made.
const UNUSED_MS = 30 * 24 * 3600_000;

function shimTexts(): Record<string, string> {
  const texts = Object.entries(SHIMS).map(([name, file]) => [
    name,
    readFileSync(join(__dirname, file), "utf8"),
  ]);
  return { ...Object.fromEntries(texts), ...BESIDE };
}

/**
 * A path under which the binary has a Node language host beside it: itself where it has one (the official
 * distribution), else a hard link or copy in the cache with Sluice's own. The copy's directory is named after the
 * contents, so neither another version of Sluice nor a changed binary ever disturbs an engine that runs from it.
 */
export function equip(binary: string, version: string, cache: string): string {
  const real = realpathSync(binary);
  if ([binary, real].some((path) => existsSync(join(dirname(path), "pulumi-language-nodejs")))) return binary;
  // A launcher (a script, or a version manager's one binary of many names) is nothing that could be moved.
  if (!basename(real).startsWith("pulumi") || isScript(real)) return binary;

  const shims = shimTexts();
  const home = join(cache, "pulumi");
  const target = join(home, `${version}-${digest(stampOf(real), ...Object.entries(shims).flat())}`);
  if (isWhole(target, real, shims)) {
    touch(target);
  } else {
    const fresh = join(home, `.new-${randomUUID()}`);
    fill(join(fresh, "bin"), real, shims);
    place(fresh, target, () => isWhole(target, real, shims));
    prune(home, target);
  }
  return join(target, "bin", "pulumi");
}

function isScript(file: string): boolean {
  const start = Buffer.alloc(2);
  const fd = openSync(file, "r");
  try {
    readSync(fd, start, 0, 2, 0);
  } finally {
    closeSync(fd);
  }
  return start.toString("latin1") === "#!";
}

function isWhole(target: string, binary: string, shims: Record<string, string>): boolean {
  try {
    const size = (name: string): number => statSync(join(target, "bin", name)).size;
    return (
      size("pulumi") === statSync(binary).size &&
      Object.entries(shims).every(([name, text]) => size(name) === Buffer.byteLength(text))
    );
  } catch {
    return false;
  }
}

function fill(bin: string, binary: string, shims: Record<string, string>): void {
  mkdirSync(bin, { recursive: true, mode: 0o700 });
  try {
    linkSync(binary, join(bin, "pulumi"));
  } catch {
    // Another file system, or a binary that is not ours: Linux forbids links to those.
    copyFileSync(binary, join(bin, "pulumi"), constants.COPYFILE_FICLONE);
  }
  for (const [name, text] of Object.entries(shims)) {
    writeFileSync(join(bin, name), text, { mode: name in SHIMS ? 0o700 : 0o600 });
  }
}

/** Moves a finished directory to its name. Whoever comes second finds a whole one there and drops his own. */
export function place(fresh: string, target: string, isGood: () => boolean): void {
  try {
    renameSync(fresh, target);
  } catch (problem) {
    const { code } = problem as NodeJS.ErrnoException;
    if (code !== "ENOTEMPTY" && code !== "EEXIST" && code !== "ENOTDIR") throw problem;
    if (!isGood()) {
      const old = `${fresh}-old`;
      renameSync(target, old);
      renameSync(fresh, target);
      rmSync(old, { recursive: true, force: true });
    }
    rmSync(fresh, { recursive: true, force: true });
  }
}

function touch(directory: string): void {
  const now = new Date();
  // Once a day is enough to say "in use", and a read-only cache is no reason to fail.
  try {
    if (now.getTime() - statSync(directory).mtimeMs > 24 * 3600_000) utimesSync(directory, now, now);
  } catch {}
}

/** Removes what nobody used for a month, and what a killed process left half made. */
export function prune(home: string, keep: string): void {
  for (const name of readdirSync(home)) {
    const path = join(home, name);
    const made = /^\d+\.\d+\.\d+\S*-[0-9a-f]{16}$/.test(name) || name.startsWith(".new-");
    if (!made || path === keep) continue;
    try {
      if (Date.now() - statSync(path).mtimeMs > UNUSED_MS) rmSync(path, { recursive: true, force: true });
    } catch {
      // Another process was faster.
    }
  }
}
