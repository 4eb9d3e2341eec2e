import { z } from "zod";
import { HandleTooLarge, HandleUnreadable, MalformedArtifact } from "./errors";

/** Every service has two; `live` names the one in charge. */
export type Slot = "blue" | "green";
export const SLOTS: readonly Slot[] = ["blue", "green"];

/** The other slot. */
export function other(slot: Slot): Slot {
  return slot === "blue" ? "green" : "blue";
}

/** A whole number from 0 to 100. */
export type Percent = number;
/** Percent of traffic per slot: sums to 100, or is 0/0 where nothing is live. */
export type Split = Readonly<Record<Slot, Percent>>;

export type RunId = string;
export type StepId = string;
/** The run and the step on whose behalf a handle was written. */
export interface By {
  run: RunId;
  step: StepId;
}

/** An artifact and where it came from. Only `artifact` decides what runs. */
export interface Pin {
  /** `image@sha256:…`, `dir:path@sha256:…` or `git:repo@<40 hex>`. */
  artifact: string;
  version?: string | undefined;
  commit?: string | undefined;
  repository?: string | undefined;
  /** When it was built, ISO 8601. */
  at?: string | undefined;
}

/** What a slot runs with beside its artifact. Frozen in the handle when the slot is filled. */
export interface SlotSettings {
  /** Plain environment variables. */
  variables: Record<string, string>;
  /** Names of environment variables → versioned secret references (`env:NAME@version`, …); never values. */
  secrets: Record<string, string>;
  /** Start command and its arguments. */
  arguments: string[];
  /** Mounted files: path → sha256 of the content. */
  files: Record<string, string>;
  resources: { replicas: number; cpu?: string | undefined; memory?: string | undefined };
  probes: {
    /** Path that answers 2xx once the replica can take traffic. */
    health: string;
    /** Seconds a new replica may take until it is ready. */
    startSeconds: number;
  };
}

/** A slot with something in it. `hash` is the sha256 of the settings. */
export interface Filled {
  pin: Pin;
  settings: SlotSettings;
  hash: string;
}

/** A slot that a run wants filled: the program resolves its settings. */
export interface Unresolved {
  pin: Pin;
}

/** Written by settle: this release came through every check of this environment. */
export interface Proof {
  release: string;
  artifact: string;
  /** Hash of the settings it was proved with. */
  settings: string;
  run: RunId;
  at: string;
}

/** Plain-data stack output: what is declared and how to steer it. At most 64 KiB, never a secret. */
export interface Handle {
  version: 1;
  platform: string;
  /** The service in this stack. */
  service: string;
  live?: Slot | undefined;
  slots: Partial<Record<Slot, Filled>>;
  /** What was live before the last adopt. */
  previous?: Filled | undefined;
  split: Split;
  generation: number;
  by?: By | undefined;
  /** The run that is open on this stack. */
  run?: RunId | undefined;
  proved?: Proof | undefined;
  /** The embedded platform's own fields. */
  local?: LocalFields | undefined;
}

/** How to reach the service's supervisor and the service itself. */
export interface LocalFields {
  /** State directory of the supervisor. */
  directory: string;
  /** The name the supervisor knows the service by: `<service>.<environment>`. */
  name: string;
  /** Where users reach the service. */
  url: string;
}

/** A handle as the driver wants it: slots may be unresolved, and the platform adds its own fields. */
export type Wanted = Omit<Handle, "slots" | "local"> & { slots: Partial<Record<Slot, Filled | Unresolved>> };

export function isResolved(slot: Filled | Unresolved): slot is Filled {
  return "settings" in slot;
}

const ARTIFACT = /^(?:[^\s@]+@sha256:[0-9a-f]{64}|dir:[^@\n]+@sha256:[0-9a-f]{64}|git:[^\s@]+@[0-9a-f]{40})$/;

/** Whether the text names something immutable. */
export function isArtifact(text: string): boolean {
  return ARTIFACT.test(text);
}

/** Takes an artifact apart. Throws `malformed-artifact`. */
export function parseArtifact(text: string): {
  kind: "image" | "dir" | "git";
  source: string;
  digest: string;
} {
  if (!isArtifact(text)) throw MalformedArtifact(text);
  const at = text.lastIndexOf("@");
  const kind = text.startsWith("dir:") ? "dir" : text.startsWith("git:") ? "git" : "image";
  return {
    kind,
    source: text.slice(kind === "image" ? 0 : 4, at),
    digest: text.slice(at + 1).replace(/^sha256:/, ""),
  };
}

const percent = z.int().min(0).max(100);
const pin = z.strictObject({
  artifact: z.string().refine(isArtifact, "is no immutable artifact"),
  version: z.string().optional(),
  commit: z.string().optional(),
  repository: z.string().optional(),
  at: z.string().optional(),
});
const filled = z.strictObject({
  pin,
  settings: z.strictObject({
    variables: z.record(z.string(), z.string()),
    secrets: z.record(z.string(), z.string()),
    arguments: z.array(z.string()),
    files: z.record(z.string(), z.string()),
    resources: z.strictObject({
      replicas: z.int().min(1).max(1000),
      cpu: z.string().optional(),
      memory: z.string().optional(),
    }),
    probes: z.strictObject({ health: z.string(), startSeconds: z.number().positive() }),
  }),
  hash: z.string().regex(/^[0-9a-f]{64}$/),
});
const handle = z
  .strictObject({
    version: z.literal(1),
    platform: z.string().min(1),
    service: z.string().min(1),
    live: z.enum(["blue", "green"]).optional(),
    slots: z.strictObject({ blue: filled.optional(), green: filled.optional() }),
    previous: filled.optional(),
    split: z.strictObject({ blue: percent, green: percent }),
    generation: z.int().min(0),
    by: z.strictObject({ run: z.string(), step: z.string() }).optional(),
    run: z.string().optional(),
    proved: z
      .strictObject({
        release: z.string(),
        artifact: z.string(),
        settings: z.string(),
        run: z.string(),
        at: z.string(),
      })
      .optional(),
    local: z.strictObject({ directory: z.string(), name: z.string(), url: z.string() }).optional(),
  })
  .refine((h) => h.split.blue + h.split.green === (h.live || h.split.blue || h.split.green ? 100 : 0), {
    message: "the split does not sum to 100",
    path: ["split"],
  });

/** Largest handle in bytes of JSON: a stack output travels through every snapshot of the state. */
export const MAX_HANDLE_BYTES = 64 * 1024;

/** Reads a stack output. Throws `handle-unreadable` naming the field, never echoing the value. */
export function parseHandle(value: unknown, stack: string): Handle {
  const result = handle.safeParse(value);
  if (result.success) return result.data as Handle;
  const issue = result.error.issues[0];
  throw HandleUnreadable(stack, `${issue?.path.join(".") || "it"}: ${issue?.message ?? "is not a handle"}`);
}

/** Throws `handle-too-large`. */
export function checkSize<T>(value: T): T {
  const bytes = Buffer.byteLength(JSON.stringify(value));
  if (bytes > MAX_HANDLE_BYTES) throw HandleTooLarge(bytes);
  return value;
}

/** JSON with sorted keys and without undefined fields: equal values give equal text. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, v) =>
    v && typeof v === "object" && !Array.isArray(v)
      ? Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
      : v,
  );
}
