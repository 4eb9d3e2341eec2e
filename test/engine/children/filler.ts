import { createJournal, openJournal } from "../../../automation/engine/journal";

/** Appends until the disk is full and tells how that went, as JSON. */
async function main(directory: string): Promise<void> {
  const journal = await createJournal(directory);
  const codes: string[] = [];
  const code = (e: { code?: string }) => codes.push(e.code ?? String(e));
  let written = 0;
  while (codes.length === 0 && written < 10_000) {
    await journal
      .append({ type: "traffic.diverted", target: `t${written}`.padEnd(300, "x") }, 1)
      .then(() => written++, code);
  }
  await journal.append({ type: "traffic.diverted", target: "later" }, 1).catch(code);
  await journal.flush().catch(code);
  const kept = journal.events.length;
  await journal.close();
  const again = await openJournal(directory);
  const found = again.events.length;
  await again.close();
  process.stdout.write(JSON.stringify({ codes, written, kept, found }));
}

void main(process.argv[2] as string);
