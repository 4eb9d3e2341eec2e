import { BadConfig } from "../../components/errors";

/** A share of requests: `"1%"`, or a number from 0 to 1. */
export type Share = number | `${number}%`;

/** A span of time as text: `"500ms"`, `"2s"`, `"5m"`, `"24h"`. */
export type Duration = `${number}${"ms" | "s" | "m" | "h"}`;

const SECONDS = { ms: 0.001, s: 1, m: 60, h: 3600 } as const;

/** Reads `"1%"` or `0.01` as a share from 0 to 1. Throws `bad-config` naming `where`. */
export function share(where: string, value: unknown): number {
  const text = typeof value === "string" ? /^(\d+(?:\.\d+)?)\s*%$/.exec(value) : undefined;
  const read = text ? Number(text[1]) / 100 : value;
  if (typeof read === "number" && read >= 0 && read <= 1) return read;
  throw BadConfig(where, `${JSON.stringify(value)} is no share; write "1%", or a number from 0 to 1.`);
}

/** Reads `"500ms"`, `"2s"`, `"5m"` or `"24h"` as seconds, more than none. Throws `bad-config` naming `where`. */
export function seconds(where: string, value: unknown): number {
  const text = typeof value === "string" ? /^(\d+(?:\.\d+)?)\s*(ms|s|m|h)$/.exec(value) : undefined;
  const read = text ? Number(text[1]) * SECONDS[text[2] as keyof typeof SECONDS] : Number.NaN;
  if (read > 0 && Number.isFinite(read)) return read;
  throw BadConfig(where, `${JSON.stringify(value)} is no duration; write "500ms", "2s", "5m" or "24h".`);
}

/** Reads a number within bounds. Throws `bad-config` naming `where`. */
export function within(where: string, value: unknown, low: number, high: number, whole = false): number {
  const ok =
    typeof value === "number" && value >= low && value <= high && (!whole || Number.isInteger(value));
  if (ok) return value;
  throw BadConfig(
    where,
    `${JSON.stringify(value)} is no ${whole ? "whole " : ""}number from ${low} to ${high}.`,
  );
}
