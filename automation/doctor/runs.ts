import { closeSync, existsSync, openSync, readdirSync, readFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { stuckBy } from "../core/events";
import { type Desk, openRun } from "../engine/carry";
import { type Holder, LeaseUnusable, leaseHolder } from "../engine/lease";
import { environmentDirectory, instantOf, listRuns } from "../engine/runs";
import { bad, type Finding, good, probe, warning } from "./finding";

type Looker = Pick<Desk, "project">;

/** What is open in each environment: a run with or without a driver, a lease that can't be taken, a damaged journal. */
export async function runs(desk: Looker): Promise<Finding[]> {
  const names = desk.project.pipeline.environments.map((e) => e.name);
  return (await Promise.all(names.map((name) => probe(`run on ${name}`, () => runOn(desk, name))))).flat();
}

async function runOn(desk: Looker, name: string): Promise<Finding> {
  const what = `run on ${name}`;
  const folder = environmentDirectory(desk.project.root, name);
  takable(join(folder, "lease"));
  const holder = await leaseHolder(folder);
  const open = await openRun(desk, name);
  if (holder)
    return good(what, `${open?.run ?? holder.run ?? "one that begins"} is driven by ${told(holder)}`);
  if (!open) return good(what, "none is open");
  const again = `go on: \`npm run ${open.request}\`; or roll it back: \`npm run abort -- ${name}\``;
  if (stuckBy(open.state) !== undefined)
    return bad(
      what,
      `${open.run} is ${open.state.paused}`,
      `Mend the cause and ${again}; put right by hand: \`npm run resolve -- ${name} --reason "<what was done>"\`.`,
    );
  const why = open.state.paused === undefined ? "was cut off" : `is paused: ${open.state.paused}`;
  return warning(what, `${open.run} ${why}; nobody drives it`, `To ${again}.`);
}

/** Looking opens the lease to read; whoever takes it writes. Throws `lease-unusable`. */
function takable(file: string): void {
  if (!existsSync(file)) return;
  try {
    closeSync(openSync(file, "r+"));
  } catch (e) {
    throw LeaseUnusable(file, e as Error);
  }
}

function told({ user, host, pid }: Holder): string {
  return `${user} on ${host} (pid ${pid})`;
}

/** Locks in a backend of files whose process on this machine is gone. */
export function locks(backend: string): Finding[] {
  if (!backend.startsWith("file:")) return [];
  const folder = join(fileURLToPath(backend), ".pulumi", "locks");
  return files(folder).flatMap((file) => {
    const stack = file.split("/").at(-2) ?? "<stack>";
    const what = `lock of ${stack}`;
    const mend = `If nothing works on it any more: \`npm run pulumi -- cancel -s ${stack} --yes\`.`;
    try {
      const { pid, hostname: host, timestamp } = JSON.parse(readFileSync(join(folder, file), "utf8"));
      const found = `process ${pid} on ${host}, since ${timestamp}`;
      if (host !== hostname()) return [warning(what, found, mend)];
      return lives(pid) ? [good(what, found)] : [warning(what, `${found}; it is gone`, mend)];
    } catch {
      return [warning(what, "a lock that can't be read", mend)];
    }
  });
}

function files(folder: string): string[] {
  try {
    return readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) =>
      name.endsWith(".json"),
    );
  } catch {
    return [];
  }
}

function lives(pid: unknown): boolean {
  if (!Number.isSafeInteger(pid) || Number(pid) < 1) return false;
  try {
    process.kill(Number(pid), 0);
    return true;
  } catch (e) {
    return (e as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** When the newest runs began, by the clock of who began them. */
export async function marks(desk: Looker): Promise<{ of: string; at: number }[]> {
  const { root, pipeline } = desk.project;
  const all = await Promise.all(
    pipeline.environments.map(async ({ name }) => {
      const [newest] = await listRuns(root, name).catch(() => []);
      if (!newest) return [];
      // Whole seconds: a clock is not judged by less.
      return [{ of: `run ${newest.run}`, at: Math.floor(instantOf(newest.run) / 1000) * 1000 }];
    }),
  );
  return all.flat();
}
