import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Fact } from "../../automation/core/events";
import { createJournal, type JournalOptions, readJournal } from "../../automation/engine/journal";
import { drill } from "./drill";
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
/** Pairs of promotions. */
const PROMOTIONS = 4;

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
    ...(await promotions()),
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

/** Real promotions in turns: every sync of the driver takes longer, or none does. */
async function promotions(): Promise<Row[]> {
  const d = await drill();
  try {
    await d.trial("canary", "a");
    const seconds = { fast: [] as number[], slow: [] as number[] };
    const ratios: number[] = [];
    let syncs = 0;
    for (let i = 0; i < PROMOTIONS; i++) {
      // Which of the two comes first changes, for the neighbours' load does too.
      const order = i % 2 === 0 ? (["fast", "slow"] as const) : (["slow", "fast"] as const);
      for (const [j, speed] of order.entries()) {
        const { first } = await d.trial("canary", j === 0 ? "b" : "a", {
          syncDelay: speed === "slow" ? DELAY : 0,
        });
        if (first.code !== 0) throw new Error(first.stdout + first.stderr);
        seconds[speed].push((first.ended - first.began) / 1000);
        if (speed === "slow") syncs = Math.max(syncs, first.sights.filter((s) => s.saw === "sync").length);
      }
      ratios.push((seconds.slow.at(-1) ?? 0) / (seconds.fast.at(-1) ?? 1));
    }
    const [fast, late, ratio] = [median(seconds.fast), median(seconds.slow), median(ratios)];
    const most = (syncs * DELAY) / 1000 / fast;
    return [
      {
        figure: `journal: a promotion, every sync takes ${DELAY} ms more against not, median of ${PROMOTIONS} pairs`,
        value: `${percent(ratio - 1)} (${late.toFixed(1)} s against ${fast.toFixed(1)} s)`,
        target: `<= ${COST * 100} %`,
        ok: ratio <= 1 + COST,
      },
      {
        figure: `journal: its ${syncs} syncs, each ${DELAY} ms later, if it had to wait for every one`,
        value: percent(most),
        target: `<= ${COST * 100} %`,
        ok: most <= COST,
      },
    ];
  } finally {
    await d.dispose();
  }
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
