import { readFileSync } from "node:fs";
import { createRedactor, type Redactor } from "../redact";

/** Values of a service's secrets, in memory alone: what it prints is masked with all it was ever given. */
export interface Secrets {
  /** Values of `env:NAME@version` references, or why one has none. Never echoes a value. */
  resolve(references: Readonly<Record<string, string>>): Record<string, string> | string;
  /** Remembers what a running process was given: our own environment may hold another value by now, or none. */
  inherit(references: Readonly<Record<string, string>>, pid: number): void;
  /** Whether there is anything to mask. */
  any(): boolean;
  readonly redact: Redactor;
}

/** Makes the secrets of one service. */
export function createSecrets(): Secrets {
  const values = new Set<string>();
  return {
    resolve(references) {
      const found: Record<string, string> = {};
      let missing: string | undefined;
      for (const [name, reference] of Object.entries(references)) {
        const { value, why } = look(name, reference);
        // The others are looked up all the same: the service may have printed them earlier.
        if (value === undefined) missing ??= why;
        else {
          found[name] = value;
          values.add(value);
        }
      }
      return missing ?? found;
    },
    inherit(references, pid) {
      for (const entry of environmentOf(pid)) {
        const at = entry.indexOf("=");
        if (Object.hasOwn(references, entry.slice(0, at))) values.add(entry.slice(at + 1));
      }
    },
    any: () => values.size > 0,
    redact: createRedactor(() => [...values]),
  };
}

function look(name: string, reference: string): { value?: string | undefined; why: string } {
  const variable = /^env:([A-Za-z_][A-Za-z0-9_]*)(?:@.*)?$/.exec(reference)?.[1];
  if (!variable)
    return { why: `Secret ${name} is "${reference}"; this platform reads env:NAME@version alone.` };
  return {
    value: process.env[variable],
    why: `Secret ${name}: the supervisor's environment has no ${variable}.`,
  };
}

function environmentOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
  } catch {
    // It ended meanwhile.
    return [];
  }
}
