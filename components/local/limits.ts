import { type LocalOptions, MAX_CONNECTIONS, MAX_REQUESTS } from "./options";

/** Milliseconds that a client or a replica may take; each ends where the other side makes progress. */
export interface Timeouts {
  /** A request's head, from its first byte or, on a new connection, from the start; then 408. */
  headMs: number;
  /** Between two pieces of a request's body; then 408. */
  bodyMs: number;
  /** A client that takes nothing of its answer; then it is cut off. */
  sendMs: number;
  /** A client between two requests. */
  idleMs: number;
  /** Until a replica takes a connection; then another one is asked. */
  connectMs: number;
  /** Until a replica that has the whole request begins to answer; then 504. */
  answerMs: number;
}

/** What is asked of clients and replicas where the service says nothing. */
export const TIMEOUTS: Readonly<Timeouts> = {
  headMs: 20_000, // Apache's mod_reqtimeout begins with 20 s.
  bodyMs: 60_000, // nginx's client_body_timeout.
  sendMs: 60_000, // nginx's send_timeout.
  idleMs: 65_000, // Longer than the 60 s that load balancers in front usually keep theirs.
  connectMs: 5000, // Envoy's connect_timeout. On loopback only a full backlog takes longer than a millisecond.
  answerMs: 60_000, // nginx's proxy_read_timeout.
};

/** What holds for each request of a service: its two lanes share it, and a new route changes it in place. */
export interface Rules extends Timeouts {
  bodyBytes: number;
  requests: number;
  connections: number;
  trusting: boolean;
}

/** The rules that a service's options make. */
export function rulesOf(options: LocalOptions | undefined, timeouts: Timeouts): Rules {
  const { bodyBytes, requests, connections, answerSeconds } = options?.limits ?? {};
  return {
    ...timeouts,
    ...(answerSeconds !== undefined && { answerMs: answerSeconds * 1000 }),
    bodyBytes: bodyBytes ?? Number.POSITIVE_INFINITY,
    requests: requests ?? MAX_REQUESTS,
    connections: connections ?? MAX_CONNECTIONS,
    trusting: options?.trustForwarded ?? false,
  };
}
