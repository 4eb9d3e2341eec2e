import type { ResourceValidationPolicy } from "@pulumi/policy";
import type { Filled, Handle } from "../components/handle";
import { isLiteral, isReference, masked, secretForm, secretName } from "./secrets";

/** What a policy's configuration may set for one rule. */
export interface RuleConfig {
  /** `artifact-immutable`: prefixes, one of which every artifact starts with. @default any */
  sources?: string[];
  /** `live-slot-filled`: replicas that a slot with traffic has at least. @default 1 */
  minReplicas?: number;
  /** `no-plain-secret`: variables and flags whose value is not looked at, upper and lower case alike. @default none */
  allowed?: string[];
}

/** A law about handles. Pure: plain data in, sentences out, one per violation; never the value of a secret. */
export interface Rule {
  /** Also the name of the policy. */
  name: string;
  description: string;
  /** JSON schema of what may be configured, by property. */
  config?: NonNullable<ResourceValidationPolicy["configSchema"]>["properties"];
  check(handle: Handle, config?: RuleConfig): string[];
}

/** The type of the component whose input `handle` the rules look at. */
export const RELEASE_TYPE = "sluice:index:Release";

// The parser in components/handle.ts has the same form, with a schema library behind it. It is written again here so
// that the pack starts fast and is a second opinion; a test holds the two together.
const ARTIFACT = /^(?:[^\s@]+@sha256:[0-9a-f]{64}|dir:[^@\n]+@sha256:[0-9a-f]{64}|git:[^\s@]+@[0-9a-f]{40})$/;

/** What runs can't change under its name. */
export const artifactImmutable: Rule = {
  name: "artifact-immutable",
  description: "What a slot runs is named by its content: what was proved is what runs.",
  config: { sources: { type: "array", items: { type: "string" } } },
  check(handle, { sources = [] } = {}) {
    return filledOf(handle).flatMap(({ where, filled }) => {
      const artifact = text(filled.pin?.artifact);
      if (!ARTIFACT.test(artifact))
        return [
          `${where} runs "${masked(artifact)}", which can change under that name, so what was proved may not be what runs. ` +
            "Name it by content (image@sha256:…, dir:path@sha256:… or git:repository@<40 hex>): " +
            "`npm run promote -- <source> <target> --build` does.",
        ];
      if (sources.length > 0 && !sources.some((prefix) => artifact.startsWith(prefix)))
        return [
          `${where} runs "${masked(artifact)}", which comes from none of the sources this pack allows: ${sources.join(", ")}. ` +
            "Publish it to one of them and promote that, or add its source to the policy's configuration.",
        ];
      return [];
    });
  },
};

/** All traffic is accounted for. */
export const splitSums: Rule = {
  name: "split-sums",
  description: "The split sums to 100, or is 0/0 where nothing takes traffic yet.",
  check({ split, live }) {
    const blue: unknown = split?.blue;
    const green: unknown = split?.green;
    const shown = `${String(blue)}/${String(green)}`;
    if (!isPercent(blue) || !isPercent(green))
      return [
        `The split blue/green is ${shown}, and a share is a whole number from 0 to 100: a router could round it either way. ` +
          "Declare whole percents.",
      ];
    const sum = blue + green;
    if (sum === 100 || (sum === 0 && !live)) return [];
    return [
      sum === 0
        ? `The split is 0/0 although ${live} is live, so nobody would be served. Give ${live} 100, or declare no live slot.`
        : `The split blue/green is ${shown} and sums to ${sum}: the rest of the traffic would go nowhere, or twice. ` +
          "Make it sum to 100.",
    ];
  },
};

function isPercent(share: unknown): share is number {
  return Number.isInteger(share) && Number(share) >= 0 && Number(share) <= 100;
}

/** Traffic goes where something is ready to serve it, as far as that is declared. */
export const liveSlotFilled: Rule = {
  name: "live-slot-filled",
  description:
    "The live slot and every slot with traffic is filled and can serve: replicas, and a health path.",
  config: { minReplicas: { type: "integer", minimum: 1, default: 1 } },
  check(handle, { minReplicas = 1 } = {}) {
    const { live, split, slots } = handle;
    return (["blue", "green"] as const).flatMap((slot) => {
      const share = split?.[slot] ?? 0;
      if (live !== slot && !(share > 0)) return [];
      const role =
        live === slot ? `Slot ${slot} is live` : `Slot ${slot} is to take ${share} % of the traffic`;
      const filled = slots?.[slot];
      if (!filled)
        return [
          `${role} and empty, so its requests would fail. Fill it before it takes traffic, or name the slot that is.`,
        ];
      return unready(filled, minReplicas).map((why) => `${role}, but ${why}`);
    });
  },
};

function unready({ settings }: Filled, minReplicas: number): string[] {
  const found: string[] = [];
  const replicas = settings?.resources?.replicas;
  if (!(Number.isInteger(replicas) && replicas >= minReplicas))
    found.push(
      `has ${String(replicas ?? "no")} replicas where at least ${minReplicas} must serve. Raise \`replicas\` in its service.`,
    );
  if (!/^\/\S*$/.test(text(settings?.probes?.health)))
    found.push(
      "has no health path, so nobody could tell whether it is ready. Give its service a `health` path that starts with /.",
    );
  return found;
}

const MOVE =
  "A handle is stored and shown in the clear: move it to `secrets` as a versioned reference (scheme:name@version), " +
  "and replace the secret, for it has been in plain sight.";

/** Secrets are referred to, never spelt out. */
export const noPlainSecret: Rule = {
  name: "no-plain-secret",
  description: "Settings hold no secret in the clear, only versioned references (scheme:name@version).",
  config: { allowed: { type: "array", items: { type: "string" } } },
  check(handle, { allowed = [] } = {}) {
    const pardoned = new Set(allowed.map((name) => name.toLowerCase()));
    const url = text(handle.local?.url);
    return [
      ...filledOf(handle).flatMap(({ where, filled }) =>
        [
          ...inVariables(filled, pardoned),
          ...inArguments(filled, pardoned),
          ...inReferences(filled),
          ...inRest(filled),
        ].map((what) => `${where}: ${what}`),
      ),
      ...(secretForm(url) ? [`The service's url holds ${secretForm(url)}. ${MOVE}`] : []),
    ];
  },
};

function inVariables({ settings }: Filled, pardoned: ReadonlySet<string>): string[] {
  return Object.entries(settings?.variables ?? {}).flatMap(([name, value]) => {
    if (pardoned.has(name.toLowerCase())) return [];
    const what =
      secretForm(text(value)) ??
      (secretName(name) && isLiteral(text(value)) ? "a secret, by its name" : undefined);
    return what ? [`variable ${masked(name)} holds ${what}. ${MOVE}`] : [];
  });
}

function inArguments({ settings }: Filled, pardoned: ReadonlySet<string>): string[] {
  // Words too, for an argument may be a whole command: `sh -c "exec server --token …"`.
  const words = (settings?.arguments ?? []).flatMap((argument, at) =>
    text(argument)
      .split(/\s+/)
      .map((word) => ({ word, at })),
  );
  const found = new Map<number, string>();
  for (const [at, argument] of (settings?.arguments ?? []).entries()) {
    const what = secretForm(text(argument));
    if (what && !pardoned.has(flagOf(text(argument)).name.toLowerCase())) found.set(at, what);
  }
  for (const [place, { word, at }] of words.entries()) {
    const { name, dashed, value } = flagOf(word);
    const next = words[place + 1]?.word ?? "";
    const meant = value ?? (dashed && !next.startsWith("-") ? next : "");
    if (secretName(name) && !pardoned.has(name.toLowerCase()) && isLiteral(meant))
      found.set(at, found.get(at) ?? "a secret, by the name of a flag");
  }
  return [...found].map(
    ([at, what]) => `argument ${at + 1} holds ${what}. ${MOVE} Arguments also show in the list of processes.`,
  );
}

/** `--name`, `--name=value` and `name=value` taken apart. */
function flagOf(word: string): { name: string; dashed: boolean; value: string | undefined } {
  const [, dashes = "", name = "", value] = /^(-{0,2})([A-Za-z][\w.-]*)(?:=(.*))?$/s.exec(word) ?? [];
  return { name, dashed: dashes !== "", value };
}

function inReferences({ settings }: Filled): string[] {
  return Object.entries(settings?.secrets ?? {}).flatMap(([name, reference]) =>
    isReference(text(reference))
      ? []
      : [
          `secret ${masked(name)} is no versioned reference, so it is either a plain secret or may change unseen. ` +
            "Write scheme:name@version with a version that never moves.",
        ],
  );
}

function inRest({ pin, settings }: Filled): string[] {
  const found: string[] = [];
  for (const [path, hash] of Object.entries(settings?.files ?? {}))
    if (!/^(?:sha256:)?[0-9a-f]{64}$/.test(text(hash)))
      found.push(
        `file ${masked(path)} is not given by its sha256: content never belongs in a handle. Give the hash.`,
      );
  const others = {
    "its artifact": pin?.artifact,
    "its repository": pin?.repository,
    "its health path": settings?.probes?.health,
  };
  for (const [name, value] of Object.entries(others)) {
    const what = secretForm(text(value));
    if (what) found.push(`${name} holds ${what}. ${MOVE}`);
  }
  return found;
}

/** Everything filled in a handle: the slots, and what was live before, where a restore would find it. */
function filledOf(handle: Handle): { where: string; filled: Filled }[] {
  const found = (["blue", "green"] as const).flatMap((slot) => {
    const filled = handle.slots?.[slot];
    return filled ? [{ where: `Slot ${slot}`, filled }] : [];
  });
  return handle.previous ? [...found, { where: "The previous release", filled: handle.previous }] : found;
}

/** Data of a pack comes from any program, so no field is sure to be there. */
function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** Every rule of the pack, in the order they are reported. */
export const rules: readonly Rule[] = [artifactImmutable, splitSums, liveSlotFilled, noPlainSecret];
