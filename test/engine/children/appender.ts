import { createJournal, openJournal } from "../../../automation/engine/journal";

/** Appends numbered events for ever, some at once, and tells each on standard output once it is on disk. */
async function main(directory: string, first: number): Promise<void> {
  const journal = first === 0 ? await createJournal(directory) : await openJournal(directory);
  let next = journal.events.length;
  const appender = async () => {
    for (;;) {
      const number = next++;
      const event = await journal.append({ type: "traffic.diverted", target: `t${number}` }, Date.now());
      process.stdout.write(`${event.seq} ${number}\n`);
    }
  };
  await Promise.all(Array.from({ length: 7 }, appender));
}

void main(process.argv[2] as string, Number(process.argv[3]));
