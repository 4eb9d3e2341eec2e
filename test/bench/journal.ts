import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Fact } from "../../automation/core/events";
import { createJournal, type JournalOptions, readJournal } from "../../automation/engine/journal";
import { median, type Row } from "./row";
import { benchSize } from "./size";

/** Milliseconds each figure is measured for: some hundred syncs of an ordinary disk. */
const DURATION = 1000;
/** Milliseconds that a sync takes more, and what that may cost: the figures. */
const DELAY = 10;
const COST = 0.05;
/** Appends a second that are offered, whatever becomes of them; pairs of measurements, the one slow, the other not. */
const OFFERED = 2000;
const PAIRS = 5;

const slow: JournalOptions = {
  sync: async (file) => {
    await delay(DELAY);
    await file.datasync();
  },
};

/** Appends a second to the journal, each on disk when counted; the ratios show what sharing a sync is worth. */
export async function benchJournal(): Promise<Row[]> {
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
    await offered(),
    await benchSize(),
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

/** What is accepted of a steady offer, with a slow disk and with this one. */
async function offered(): Promise<Row> {
  const accepted = { fast: [] as number[], slow: [] as number[] };
  for (let i = 0; i < PAIRS; i++) {
    accepted.fast.push(await openLoop({}));
    accepted.slow.push(await openLoop(slow));
  }
  const [fast, late] = [median(accepted.fast), median(accepted.slow)];
  return {
    figure: `journal: appends/s on disk of ${OFFERED.toLocaleString("en")} offered, sync takes ${DELAY} ms more against not, median of ${PAIRS}`,
    value: `${late.toFixed(0)} against ${fast.toFixed(0)}, ${percent(late / fast - 1)}`,
    target: `>= -${COST * 100} %`,
    ok: late >= (1 - COST) * fast,
  };
}

async function openLoop(options: JournalOptions): Promise<number> {
  const root = await mkdtemp(join(tmpdir(), "sluice-bench-"));
  const journal = await createJournal(join(root, "prod", "run"), options);
  let sent = 0;
  let landed = 0;
  const begun = performance.now();
  const due = () => (Math.min(performance.now() - begun, DURATION) / 1000) * OFFERED;
  while (performance.now() - begun < DURATION) {
    for (; sent < due(); sent++)
      void journal
        .append({ type: "step.started", step: "web.prod/shift-10", attempt: 1 }, Date.now())
        .then(() => landed++);
    await delay(1);
  }
  const rate = landed / ((performance.now() - begun) / 1000);
  await journal.close();
  await rm(root, { recursive: true });
  return rate;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
