import type { Slot } from "../handle";
import { locateArtifact } from "./artifact";
import type { Fill, FormerStatus, SlotReadiness, SlotStatus } from "./protocol";
import { createReplica, type Replica } from "./replica";
import type { Secrets } from "./secrets";
import { contentOf, type ReplicaRecord, type WantedSlot } from "./state";

/** What the replicas of a slot share. */
export interface SlotOptions {
  service: string;
  slot: Slot;
  content: WantedSlot;
  mark: string;
  logFile: string;
  home: string;
  secrets: Secrets;
  graceMs: number;
  /** Processes to take over. */
  records: readonly ReplicaRecord[];
  /** Waits until nothing is in flight on the port; false where it had to be cut at the drain's deadline. */
  drained(port: number): Promise<boolean>;
  changed(): void;
  log(line: string): void;
}

/** The replicas of one slot: those of its content, and while that is replaced in place those of what it was. */
export interface RunningSlot {
  readonly slot: Slot;
  /** As it is to be kept on disk. */
  content(): WantedSlot;
  /** All but what the proxy counts. */
  status(): Omit<SlotStatus, "inFlight">;
  readiness(): SlotReadiness;
  /** Ports of the replicas that are ready. */
  upstreams(): { port: number }[];
  records(): ReplicaRecord[];
  /** Resolves once each replica was asked for its health. */
  probed(): Promise<void>;
  /** Other content in place: what runs goes on until replicas of that one are ready. */
  replace(fill: Fill): void;
  /** Ends all, each replica once it has answered what it was sent. */
  empty(): Promise<void>;
  /** Ends all at once. */
  stop(): Promise<void>;
  leave(): Promise<void>;
}

/** A replica, the content it was started with, and whether it is on its way out. */
interface Member {
  replica: Replica;
  fill: Fill;
  /** Set while what it was sent is being answered; another value, or none, means that it may stay after all. */
  going?: symbol | undefined;
  ending?: Promise<void> | undefined;
}

/** Starts a slot's replicas, or takes them over. */
export function createSlot(options: SlotOptions): RunningSlot {
  const { service, slot, log, drained, graceMs } = options;
  let { fill, settled } = options.content;
  const members = new Set<Member>();
  let closing = false;

  const staying = (): Member[] => [...members].filter(({ going }) => !going);
  const current = (): Member[] => staying().filter((member) => contentOf(member.fill) === contentOf(fill));
  const former = (): Member[] => [...members].filter((member) => contentOf(member.fill) !== contentOf(fill));
  const wanted = (): number => fill.settings.resources.replicas;
  const changed = (): void => {
    follow();
    settled ||= isWhole();
    options.changed();
  };
  const isWhole = (): boolean => former().length === 0 && countReady(current()) === wanted();

  const start = (content: Fill, adopt?: ReplicaRecord): void => {
    const { mark, logFile, home, secrets } = options;
    const shared = { service, slot, mark, logFile, home, secrets, log, changed, locate: locateArtifact };
    members.add({ fill: content, replica: createReplica({ ...shared, fill: content, adopt }) });
  };
  /** Takes a replica out; it ends once it has answered what it was sent, or the deadline is over. */
  const retire = (member: Member): Promise<void> => {
    if (member.ending) return member.ending;
    const going = Symbol(service);
    member.going = going;
    options.changed();
    const { port, pid } = member.replica.status();
    const go = async (): Promise<void> => {
      if (port && !(await drained(port)))
        log(
          `${service} ${slot}: replica ${pid} had requests in flight at the drain's deadline; they were cut`,
        );
      if (member.going !== going) return;
      member.ending = member.replica.stop(graceMs);
      await member.ending;
      members.delete(member);
      changed();
    };
    return go();
  };
  /**
   * One step towards the wanted content: one new replica at a time while old ones are left, so that the host never
   * carries two whole slots; and an old one goes only where those that stay are as many as are wanted.
   */
  const follow = (): void => {
    if (closing) return;
    const mine = current();
    const old = former().filter(({ going }) => !going);
    const ready = countReady(mine);
    const may = old.length > 0 ? Math.min(wanted(), ready + 1) : wanted();
    for (let count = mine.length; count < may; count++) start(fill);
    if (ready === 0) return;
    const spare = Math.max(0, old.length - (wanted() - ready));
    const weakest = old.sort((a, b) => Number(isReady(a)) - Number(isReady(b)));
    for (const member of weakest.slice(0, spare)) void retire(member);
  };

  adopt(options, start);
  follow();

  const status = (): Omit<SlotStatus, "inFlight"> => {
    const states = current().map(({ replica }) => replica.status());
    const ready = countReady(current());
    const failure = states.find((state) => state.failure)?.failure;
    const left = formerOf(former());
    // Once all were ready, those that are left carry the slot while the others are started again.
    const serves = left.length === 0 && (ready === wanted() || (settled && ready > 0));
    return {
      state: serves ? "ready" : failure ? "failed" : "starting",
      artifact: fill.artifact,
      hash: fill.hash,
      wanted: wanted(),
      ready,
      restarts: states.reduce((sum, state) => sum + state.restarts, 0),
      ...(failure && { failure }),
      replicas: states.flatMap(({ pid, port, ready: is }) => (pid && port ? [{ pid, port, ready: is }] : [])),
      ...(left.length > 0 && { former: left }),
    };
  };
  const endAll = (end: (member: Member) => Promise<void>): Promise<void> => {
    closing = true;
    return Promise.all([...members].map(end)).then(() => undefined);
  };
  return {
    slot,
    content: () => {
      const left = kept(former().filter(({ going }) => !going));
      return { fill, settled, ...(left.length > 0 && { former: left }) };
    },
    status,
    readiness: () => readinessOf(status()),
    upstreams: () =>
      staying().flatMap(({ replica }) => {
        const { port, ready } = replica.status();
        return ready && port ? [{ port }] : [];
      }),
    records: () => [...members].flatMap(({ replica }) => replica.record() ?? []),
    probed: async () => void (await Promise.all([...members].map(({ replica }) => replica.probed))),
    replace(next) {
      fill = next;
      settled = false;
      // Content that is wanted again may still have replicas on their way out.
      for (const member of members)
        if (!member.ending && contentOf(member.fill) === contentOf(next)) member.going = undefined;
      changed();
    },
    empty: () => endAll(retire),
    stop: () => endAll(({ replica }) => replica.stop(graceMs)),
    leave: () => endAll(({ replica }) => replica.leave()),
  };
}

/** Starts what the content and its former ones had, each with the processes that were left of it. */
function adopt(
  { content, records }: SlotOptions,
  start: (fill: Fill, record: ReplicaRecord | undefined) => void,
): void {
  const of = (fill: Fill) => records.filter((record) => record.content === contentOf(fill));
  for (const record of of(content.fill)) start(content.fill, record);
  for (const { fill, replicas } of content.former ?? []) {
    const left = of(fill);
    for (let index = 0; index < replicas; index++) start(fill, left[index]);
  }
}

function isReady({ replica }: Member): boolean {
  return replica.status().ready;
}

function countReady(members: readonly Member[]): number {
  return members.filter(isReady).length;
}

/** Former contents with the number of their replicas. */
function kept(members: readonly Member[]): { fill: Fill; replicas: number }[] {
  const groups = new Map<string, { fill: Fill; replicas: number }>();
  for (const { fill } of members) {
    const replicas = (groups.get(contentOf(fill))?.replicas ?? 0) + 1;
    groups.set(contentOf(fill), { fill, replicas });
  }
  return [...groups.values()];
}

function formerOf(members: readonly Member[]): FormerStatus[] {
  return kept(members).map(({ fill, replicas }) => {
    const staying = members.filter((one) => contentOf(one.fill) === contentOf(fill) && !one.going);
    return { artifact: fill.artifact, hash: fill.hash, ready: countReady(staying), left: replicas };
  });
}

function readinessOf({
  state,
  failure,
  ready,
  wanted,
  former = [],
}: Omit<SlotStatus, "inFlight">): SlotReadiness {
  if (state === "ready") return { ready: true };
  const left = former.reduce((sum, each) => sum + each.left, 0);
  if (failure) {
    const { code, reason, logs } = failure;
    const serving = former.reduce((sum, each) => sum + each.ready, 0);
    const still =
      serving > 0 ? ` ${serving} former ${serving === 1 ? "replica goes" : "replicas go"} on serving.` : "";
    return { ready: false, lost: true, code, reason: `${reason}${still}`, logs: logs.join("\n") };
  }
  const counts = `${ready} of ${wanted} replicas are ready`;
  if (left === 0) return { ready: false, lost: false, code: "not-ready", reason: `${counts}.` };
  const reason = `${counts}, and ${left} of the former content ${left === 1 ? "is" : "are"} left.`;
  return { ready: false, lost: false, code: "rolling", reason };
}
