import { type Row, table } from "./row";

// Each measurement is a module of its own, loaded when it is asked for: they don't share a heap.
const BENCHES: Record<string, () => Promise<Row[]>> = {
  core: async () => (require("./core") as typeof import("./core")).benchCore(),
  journal: async () => (require("./journal") as typeof import("./journal")).benchJournal(),
  delay: async () => (require("./delay") as typeof import("./delay")).benchDelay(),
  proxy: async () => (require("./proxy") as typeof import("./proxy")).benchProxy(),
  divert: async () => (require("./divert") as typeof import("./divert")).benchDivert(),
  fleet: async () => (require("./fleet") as typeof import("./fleet")).benchFleet(),
  resume: async () => (require("./resume") as typeof import("./resume")).benchResume(),
  kill: async () => (require("./kill") as typeof import("./kill")).benchKill(),
  driver: async () => (require("./driver") as typeof import("./driver")).benchDriver(),
  analysis: async () => (require("./analysis") as typeof import("./analysis")).benchAnalysis(),
};

/** `npm run bench [-- NAME…]`: prints a table, and exits with 0 whatever it says: figures are read, not asserted. */
async function main(names: string[]): Promise<void> {
  const unknown = names.filter((name) => !(name in BENCHES));
  if (unknown.length > 0) {
    process.stderr.write(`no bench ${unknown.join(", ")}; known: ${Object.keys(BENCHES).join(", ")}\n`);
    process.exitCode = 2;
    return;
  }
  for (const name of names.length > 0 ? names : Object.keys(BENCHES)) {
    process.stdout.write(`\n${name}\n`);
    const rows = await BENCHES[name]?.();
    process.stdout.write(`${table(rows ?? [])}\n`);
  }
}

main(process.argv.slice(2));
