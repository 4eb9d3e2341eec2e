import { BadConfig } from "../../components/errors";
import type { Slot } from "../core/model";

/** The subject, as far as texts can name it. */
interface About {
  environment: string;
  target: string;
  service: string;
  handle?:
    | {
        local?: { name: string } | undefined;
        slots: Partial<Record<Slot, { pin: { version?: string | undefined } } | undefined>>;
      }
    | undefined;
}

const HOLE = /\{\{\s*([^{}]*?)\s*\}\}/g;
const NAMES = ["service", "environment", "target", "name", "slot", "version"] as const;

/** Refuses placeholders that there are not, naming `where`, as soon as the pipeline is read. */
export function known(text: string, where: string): void {
  for (const [, name = ""] of text.matchAll(HOLE))
    if (!NAMES.some((one) => one === name))
      throw BadConfig(where, `there is no placeholder {{${name}}}. Known: ${NAMES.join(", ")}.`);
}

/**
 * Puts values in the place of `{{service}}`, `{{environment}}`, `{{target}}`, `{{name}}` (the name the platform knows
 * the service by), `{{slot}}` and `{{version}}` (of what the slot holds), each as `quoted` writes it. `undefined`: it
 * names a version, and the slot has none.
 */
export function fill(
  text: string,
  about: About,
  slot: Slot | undefined,
  quoted: (value: string) => string,
): string | undefined {
  const { environment, target, service, handle } = about;
  const version = slot && handle?.slots[slot]?.pin.version;
  const name = handle?.local?.name ?? target;
  const values: Record<string, string | undefined> = { environment, target, service, name, slot, version };
  let lacks = false;
  const filled = text.replace(HOLE, (_, hole: string) => {
    const value = values[hole];
    if (!value) lacks = true;
    return value ? quoted(value) : "";
  });
  return lacks ? undefined : filled;
}

/** Throws `bad-config` where both slots are asked for with the same words: each would get the counts of both. */
export function apart(asked: readonly (readonly [Slot, string])[], where: string): void {
  const [one, other] = asked;
  if (one && other && one[1] === other[1])
    throw BadConfig(
      where,
      `both slots are asked for with the same words, ${one[1]}: name {{slot}}, or a {{version}} that differs.`,
    );
}
