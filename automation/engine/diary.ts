import { appendFileSync, renameSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Instant } from "../core/model";

/** The driver's own lines, beside the journal: what it said on the way. */
export const DIARY = "driver.log";
/** Bytes after which it is put aside as `driver.log.1`, of which there is one: 1 MiB. */
const LARGEST = 1024 * 1024;
/** Characters of one line that are kept. */
const LONGEST = 4000;

/**
 * Keeps a line that was said in a run: its time, then the text in one line, redacted by whoever says it. Never
 * throws: a log that can't be written must not end a run.
 */
export function note(directory: string, line: string, at: Instant): void {
  const file = join(directory, DIARY);
  const text = line.length > LONGEST ? `${line.slice(0, LONGEST)} [… ${line.length - LONGEST} more]` : line;
  try {
    const { size = 0 } = statSync(file, { throwIfNoEntry: false }) ?? {};
    if (size > LARGEST) renameSync(file, `${file}.1`);
    appendFileSync(file, `${new Date(at).toISOString()} ${text.replaceAll(/\s*[\r\n]+\s*/g, " ⏎ ")}\n`, {
      mode: 0o600,
    });
  } catch {
    // The disk is full, or the folder is gone: the journal will say so.
  }
}
