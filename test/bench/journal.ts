import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Fact } from "../../automation/core/events";
import { createJournal, type JournalOptions, readJournal } from "../../automation/engine/journal";
import type { Row } from "./row";

/** Milliseconds each figure is measured for: some hundred syncs of an ordinary disk. */
const DURATION = 1000;

/** Appends a second to the journal, each on disk when counted; the ratios show what sharing a sync is worth. */
export async function benchJournal(): Promise<Row[]> {
  const slow: JournalOptions = {
    sync: async (file) => {
      await delay(10);
      await file.datasync();
    },
  };
  await rate(16, {}); // warms up
  const [one, sixteen, many] = [await rate(1, {}), await rate(16, {}), await rate(256, {})];
  const [slowOne, slowMany] = [await rate(1, slow), await rate(256, slow)];
  return [
    row("journal: appends/s, 1 at a time", one, "-", true),
    row("journal: appends/s, 16 at a time", sixteen, "> one", sixteen > one),
    row("journal: appends/s, 256 at a time", many, "> one", many > one),
    row("journal: appends/s, 1 at a time, sync takes 10 ms more", slowOne, "-", true),
    row(
      "journal: appends/s, 256 at a time, sync takes 10 ms more",
      slowMany,
      ">= 100 x one",
      slowMany >= 100 * slowOne,
    ),
  ];
}

function row(figure: string, value: number, target: string, ok: boolean): Row {
  return { figure, value: Math.round(value).toLocaleString("en"), target, ok };
}

async function rate(concurrent: number, options: JournalOptions): Promise<number> {
  const root = await mkdtemp(join(tmpdir(), "sluice-bench-"));
  const directory = join(root, "prod", "run");
  const journal = await createJournal(directory, options);
  const fact: Fact = { type: "step.started", step: "web.prod/shift-10", attempt: 1 };
  const begun = performance.now();
  const appender = async () => {
    while (performance.now() - begun < DURATION) await journal.append(fact, Date.now());
  };
  await Promise.all(Array.from({ length: concurrent }, appender));
  const seconds = (performance.now() - begun) / 1000;
  await journal.close();
  const { events } = await readJournal(directory);
  if (events.length !== journal.events.length) throw new Error("an append was lost");
  await rm(root, { recursive: true });
  return events.length / seconds;
}
