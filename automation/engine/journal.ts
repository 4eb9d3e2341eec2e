import { constants } from "node:fs";
import { type FileHandle, open, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { error, type SluiceError } from "../../components/errors";
import type { Fact, JournalEvent } from "../core/events";
import type { Instant } from "../core/model";
import { environmentOf, FIRST, hash, type Past, parse } from "./chain";
import { JOURNAL, makeDirectory, syncDirectory } from "./runs";

/** Milliseconds a note may stay in memory: what a power cut can take of the samples. */
const LAG = 1000;

export const JournalMissing = error("journal-missing", {
  message: (file: string) => `${file} is not there, so nothing is known of this run.`,
  hint: (file: string) => `\`npm run history -- ${environmentOf(file)}\` lists the runs that are known.`,
});

export const JournalExists = error("journal-exists", {
  message: (file: string) => `${file} is there already; a run is begun once.`,
  hint: () => "Give the command again: it takes a new name for the run.",
});

export const JournalFull = error("journal-full", {
  message: (file: string, cause: Error) => `${file} can't grow: ${cause.message}`,
  hint: (file: string) => `Make room (\`df -h ${dirname(file)}\`), then give the same command again.`,
});

export const JournalUnwritable = error("journal-unwritable", {
  message: (file: string, cause: Error) => `${file} can't be written: ${cause.message}`,
  hint: (file: string) =>
    `Look at \`ls -ld ${dirname(file)}\` and the disk, then give the same command again.`,
});

export const JournalClosed = error("journal-closed", {
  message: (file: string) => `${file} was closed, and something was still to be appended.`,
  hint: () => "This is a fault in Sluice: please report it with the journal.",
});

export interface JournalOptions {
  /** Puts what was written on disk. @default fdatasync */
  sync?: (file: FileHandle) => Promise<void>;
  /** Masks secrets in what is about to be kept. @default nothing is masked */
  redact?: (fact: Fact) => Fact;
  /** Milliseconds until a note is on disk at the latest. @default 1000 */
  lag?: number;
}

/** The append-only record of one run, open for its only writer: the holder of the lease. */
export interface Journal {
  /**
   * Everything accepted, in order, just as a reader will see it. The last ones may not be on disk yet; but once
   * an append has resolved, all before it are. After a failure only what is on disk is left.
   */
  readonly events: readonly JournalEvent[];
  /** Whether opening it dropped a last line that a crash had cut short. */
  readonly torn: boolean;
  /** Resolves when the fact, and every one before it, is on disk. */
  append(fact: Fact, at: Instant): Promise<JournalEvent>;
  /** Accepts a fact that may be lost in a crash: on disk with the next append, or after `lag`. */
  note(fact: Fact, at: Instant): JournalEvent;
  /** Resolves when everything accepted is on disk. */
  flush(): Promise<void>;
  /** Flushes and closes. */
  close(): Promise<void>;
}

/** Begins the journal of a new run, durably: directory, name and all. */
export async function createJournal(directory: string, options: JournalOptions = {}): Promise<Journal> {
  const path = join(directory, JOURNAL);
  let file: FileHandle | undefined;
  try {
    await makeDirectory(directory);
    file = await open(path, "ax", 0o600);
    await syncDirectory(directory);
    return keep(file, path, { events: [], bytes: 0, tip: FIRST, torn: false }, options);
  } catch (e) {
    await file?.close();
    throw (e as NodeJS.ErrnoException).code === "EEXIST" ? JournalExists(path) : unwritable(path, e as Error);
  }
}

/** Opens a journal to go on with it: verifies all of it, and drops a last line that a crash cut short. */
export async function openJournal(directory: string, options: JournalOptions = {}): Promise<Journal> {
  const path = join(directory, JOURNAL);
  const file = await open(path, constants.O_RDWR | constants.O_APPEND).catch((e: NodeJS.ErrnoException) => {
    throw e.code === "ENOENT" ? JournalMissing(path) : unwritable(path, e);
  });
  try {
    const past = parse(await file.readFile(), path);
    if (past.torn) await file.truncate(past.bytes);
    // A killed writer's last lines may be in memory only; whoever acts on them must find them again.
    await file.datasync();
    return keep(file, path, past, options);
  } catch (e) {
    await file.close();
    throw (e as NodeJS.ErrnoException).syscall ? unwritable(path, e as Error) : e;
  }
}

/** Reads a journal from any process, while it is being written or not; changes nothing. */
export async function readJournal(directory: string): Promise<{ events: JournalEvent[]; torn: boolean }> {
  const path = join(directory, JOURNAL);
  const content = await readFile(path).catch((e: NodeJS.ErrnoException) => {
    throw e.code === "ENOENT" ? JournalMissing(path) : e;
  });
  const { events, torn } = parse(content, path);
  return { events, torn };
}

const FULL = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);

function unwritable(path: string, cause: Error): SluiceError {
  const full = FULL.has((cause as NodeJS.ErrnoException).code ?? "");
  return full ? JournalFull(path, cause) : JournalUnwritable(path, cause);
}

function keep(file: FileHandle, path: string, past: Past, options: JournalOptions): Journal {
  const { sync = (f: FileHandle) => f.datasync(), redact = (fact: Fact) => fact, lag = LAG } = options;
  const { events } = past;
  let { tip, bytes } = past;
  let durable = events.length;
  let lines: string[] = [];
  let waiters: { resolve(): void; reject(e: SluiceError): void }[] = [];
  let failure: SluiceError | undefined;
  let busy = false;
  let closed = false;
  let timer: NodeJS.Timeout | undefined;

  function enter(fact: Fact, at: Instant): JournalEvent {
    if (failure) throw failure;
    if (closed) throw JournalClosed(path);
    if (!Number.isFinite(at)) throw new RangeError(`${at} is no time`);
    const last = events.at(-1);
    const line = JSON.stringify({
      v: 1,
      seq: last ? last.seq + 1 : 0,
      at: Math.max(last?.at ?? at, at),
      prev: tip,
      ...redact(fact),
    });
    // Parsed again, so that this process folds what every other one will read.
    const event: JournalEvent = JSON.parse(line);
    tip = hash(line);
    lines.push(`${line}\n`);
    events.push(event);
    return event;
  }

  /** Writes what has gathered while the sync before was under way, until nobody waits any more. */
  async function pump(): Promise<void> {
    if (busy) return;
    busy = true;
    await undefined; // what is appended in the same turn shares the sync
    while (waiters.length > 0) {
      const batch = Buffer.from(lines.join(""));
      const count = lines.length;
      const heard = waiters;
      lines = [];
      waiters = [];
      try {
        if (failure) throw failure;
        if (count > 0) {
          await file.appendFile(batch);
          await sync(file);
        }
        durable += count;
        bytes += batch.length;
        for (const waiter of heard) waiter.resolve();
      } catch (e) {
        await fail(e as Error);
        for (const waiter of heard) waiter.reject(failure as SluiceError);
      }
    }
    busy = false;
  }

  /** After a failed sync the kernel may call lost pages clean, so it is never tried again. */
  async function fail(cause: Error): Promise<void> {
    if (failure) return;
    failure = unwritable(path, cause);
    clearTimeout(timer);
    events.length = durable;
    lines = [];
    // Best effort: what was refused must not be found as written. A line cut short is dropped in any case.
    await file.truncate(bytes).catch(() => undefined);
  }

  function written(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    return new Promise((resolve, reject) => {
      waiters.push({ resolve, reject });
      void pump();
    });
  }

  return {
    events,
    torn: past.torn,
    async append(fact, at) {
      const event = enter(fact, at);
      await written();
      return event;
    },
    note(fact, at) {
      const event = enter(fact, at);
      // The failure is kept: the next append, note or flush tells it.
      timer ??= setTimeout(() => void written().catch(() => undefined), lag).unref();
      return event;
    },
    async flush() {
      if (failure) throw failure;
      await written();
    },
    async close() {
      closed = true;
      try {
        if (!failure) await written();
      } finally {
        await file.close();
      }
    },
  };
}
