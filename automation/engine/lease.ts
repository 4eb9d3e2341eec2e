import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { closeSync, constants, type Stats } from "node:fs";
import { stat } from "node:fs/promises";
import { hostname, userInfo } from "node:os";
import { basename, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { tryLock, unlock } from "fs-native-extensions";
import { error } from "../../components/errors";
import type { Instant, RunId } from "../core/model";
import { makeDirectory, syncDirectory } from "./runs";

/** Bytes per record; two records take turns, so that a write cut short leaves the one before. */
const RECORD = 1024;
/** Longest name kept, in characters: six bytes each when escaped still leave a record room. */
const LONGEST = 40;
/** Milliseconds between tries: a look from `leaseHolder` or a process being started holds the lock for an instant. */
const TRIES = [10, 30, 60, 100];

/** Who has an environment, as others see it. */
export interface Holder {
  token: number;
  pid: number;
  user: string;
  host: string;
  /** Missing until the holder has said which run it is. */
  run?: RunId | undefined;
  since: Instant;
}

/** The right to change an environment: the kernel's lock, gone with the process however it ends. */
export interface Lease {
  /** Greater than every token given before for this environment: platforms refuse a lower one. */
  readonly token: number;
  readonly holder: Holder;
  /** Tells the others which run this is. */
  name(run: RunId): Promise<void>;
  /** Gives the environment back; more than once does no harm. */
  release(): Promise<void>;
}

export interface LeaseOptions {
  /** The run it is taken for. @default told later with `name` */
  run?: RunId;
  /** A token known to have been used elsewhere: the new one is greater. @default 0 */
  above?: number;
  /** @default Date.now */
  now?: () => Instant;
}

export const RunHeld = error("run-held", {
  message: (environment: string, holder: Holder | undefined) =>
    holder
      ? `${holder.user} on ${holder.host} (pid ${holder.pid}) works on ${environment} since ` +
        `${new Date(holder.since).toISOString()}${holder.run ? `, run ${holder.run}` : ""}.`
      : `Another process works on ${environment}; it has not said who it is.`,
  hint: (environment: string) =>
    `Follow it with \`npm run status\`, wait until it ends, or end it with \`npm run abort -- ${environment}\`.`,
});

export const LeaseUnusable = error("lease-unusable", {
  message: (file: string, cause: Error) => `${file} can't be locked and written: ${cause.message}`,
  hint: (file: string) =>
    `Look at \`ls -l ${file}\` and the disk: it must be yours, have room, and know file locks (most network file systems don't).`,
});

/** Takes an environment for this process, or throws `run-held`. The token is on disk before it is handed out. */
export async function acquireLease(environmentDirectory: string, options: LeaseOptions = {}): Promise<Lease> {
  const path = join(environmentDirectory, "lease");
  try {
    await makeDirectory(environmentDirectory);
    const fd = await lock(path);
    if (fd === undefined) throw RunHeld(basename(environmentDirectory), (await read(path)).latest?.holder);
    try {
      await syncDirectory(environmentDirectory);
      return await grant(fd, path, options);
    } catch (e) {
      closeSync(fd);
      throw e;
    }
  } catch (e) {
    throw RunHeld.is(e) ? e : LeaseUnusable(path, e as Error);
  }
}

/** Who holds an environment at this moment; nobody, if the process that took it is gone. */
export async function leaseHolder(environmentDirectory: string): Promise<Holder | undefined> {
  const path = join(environmentDirectory, "lease");
  let fd: number;
  try {
    fd = await open(path, constants.O_RDONLY);
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw LeaseUnusable(path, e as Error);
  }
  try {
    return tryLock(fd, { shared: true }) ? undefined : (await read(path)).latest?.holder;
  } finally {
    closeSync(fd);
  }
}

// Bare descriptors: a FileHandle may be closed when it is collected, and the lock with it. Node opens them
// close-on-exec, so a CLI that outlives this process does not keep the lock.
const open = promisify(fs.open);
const write = promisify(fs.write);
const datasync = promisify(fs.fdatasync);

/** A descriptor with the lock, or nothing if somebody else has it. */
async function lock(path: string): Promise<number | undefined> {
  for (const pause of [...TRIES, 0]) {
    const fd = await open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    try {
      if (tryLock(fd) && (await isAt(path, fs.fstatSync(fd)))) return fd;
    } catch (e) {
      closeSync(fd);
      throw e;
    }
    closeSync(fd);
    if (pause) await delay(pause);
  }
  return undefined;
}

/** A lock on a file that was removed meanwhile excludes nobody. */
async function isAt(path: string, mine: Stats): Promise<boolean> {
  const there = await stat(path).catch(() => undefined);
  return there?.ino === mine.ino && there.dev === mine.dev;
}

async function grant(fd: number, path: string, options: LeaseOptions): Promise<Lease> {
  const { now = Date.now, above = 0, run } = options;
  const past = await read(path);
  const since = now();
  const holder: Holder = {
    // The time keeps it rising even where the directory was lost.
    token: Math.max(past.token + 1, above + 1, Math.floor(since)),
    pid: process.pid,
    user: short(whoami()),
    host: short(hostname()),
    run: run && short(run),
    since,
  };
  let order = past.latest ? past.latest.order + 1 : 0;
  let open = true;
  await record(fd, { order, holder });
  return {
    token: holder.token,
    holder,
    async name(run) {
      holder.run = short(run);
      order += 1;
      await record(fd, { order, holder }).catch((e: Error) => {
        throw LeaseUnusable(path, e);
      });
    },
    async release() {
      if (!open) return;
      open = false;
      unlock(fd);
      closeSync(fd);
    },
  };
}

interface Entry {
  /** Counts the writes: the place of a record is its order's parity. */
  order: number;
  holder: Holder;
}

async function record(fd: number, entry: Entry): Promise<void> {
  const body = JSON.stringify(entry);
  const text = `${`${checksum(body)} ${body}`.padEnd(RECORD - 1 - (Buffer.byteLength(body) - body.length))}\n`;
  const { bytesWritten } = await write(fd, Buffer.from(text), 0, RECORD, (entry.order % 2) * RECORD);
  if (bytesWritten !== RECORD) throw new Error("the disk is full");
  await datasync(fd);
}

/** The latest whole record, and the highest token in any. */
async function read(path: string): Promise<{ latest?: Entry; token: number }> {
  const content = await fs.promises.readFile(path);
  const entries = [0, RECORD]
    .map((at) => parse(content.toString("utf8", at, at + RECORD)))
    .filter((entry) => entry !== undefined)
    .sort((a, b) => b.order - a.order);
  const token = Math.max(0, ...entries.map((entry) => entry.holder.token));
  return entries[0] ? { latest: entries[0], token } : { token };
}

function parse(text: string): Entry | undefined {
  const [sum, body = ""] = [text.slice(0, 16), text.slice(17).trimEnd()];
  if (sum !== checksum(body)) return undefined;
  const entry = JSON.parse(body) as Entry;
  return Number.isSafeInteger(entry.holder?.token) && Number.isSafeInteger(entry.order) ? entry : undefined;
}

/** The user of this process, by name where it has one. */
export function whoami(): string {
  try {
    return userInfo().username;
  } catch {
    return `user ${process.getuid?.()}`; // in a container the number may have no name
  }
}

function checksum(body: string): string {
  return createHash("sha256").update(body).digest("hex").slice(0, 16);
}

function short(name: string): string {
  return name.slice(0, LONGEST);
}
