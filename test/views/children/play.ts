import { readFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { evolve, type RunState } from "../../../automation/core/events";
import { ending } from "../../../automation/view";
import { type Printer, printer } from "../../../automation/views/printer";
import { type Tale, tell } from "../../support/story";

// Plays the run of a tale to a printer, as far as the file says, and does there what the file says then.
// argv: the tale as JSON, the file, and the options of the command line.

/** As bin/sluice.js does. */
function crash(e: unknown): never {
  process.stderr.write(`${e}\n`);
  process.exit(3);
}

async function main(): Promise<void> {
  process.on("uncaughtException", crash).on("unhandledRejection", crash);
  const [tale = "{}", file = "", ...options] = process.argv.slice(2);
  const { events } = await tell(JSON.parse(tale) as Tale);
  const { stdout, stderr, stdin, env } = process;
  const out = printer({ stdout, stderr, stdin, env, plain: options.includes("--plain") });
  const leave = new AbortController();
  process.on("SIGINT", () => leave.abort());
  out.begin();
  let state: RunState | undefined;
  let played = 0;
  const done = new Set<string>();
  for (;;) {
    const orders = readFileSync(file, "utf8").trim().split("\n");
    const upTo = Number(orders[0]) || 0;
    for (; played < Math.min(upTo, events.length); played++) {
      const event = events[played]!;
      state = evolve(state, event);
      out.event(event, state, { questions: () => [], expected: async () => new Map() });
    }
    for (const order of orders.slice(1)) {
      if (done.has(order)) continue;
      done.add(order);
      await obey(order, out);
    }
    if (leave.signal.aborted) return end(out, "paused");
    if (played === events.length) return end(out, state?.outcome ?? "");
    await wait(10);
  }
}

async function obey(order: string, out: Printer): Promise<void> {
  const [verb, ...rest] = order.split(" ");
  const text = rest.join(" ");
  if (verb === "say") out.say(text);
  else if (verb === "progress") out.progress(rest[0] ?? "", rest.slice(1).join(" "));
  else if (verb === "kept") out.kept("t0", text.split("|"));
  else if (verb === "ask") void out.ask(text, "ar").then((key) => out.say(`answered ${key}`));
  else if (verb === "throw") throw new Error(text);
  else if (verb === "exit") process.exit(Number(text));
}

function end(out: Printer, outcome: string): void {
  const left = outcome === "paused" ? { left: "paused" as const, reason: "interrupted" } : undefined;
  const carried = left ?? { left: "finished" as const, outcome: outcome as "promoted", reason: "" };
  out.result({}, ending({ environment: "prod", ...carried }));
  out.close();
  process.exit(0);
}

void main();
