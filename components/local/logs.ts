import {
  closeSync,
  constants,
  createReadStream,
  fstatSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from "node:fs";
import { open, rm, truncate } from "node:fs/promises";
import { dirname } from "node:path";
import { stripVTControlCharacters } from "node:util";
import type { Redactor } from "../redact";

/** Bytes after which a slot's log is rotated; one older part is kept beside it. */
export const MAX_LOG_BYTES = 8 * 1024 * 1024;
/** Bytes read from the end at most: lines beyond are not worth the memory. */
const MAX_TAIL_BYTES = 256 * 1024;
/** Bytes of a line cut by that bound below which none of it is shown: what was cut off may be half of a secret. */
const MIN_CUT_BYTES = MAX_TAIL_BYTES / 2;
/** Characters of a line shown at its beginning and at its end, where it has more than both. */
const SHOWN = 1000;
/** What a terminal would obey instead of show, but for the tab. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/g;

/** Opens a log for a process to write to by itself, so that it writes on when the supervisor is gone. */
export function openLog(file: string): { fd: number; size: number } {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const fd = openSync(file, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT, 0o600);
  return { fd, size: fstatSync(fd).size };
}

/** Size of a log, 0 where there is none. */
export function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

/**
 * The last lines of a log, newest last, fit for a terminal; reaches into the rotated part where the log itself is
 * short. Masked before it is cut into lines, for half of a secret can't be told from other text.
 */
export function tail(file: string, lines: number, redact: Redactor, from = 0): string[] {
  const newest = end(file, from);
  const short = from === 0 && !newest.cut && newest.text.split("\n").length <= lines;
  const older = short ? end(`${file}.1`, 0) : { text: "", cut: false };
  const text = redact(older.text + newest.text).replace(/\n$/, "");
  if (text === "") return [];
  const found = text.split("\n");
  // Half of a secret may stand where the line was cut, so of a line that masking made short nothing is shown.
  const [first = ""] = found;
  if (older.cut || newest.cut) found[0] = `[…]${first.length > MIN_CUT_BYTES ? first.slice(-SHOWN) : ""}`;
  return found.slice(-lines).map((line) => shorten(printable(line, redact)));
}

function shorten(line: string): string {
  const more = line.length - 2 * SHOWN;
  return more > 0 ? `${line.slice(0, SHOWN)} [… ${more} characters …] ${line.slice(-SHOWN)}` : line;
}

function printable(line: string, redact: Redactor): string {
  const text = stripVTControlCharacters(line.replace(/\r$/, "")).replace(CONTROL, "\ufffd");
  // What stood between two halves of a secret is gone.
  return text === line ? line : redact(text);
}

/** The end of a file; `cut` where that begins within a line. */
function end(file: string, from: number): { text: string; cut: boolean } {
  const size = sizeOf(file);
  // A log shorter than the mark was rotated since.
  const start = from > size ? 0 : from;
  const begin = Math.max(start, size - MAX_TAIL_BYTES);
  if (size <= begin) return { text: "", cut: false };
  const buffer = Buffer.alloc(size - begin);
  const fd = openSync(file, "r");
  try {
    const bytes = buffer.subarray(0, readSync(fd, buffer, 0, buffer.length, begin));
    if (begin === start) return { text: bytes.toString("utf8"), cut: false };
    const rest = bytes.indexOf("\n") + 1 || bytes.length;
    const cut = rest > MIN_CUT_BYTES;
    return { text: bytes.subarray(cut ? 0 : rest).toString("utf8"), cut };
  } finally {
    closeSync(fd);
  }
}

/** Bytes copied or masked at a time, so that the requests that are served meanwhile wait for a few milliseconds at most. */
const CHUNK_BYTES = 256 * 1024;

/**
 * Keeps a log bounded: of what it has, the last part is kept. Its writers hold it open for appending, so it is
 * copied and emptied, not renamed; lines written between the two are lost. It is emptied even where it can't be
 * copied, for a full disk is worse than lost lines.
 */
export function rotate(file: string, bound: number = MAX_LOG_BYTES): boolean {
  const size = sizeOf(file);
  if (size <= bound) return false;
  try {
    // Makes room for what takes its place.
    rmSync(`${file}.1`, { force: true });
    copyEnd(file, `${file}.1`, size - bound, size);
  } finally {
    truncateSync(file, 0);
  }
  return true;
}

/** Copies whole lines alone: the rest of a cut one may be half of a secret, which could not be masked. */
function copyEnd(from: string, to: string, begin: number, size: number): void {
  const buffer = Buffer.alloc(CHUNK_BYTES);
  const [source, copy] = [openSync(from, "r"), openSync(to, "w", 0o600)];
  try {
    let whole = false;
    for (let at = begin; at < size; ) {
      const count = readSync(source, buffer, 0, Math.min(buffer.length, size - at), at);
      if (count === 0) return;
      at += count;
      const bytes = buffer.subarray(0, count);
      const first: number = whole ? 0 : bytes.indexOf("\n") + 1 || count;
      whole ||= first < count || bytes[count - 1] === 10;
      for (let done = first; done < count; ) done += writeSync(copy, bytes, done, count - done);
    }
  } finally {
    closeSync(source);
    closeSync(copy);
  }
}

/** Characters of a line that is masked as one; a longer one is left out. */
const MAX_MASKED = 1024 * 1024;

/**
 * Masks a log where it lies, its rotated part too. Nobody may write to it any more; where `idle` says that
 * somebody began to, it stays as it is. Where the masked one can't be written, nothing of it is kept.
 */
export async function scrub(file: string, redact: Redactor, idle: () => boolean = () => true): Promise<void> {
  for (const part of [file, `${file}.1`]) {
    if (sizeOf(part) === 0) continue;
    try {
      await maskInto(part, `${part}.tmp`, redact);
    } catch (thrown) {
      if (idle()) await truncate(part, 0);
      await rm(`${part}.tmp`, { force: true });
      throw thrown;
    }
    if (!idle()) return rm(`${part}.tmp`);
    renameSync(`${part}.tmp`, part);
  }
}

async function maskInto(from: string, to: string, redact: Redactor): Promise<void> {
  const start = Math.max(0, sizeOf(from) - MAX_LOG_BYTES);
  const out = await open(to, "w", 0o600);
  try {
    let rest = "";
    let skipping = start > 0;
    for await (const chunk of createReadStream(from, {
      encoding: "utf8",
      highWaterMark: CHUNK_BYTES,
      start,
    })) {
      const text: string = rest + chunk;
      const first: number = skipping ? text.indexOf("\n") + 1 : 0;
      const end = text.lastIndexOf("\n") + 1;
      if (end > first) await out.writeFile(redact(text.slice(first, end)));
      skipping &&= end === 0;
      rest = skipping ? "" : text.slice(end);
      if (rest.length <= MAX_MASKED) continue;
      await out.writeFile(`[a line of more than ${MAX_MASKED} characters was left out]\n`);
      rest = "";
      skipping = true;
    }
    await out.writeFile(redact(rest));
  } finally {
    await out.close();
  }
}
