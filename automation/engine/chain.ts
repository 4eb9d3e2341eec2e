import { createHash } from "node:crypto";
import { basename, dirname } from "node:path";
import { error } from "../../components/errors";
import { FACTS, type JournalEvent } from "../core/events";

/** What the first line has for the hash of the line before. */
export const FIRST = "0".repeat(32);
const NEWLINE = 0x0a;

/** The environment a journal belongs to, by where it lies. */
export function environmentOf(file: string): string {
  return basename(dirname(dirname(file)));
}

export const JournalCorrupt = error("journal-corrupt", {
  message: (file: string, line: number, why: string) =>
    `${file}:${line} is damaged: ${why}. Nothing that follows it can be trusted.`,
  hint: (file: string) =>
    `Move the run away (\`mv ${dirname(file)} ${dirname(file)}.damaged\`): what is declared is in the stack itself, ` +
    `see \`npm run status -- ${environmentOf(file)}\`. If that says a run is still open, end it with ` +
    `\`npm run abort -- ${environmentOf(file)}\`.`,
});

export const JournalNewer = error("journal-newer", {
  message: (file: string, line: number, what: string) =>
    `${file}:${line} was written by a newer Sluice: this one does not know ${what}.`,
  hint: () => "Go on with the Sluice that began this run: `git pull && npm ci`, then give the command again.",
});

/** What a journal was found to hold. */
export interface Past {
  events: JournalEvent[];
  /** Bytes up to the end of the last whole line. */
  bytes: number;
  /** Hash of the last whole line. */
  tip: string;
  torn: boolean;
}

/** What binds a line to the next one. */
export function hash(line: Uint8Array | string): string {
  return createHash("sha256").update(line).digest("hex").slice(0, 32);
}

/** Verifies every line. A line counts once its newline is there: a batch is acknowledged only after all of it was written. */
export function parse(content: Buffer, path: string): Past {
  const events: JournalEvent[] = [];
  let tip = FIRST;
  let start = 0;
  let odd: JournalEvent | undefined;
  for (let end = content.indexOf(NEWLINE); end >= 0; end = content.indexOf(NEWLINE, start)) {
    const line = content.subarray(start, end);
    const event = verify(line, tip, events.at(-1), path);
    if (!Object.hasOwn(FACTS, event.type)) odd ??= event;
    events.push(event);
    tip = hash(line);
    start = end + 1;
  }
  // Not before the line after has vouched for it: a changed one is damage, not another version.
  if (odd) throw JournalNewer(path, odd.seq + 1, `"${odd.type}"`);
  return { events, bytes: start, tip, torn: start < content.length };
}

function verify(line: Buffer, tip: string, before: JournalEvent | undefined, path: string): JournalEvent {
  const seq = before ? before.seq + 1 : 0;
  const damaged = (why: string) => JournalCorrupt(path, seq + 1, why);
  let event: JournalEvent;
  try {
    event = JSON.parse(line.toString());
  } catch {
    throw damaged("it is not JSON");
  }
  const version: unknown = event?.v;
  if (typeof version === "number" && version > 1) throw JournalNewer(path, seq + 1, `format ${version}`);
  if (version !== 1 || typeof event.type !== "string") throw damaged("it is no event of a run");
  if (event.seq !== seq) throw damaged(`it is number ${event.seq} where ${seq} was due`);
  if (event.prev !== tip) throw damaged("the line before it was changed, or is missing");
  if (!Number.isFinite(event.at) || event.at < (before?.at ?? event.at))
    throw damaged("its time went backwards");
  return event;
}
