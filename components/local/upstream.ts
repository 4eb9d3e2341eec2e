import { connect, type Socket } from "node:net";
import { createReader, type Head, type Reader } from "./wire";

/** Why a request got no whole answer from a connection. */
export type Break = "refused" | "closed" | "malformed";

/** What is done with what a connection hears, for the request `U` it works for. */
export interface Handlers<U> {
  /** The connection stands; only now may the body be taken from the client. */
  ready(user: U): void;
  head(user: U, head: Head): void;
  /** A slice that is only valid during the call. */
  data(user: U, chunk: Buffer, start: number, end: number, last: boolean): void;
  end(user: U, trailers: string[], reusable: boolean): void;
  /** No more bytes for now: what was held back to be sent together goes out. */
  flush(user: U): void;
  /** The upstream takes more of the body. */
  drain(user: U): void;
  broken(user: U, why: Break): void;
}

/** One connection to a replica. */
export interface Connection<U> {
  readonly socket: Socket;
  readonly pool: Pool<U>;
  readonly reader: Reader;
  user: U | undefined;
  /** Whether it has answered before: only then may a close be a matter of bad timing. */
  reused: boolean;
  /** Whether a byte of the current answer has come. */
  heard: boolean;
  /** Whether `user` wants no more for now. */
  paused: boolean;
  idleSince: number;
  /** When it was begun, until it stands. */
  dialledAt: number | undefined;
}

/** The connections to one replica. */
export interface Pool<U> {
  readonly port: number;
  readonly handlers: Handlers<U>;
  /** Every open connection, those of other pools too: what is in work is found here. */
  readonly open: Set<Connection<U>>;
  /** Requests in work. */
  busy: number;
  /** When it last refused a connection, in ms of the monotonic clock. */
  refusedAt: number;
  retired: boolean;
  /** Called once nothing is in work. */
  readonly waiting: Set<() => void>;
  readonly idle: Connection<U>[];
}

/** Node's servers close a connection that was idle for 5 s; ours is gone before that, so that the two never cross. */
const IDLE_MS = 4000;
/** Idle connections kept per replica: Node's own agents keep 256. */
const MAX_IDLE = 256;
/** One read buffer for all: a read and its callback are one turn, and nobody keeps a slice. Size of a libuv read. */
const buffer = Buffer.allocUnsafeSlow(64 * 1024);

/** Makes the pool of the replica on this loopback port. */
export function createPool<U>(port: number, handlers: Handlers<U>, open: Set<Connection<U>>): Pool<U> {
  return {
    port,
    handlers,
    open,
    busy: 0,
    refusedAt: Number.NEGATIVE_INFINITY,
    retired: false,
    waiting: new Set(),
    idle: [],
  };
}

/** Takes a kept connection, or opens one. */
export function take<U>(pool: Pool<U>, user: U, fresh: boolean, now: number): Connection<U> {
  pool.busy++;
  if (!fresh) {
    for (let kept = pool.idle.pop(); kept; kept = pool.idle.pop()) {
      if (now - kept.idleSince < IDLE_MS && !kept.socket.destroyed) {
        kept.user = user;
        kept.heard = false;
        return kept;
      }
      kept.socket.destroy();
    }
  }
  return open(pool, user, now);
}

/** Gives a connection back once its request is done. Without `keep` it is closed. */
export function release<U>(connection: Connection<U>, keep: boolean, now: number): void {
  const { pool } = connection;
  connection.user = undefined;
  if (--pool.busy === 0) for (const idle of [...pool.waiting]) idle();
  if (!keep || pool.retired || connection.paused || pool.idle.length >= MAX_IDLE) {
    connection.socket.destroy();
    return;
  }
  connection.reused = true;
  connection.idleSince = now;
  pool.idle.push(connection);
}

/** Gives up a connection that was not taken for longer than `limit` ms: the replica counts as one that refuses. */
export function giveUp<U>({ dialledAt, socket }: Connection<U>, now: number, limit: number): void {
  if (dialledAt !== undefined && now - dialledAt > limit) socket.destroy();
}

/** Closes what is idle; what is in work is closed when it is done. */
export function retire<U>(pool: Pool<U>): void {
  pool.retired = true;
  for (const { socket } of pool.idle.splice(0)) socket.destroy();
}

/** Closes connections that have been idle for too long. */
export function sweep<U>(pool: Pool<U>, now: number): void {
  // The newest are at the end and are taken first, so that the old ones are all at the front.
  let old = 0;
  while (old < pool.idle.length && now - pool.idle[old]!.idleSince >= IDLE_MS) old++;
  for (const { socket } of pool.idle.splice(0, old)) socket.destroy();
}

function open<U>(pool: Pool<U>, user: U, now: number): Connection<U> {
  const { handlers } = pool;
  const socket = connect({
    host: "127.0.0.1",
    port: pool.port,
    noDelay: true,
    onread: { buffer, callback: (count, bytes) => onRead(connection, count, bytes) },
  });
  const connection: Connection<U> = {
    socket,
    pool,
    reader: createReader({
      head: (head) => connection.user && handlers.head(connection.user, head),
      data: (chunk, start, end, last) =>
        connection.user && handlers.data(connection.user, chunk, start, end, last),
      end: (trailers, reusable) => connection.user && handlers.end(connection.user, trailers, reusable),
    }),
    user,
    reused: false,
    heard: false,
    paused: false,
    idleSince: 0,
    dialledAt: now,
  };
  pool.open.add(connection);
  socket.on("connect", () => {
    connection.dialledAt = undefined;
    if (connection.user) handlers.ready(connection.user);
  });
  socket.on("drain", () => connection.user && handlers.drain(connection.user));
  socket.on("end", () => onGone(connection, true));
  socket.on("error", () => undefined);
  socket.on("close", () => {
    pool.open.delete(connection);
    onGone(connection, false);
  });
  return connection;
}

function onRead<U>(connection: Connection<U>, count: number, bytes: Uint8Array): boolean {
  const { user } = connection;
  if (!user || !connection.reader.busy()) {
    // Nobody asked: what an idle connection says can't be told from the answer to the next request.
    connection.socket.destroy();
    return false;
  }
  connection.heard = true;
  try {
    connection.reader.feed(bytes as Buffer, count);
  } catch {
    connection.socket.destroy();
    if (connection.user) connection.pool.handlers.broken(connection.user, "malformed");
    return false;
  }
  if (connection.user === user) connection.pool.handlers.flush(user);
  return !connection.paused;
}

/** `ended`: the replica has said that it has said all. A connection that is reset never says so. */
function onGone<U>(connection: Connection<U>, ended: boolean): void {
  const { user, pool, dialledAt } = connection;
  if (!user) {
    const at = pool.idle.indexOf(connection);
    if (at >= 0) pool.idle.splice(at, 1);
    connection.socket.destroy();
    return;
  }
  if (ended && connection.reader.eof()) return;
  connection.socket.destroy();
  pool.handlers.broken(user, dialledAt === undefined ? "closed" : "refused");
}
