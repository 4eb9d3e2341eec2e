import { createHash, randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { open, readdir, readFile, rename, rm } from "node:fs/promises";
import * as path from "node:path";
import { z } from "zod";
import { error } from "../errors";
import type { Slot, Split } from "../handle";
import { type LocalOptions, optionsShape } from "./options";
import type { Fill } from "./protocol";

export const StateUnreadable = error("state-unreadable", {
  message: (file: string, why: string) => `${file} is not what a supervisor wrote: ${why}`,
  hint: (file: string) =>
    `Put it back from a copy, or remove it and promote again: \`rm ${file}\` forgets what that service runs.`,
});

export const StateUnwritable = error("state-unwritable", {
  message: (file: string, why: string) => `${file} can't be written (${why}), so nothing else may change.`,
  hint: () => "Free space on that disk or correct its permissions, then give the command again.",
});

/** A slot's content as it is kept. */
export interface WantedSlot {
  fill: Fill;
  /** Whether its replicas were all ready once, and those of former content gone. */
  settled: boolean;
  /** While it is replaced in place: what it was, with the replicas that still serve it. */
  former?: { fill: Fill; replicas: number }[] | undefined;
}

/** What a service shall be: kept on disk, so that a killed supervisor comes back with it. */
export interface Desired {
  version: 1;
  name: string;
  port: number;
  split: Split;
  live?: Slot | undefined;
  /** The highest token seen, and the run it came with. */
  fence: number;
  fenceRun?: string | undefined;
  run?: string | undefined;
  givenBack: boolean;
  /** How requests are treated. @default as they are where nobody says anything */
  options?: LocalOptions | undefined;
  slots: { blue?: WantedSlot | undefined; green?: WantedSlot | undefined };
}

/** A replica's process: `start` and `boot` tell it from another one that was given the same id later. */
export interface ReplicaRecord {
  id: string;
  slot: Slot;
  /** Artifact and settings hash, so that a replica of former content is not taken over. */
  content: string;
  pid: number;
  port: number;
  /** Clock ticks from boot to start, field 22 of /proc/<pid>/stat. */
  start: string;
  boot: string;
}

/** The state directory's files. */
export interface Store {
  readonly directory: string;
  /** Durable once it resolves. Throws the file system's error. */
  save(desired: Desired): Promise<void>;
  forget(name: string): Promise<void>;
  load(): Promise<Desired[]>;
  /** Outlives the supervisor but not the machine, like the processes it speaks of: no fsync. */
  saveReplicas(name: string, records: readonly ReplicaRecord[]): void;
  loadReplicas(name: string): ReplicaRecord[];
  logFile(name: string, slot: Slot): string;
  /** A service's own HOME. */
  home(name: string): string;
  /** Makes the folders of a service's log files and HOME. */
  prepare(name: string): void;
}

/** Artifact and settings: equal text means that there is nothing to change. */
export function contentOf(fill: Fill): string {
  return `${fill.artifact} ${fill.hash}`;
}

/** The processes that a slot can take over, of each content at most as many as it wants. */
export function adoptable(desired: Desired, slot: Slot, records: readonly ReplicaRecord[]): ReplicaRecord[] {
  const wanted = desired.slots[slot];
  if (!wanted) return [];
  const { fill, former = [] } = wanted;
  return [{ fill, replicas: fill.settings.resources.replicas }, ...former].flatMap((one) =>
    records
      .filter((record) => record.slot === slot && record.content === contentOf(one.fill))
      .slice(0, one.replicas),
  );
}

/** What every process of this state directory carries in its environment: 12 hex digits. */
export function markOf(directory: string): string {
  return createHash("sha256").update(directory).digest("hex").slice(0, 12);
}

/** Replaces a file so that after a crash either the old or the new text is there, whole. */
export async function replaceFile(file: string, text: string): Promise<void> {
  const temporary = `${file}.${randomBytes(4).toString("hex")}.tmp`;
  try {
    const handle = await open(temporary, "wx", 0o600);
    try {
      await handle.writeFile(text);
      await handle.datasync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (thrown) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw thrown;
  }
  await syncDirectory(path.dirname(file));
}

/** A rename is durable once its directory is. */
async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Opens the files of a state directory; folders are made, readable by this user alone. */
export function openStore(directory: string): Store {
  const folder = (name: string): string => {
    const made = path.join(directory, name);
    fs.mkdirSync(made, { recursive: true, mode: 0o700 });
    return made;
  };
  const services = folder("services");
  const replicas = folder("replicas");
  const fileOf = (name: string): string => path.join(services, `${name}.json`);
  return {
    directory,
    save: (desired) => replaceFile(fileOf(desired.name), `${JSON.stringify(desired, null, 2)}\n`),
    async forget(name) {
      await rm(fileOf(name), { force: true });
      await syncDirectory(services);
      for (const rest of [
        path.join(replicas, `${name}.json`),
        path.join(directory, "logs", name),
        path.join(directory, "home", name),
      ])
        await rm(rest, { recursive: true, force: true });
    },
    async load() {
      const names = (await readdir(services)).sort();
      for (const left of names.filter((name) => name.endsWith(".tmp"))) await rm(path.join(services, left));
      return Promise.all(
        names.filter((name) => name.endsWith(".json")).map((name) => readDesired(path.join(services, name))),
      );
    },
    saveReplicas(name, records) {
      const file = path.join(replicas, `${name}.json`);
      fs.writeFileSync(`${file}.tmp`, JSON.stringify(records), { mode: 0o600 });
      fs.renameSync(`${file}.tmp`, file);
    },
    loadReplicas(name) {
      try {
        return JSON.parse(fs.readFileSync(path.join(replicas, `${name}.json`), "utf8")) as ReplicaRecord[];
      } catch {
        // Without it the processes are found by their mark, ended and started anew.
        return [];
      }
    },
    logFile: (name, slot) => path.join(directory, "logs", name, `${slot}.log`),
    home: (name) => path.join(directory, "home", name),
    prepare: (name) => {
      folder(path.join("logs", name));
      folder(path.join("home", name));
    },
  };
}

/** What a fill must look like, on disk and in a request. */
export const fillShape = z.object({
  artifact: z.string(),
  hash: z.string(),
  root: z.string().optional(),
  settings: z.object({
    variables: z.record(z.string(), z.string()),
    secrets: z.record(z.string(), z.string()),
    arguments: z.array(z.string()),
    files: z.record(z.string(), z.string()),
    resources: z.looseObject({ replicas: z.int().min(1).max(1000) }),
    probes: z.object({
      health: z.string().regex(/^\/[!-~]*$/, "is no path"),
      startSeconds: z.number().positive().max(3600),
    }),
  }),
});
const formerShape = z.object({ fill: fillShape, replicas: z.int().min(0) });
const wantedSlot = z
  .object({ fill: fillShape, settled: z.boolean(), former: z.array(formerShape).optional() })
  .optional();
const desiredShape = z.object({
  version: z.literal(1),
  name: z.string(),
  port: z.int().min(0).max(65535),
  split: z.object({ blue: z.number(), green: z.number() }),
  live: z.enum(["blue", "green"]).optional(),
  fence: z.number(),
  fenceRun: z.string().optional(),
  run: z.string().optional(),
  givenBack: z.boolean(),
  options: optionsShape.optional(),
  slots: z.object({ blue: wantedSlot, green: wantedSlot }),
});

async function readDesired(file: string): Promise<Desired> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(file, "utf8"));
  } catch (thrown) {
    throw StateUnreadable(file, thrown instanceof Error ? thrown.message : String(thrown));
  }
  const result = desiredShape.safeParse(value);
  if (result.success) return result.data as Desired;
  const issue = result.error.issues[0];
  throw StateUnreadable(file, `${issue?.path.join(".") ?? ""}: ${issue?.message ?? "malformed"}`);
}
