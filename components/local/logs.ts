import {
  closeSync,
  constants,
  copyFileSync,
  createReadStream,
  fstatSync,
  openSync,
  readSync,
  renameSync,
  statSync,
  truncateSync,
} from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import type { Redactor } from "../redact";

/** Bytes after which a slot's log is rotated; one older part is kept beside it. */
export const MAX_LOG_BYTES = 8 * 1024 * 1024;
/** Bytes read from the end at most: lines beyond are not worth the memory. */
const MAX_TAIL_BYTES = 256 * 1024;

/** Opens a log for a process to write to by itself, so that it writes on when the supervisor is gone. */
export function openLog(file: string): { fd: number; size: number } {
  const fd = openSync(file, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT, 0o600);
  return { fd, size: fstatSync(fd).size };
}

/** Size of a log, 0 where there is none. */
export function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

/**
 * The last lines of a log, newest last; reaches into the rotated part where the log itself is short. Masked
 * before it is cut into lines, for half of a secret can't be told from other text.
 */
export function tail(file: string, lines: number, redact: Redactor, from = 0): string[] {
  const newest = end(file, from);
  const short = from === 0 && newest.split("\n").length <= lines;
  const text = redact(short ? end(`${file}.1`, 0) + newest : newest).replace(/\n$/, "");
  return text === "" ? [] : text.split("\n").slice(-lines);
}

function end(file: string, from: number): string {
  const size = sizeOf(file);
  // A log shorter than the mark was rotated since.
  const start = from > size ? 0 : from;
  const begin = Math.max(start, size - MAX_TAIL_BYTES);
  if (size <= begin) return "";
  const buffer = Buffer.alloc(size - begin);
  const fd = openSync(file, "r");
  try {
    const text = buffer.subarray(0, readSync(fd, buffer, 0, buffer.length, begin)).toString("utf8");
    // What the bound cut off a line may be the first half of a secret, so the rest of that line goes as well.
    return begin > start ? text.slice(text.indexOf("\n") + 1 || text.length) : text;
  } finally {
    closeSync(fd);
  }
}

/**
 * Keeps a log bounded. Its writers hold it open for appending, so it is copied and emptied, not renamed; lines
 * written between the two are lost.
 */
export function rotate(file: string, bound: number = MAX_LOG_BYTES): boolean {
  if (sizeOf(file) <= bound) return false;
  copyFileSync(file, `${file}.1`);
  truncateSync(file, 0);
  return true;
}

/** Bytes masked at a time, so that the requests that are served meanwhile wait for a few milliseconds at most. */
const SCRUB_BYTES = 256 * 1024;

/**
 * Masks a log where it lies, its rotated part too. Nobody may write to it any more; where `idle` says that
 * somebody began to, it stays as it is.
 */
export async function scrub(file: string, redact: Redactor, idle: () => boolean = () => true): Promise<void> {
  for (const part of [file, `${file}.1`]) {
    if (sizeOf(part) === 0) continue;
    const masked: string[] = [];
    let rest = "";
    for await (const chunk of createReadStream(part, { encoding: "utf8", highWaterMark: SCRUB_BYTES })) {
      const text = rest + chunk;
      const end = text.lastIndexOf("\n") + 1;
      masked.push(redact(text.slice(0, end)));
      rest = text.slice(end);
    }
    masked.push(redact(rest));
    await writeFile(`${part}.tmp`, masked, { mode: 0o600 });
    if (!idle()) return rm(`${part}.tmp`);
    renameSync(`${part}.tmp`, part);
  }
}
