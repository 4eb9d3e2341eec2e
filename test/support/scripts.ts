import { readFileSync } from "node:fs";
import { join } from "node:path";

/** The commands of `sluice` that this project's own package.json has as scripts. */
export function ownScripts(): string[] {
  const text = readFileSync(join(__dirname, "..", "..", "package.json"), "utf8");
  const { scripts } = JSON.parse(text) as { scripts: Record<string, string> };
  return Object.entries(scripts).flatMap(([name, line]) =>
    line === `node bin/sluice.js ${name}` ? [name] : [],
  );
}
