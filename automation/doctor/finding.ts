import { isSluiceError } from "../../components/errors";

/** One thing that was looked at. */
export interface Finding {
  what: string;
  state: "good" | "warning" | "bad";
  found: string;
  /** The command or change that mends it. */
  mend?: string | undefined;
}

/** Nothing is wrong with it. */
export function good(what: string, found: string): Finding {
  return { what, state: "good", found };
}

/** It works, but not for ever or not everywhere. */
export function warning(what: string, found: string, mend: string): Finding {
  return { what, state: "warning", found, mend };
}

/** A promotion would fail. */
export function bad(what: string, found: string, mend: string): Finding {
  return { what, state: "bad", found, mend };
}

/** What a look gives; where it throws, that is the finding, and its hint mends it. */
export async function probe(
  what: string,
  look: () => Finding | Finding[] | Promise<Finding | Finding[]>,
  mend = "",
): Promise<Finding[]> {
  try {
    return [await look()].flat();
  } catch (e) {
    const found = (e instanceof Error ? e.message : String(e)).trim();
    return [bad(what, found, isSluiceError(e) ? e.hint : mend)];
  }
}
