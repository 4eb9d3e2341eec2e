import {
  closeSync,
  constants,
  copyFileSync,
  fstatSync,
  openSync,
  readSync,
  statSync,
  truncateSync,
} from "node:fs";

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

/** The last lines of a log, newest last; reaches into the rotated part where the log itself is short. */
export function tail(file: string, lines: number, from = 0): string[] {
  const newest = lastLines(file, lines, from);
  if (newest.length >= lines || from > 0) return newest;
  return [...lastLines(`${file}.1`, lines - newest.length, 0), ...newest];
}

function lastLines(file: string, lines: number, from: number): string[] {
  if (lines <= 0) return [];
  const size = sizeOf(file);
  // A log shorter than the mark was rotated since.
  const begin = Math.max(from > size ? 0 : from, size - MAX_TAIL_BYTES);
  if (size <= begin) return [];
  const buffer = Buffer.alloc(size - begin);
  const fd = openSync(file, "r");
  try {
    const text = buffer.subarray(0, readSync(fd, buffer, 0, buffer.length, begin)).toString("utf8");
    const all = text.replace(/\n$/, "").split("\n");
    return all.slice(-lines);
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
