import { leaseHolder } from "../../../automation/engine/lease";

/** Looks again and again who has the lease, until it is killed. */
async function main(directory: string): Promise<void> {
  await leaseHolder(directory);
  process.stdout.write("looking\n");
  for (;;) await leaseHolder(directory);
}

void main(process.argv[2] as string);
