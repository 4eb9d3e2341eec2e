import { share } from "../analysis/units";

/** A share as it is typed: `1%`, `0.01`. Throws `bad-config` naming the option. */
export function portion(option: string, text: string): number {
  return share(option, /^[\d.]+$/.test(text) ? Number(text) : text);
}
