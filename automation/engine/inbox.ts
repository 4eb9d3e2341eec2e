import { randomBytes } from "node:crypto";
import { constants, watch } from "node:fs";
import { link, mkdir, open, readdir, rename, unlink, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { z } from "zod";
import { error } from "../../components/errors";
import type { Instant } from "../core/model";
import { makeDirectory, syncDirectory } from "./runs";

/** Largest file taken for a message: a reason is a few sentences. */
const LARGEST = 16 * 1024;
/** Milliseconds a message may be ahead of this clock: machines that share a directory differ by less. */
const AHEAD = 5 * 60_000;
/** Milliseconds between looks where the system tells of no changes. */
const POLL = 2000;

const printable = z.string().regex(/^[^\p{Cc}]+$/u, "has control characters, or nothing");
const shape = z.strictObject({
  kind: z.enum(["approve", "reject", "abort"]),
  who: printable.max(256),
  at: z.int().min(0).max(8.64e15),
  reason: z.string().max(2000).optional(),
  plan: printable.max(256).optional(),
});

/** What somebody says to a run from outside. */
export interface Message {
  kind: "approve" | "reject" | "abort";
  who: string;
  at: Instant;
  reason?: string | undefined;
  /** The plan that was looked at, so that an approval is not taken for another. */
  plan?: string | undefined;
}

/** A message as it lies in the inbox. */
export interface Received extends Message {
  /** Its file: what `removeMessage` wants, and the same if it is read again after a crash. */
  name: string;
}

/** A file that is no message, moved out of the way into `inbox/aside`. */
export interface Aside {
  name: string;
  reason: string;
}

export const BadMessage = error("bad-message", {
  message: (why: string) => `This can't be said to a run: ${why}.`,
  hint: () => "Give a reason of at most 2,000 characters.",
});

export const RunMissing = error("run-missing", {
  message: (directory: string) => `There is no run ${basename(directory)} here.`,
  hint: () => "`npm run history` lists the runs that are known.",
});

let last = 0;
let count = 0;

/** Puts a message into a run's inbox; on disk, whole and under a name of its own once it resolves. */
export async function drop(runDirectory: string, message: Message): Promise<string> {
  const checked = shape.safeParse(message);
  if (!checked.success) throw BadMessage(problem(checked.error));
  const inbox = await inboxOf(runDirectory);
  count = message.at === last ? count + 1 : 0;
  last = message.at;
  const order = `${String(message.at).padStart(16, "0")}-${String(count).padStart(6, "0")}`;
  const name = `${order}-${randomBytes(4).toString("hex")}.json`;
  const draft = join(inbox, `.${name}`);
  const file = await open(draft, "wx", 0o600);
  try {
    await file.writeFile(JSON.stringify(checked.data));
    await file.sync();
    // Unlike a rename, a link never replaces a message that is there.
    await link(draft, join(inbox, name));
  } finally {
    await file.close();
    await unlink(draft).catch(() => undefined);
  }
  await syncDirectory(inbox);
  return name;
}

/** What lies in the inbox, oldest first. What is no message is set aside; nothing in there can make it throw. */
export async function readInbox(
  runDirectory: string,
  now: Instant = Date.now(),
): Promise<{ messages: Received[]; aside: Aside[] }> {
  const inbox = join(runDirectory, "inbox");
  const messages: Received[] = [];
  const aside: Aside[] = [];
  for (const name of await namesIn(inbox)) {
    const found = await readMessage(join(inbox, name), name, now);
    if (found === undefined) continue;
    if (typeof found !== "string") messages.push({ ...found, name });
    else {
      aside.push({ name, reason: found });
      await setAside(inbox, name, found);
    }
  }
  return { messages, aside };
}

/** Removes a message that has been journalled; one that is gone already does no harm. */
export async function removeMessage(runDirectory: string, name: string): Promise<void> {
  const inbox = join(runDirectory, "inbox");
  await unlink(join(inbox, basename(name))).catch(unlessMissing);
  await syncDirectory(inbox);
}

/** Hands each message to `keep`, oldest first, and removes it after: a crash in between hands it out again. */
export async function take(
  runDirectory: string,
  keep: (message: Received) => Promise<void>,
  now?: Instant,
): Promise<{ taken: Received[]; aside: Aside[] }> {
  const { messages, aside } = await readInbox(runDirectory, now);
  for (const message of messages) {
    await keep(message);
    await removeMessage(runDirectory, message.name);
  }
  return { taken: messages, aside };
}

/** Calls back when something lies in the inbox, at once and until `signal` fires; may do so for nothing. */
export async function watchInbox(runDirectory: string, seen: () => void, signal: AbortSignal): Promise<void> {
  const inbox = await inboxOf(runDirectory);
  const look = async () => {
    const names = await namesIn(inbox);
    if (names.length > 0 && !signal.aborted) seen();
  };
  // Notification is the system's favour (shared disks and full watch tables give none), so it is asked as well.
  const timer = setInterval(look, POLL).unref();
  signal.addEventListener("abort", () => clearInterval(timer), { once: true });
  if (signal.aborted) return clearInterval(timer);
  try {
    const watcher = watch(inbox, { signal, persistent: false }, () => void look());
    watcher.on("error", () => watcher.close());
  } catch {
    // The timer does it alone.
  }
  await look();
}

async function inboxOf(runDirectory: string): Promise<string> {
  const inbox = join(runDirectory, "inbox");
  try {
    await mkdir(inbox, { mode: 0o700 });
    await syncDirectory(runDirectory);
  } catch (e) {
    const { code } = e as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") throw RunMissing(runDirectory);
    if (code !== "EEXIST") throw e;
  }
  return inbox;
}

async function namesIn(inbox: string): Promise<string[]> {
  const names = await readdir(inbox).catch(() => []);
  return names.filter((name) => !name.startsWith(".") && name !== "aside").sort();
}

const NAME = /^(\d{16})-\d{6}-[0-9a-f]{8}\.json$/;

/** The message, or why it is none; nothing if the file is gone. */
async function readMessage(path: string, name: string, now: Instant): Promise<Message | string | undefined> {
  const at = NAME.exec(name)?.[1];
  if (at === undefined) return "its name is none that Sluice gives";
  // Without these two, a symlink would be followed and a pipe waited for.
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  try {
    const file = await open(path, flags);
    try {
      const about = await file.stat();
      const { size, uid } = about;
      if (!about.isFile()) return "it is no file";
      if (uid !== process.getuid?.() && uid !== 0) return `it belongs to user ${uid}`;
      if (size > LARGEST) return `it has ${size} bytes; a message has at most ${LARGEST}`;
      const parsed = shape.safeParse(JSON.parse((await file.readFile()).toString()));
      if (!parsed.success) return problem(parsed.error);
      if (parsed.data.at !== Number(at)) return "its name and its content tell different times";
      if (parsed.data.at > now + AHEAD)
        return `it is from ${new Date(parsed.data.at).toISOString()}, which is yet to come`;
      return parsed.data;
    } finally {
      await file.close();
    }
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    return e instanceof SyntaxError ? "it is not JSON" : `it can't be read: ${(e as Error).message}`;
  }
}

async function setAside(inbox: string, name: string, reason: string): Promise<void> {
  const aside = join(inbox, "aside");
  const place = join(aside, randomBytes(8).toString("hex"));
  try {
    await makeDirectory(aside);
    await writeFile(`${place}.reason`, `${JSON.stringify(name)}: ${reason}\n`, { mode: 0o600, flag: "wx" });
    await rename(join(inbox, name), place);
  } catch {
    // It stays and is told again: a nuisance is no reason to stop a run.
  }
}

function problem(e: z.ZodError): string {
  const issue = e.issues[0];
  return `${issue?.path.join(".") || "it"}: ${issue?.message ?? "is no message"}`;
}

function unlessMissing(e: NodeJS.ErrnoException): void {
  if (e.code !== "ENOENT") throw e;
}
