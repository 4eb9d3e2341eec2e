import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { other, SLOTS, type Slot, type Split } from "../handle";
import { COOKIE, type LocalOptions } from "./options";
import type { Chooser } from "./split";

/** Where a request goes that weights alone don't decide. */
export interface Way {
  slot: Slot | undefined;
  /** It is no user's, so it is not counted as one. */
  matched: boolean;
  /** The Set-Cookie that keeps the client on the slot. */
  cookie: string | undefined;
}

/** What is known of the slots. */
export interface Situation {
  split: Split;
  live?: Slot | undefined;
  /** Whether a slot is ready as a whole. */
  ready: Readonly<Record<Slot, boolean>>;
  /** Artifact and settings. */
  contents: Partial<Record<Slot, string>>;
  /** How many replicas take requests. */
  replicas: Readonly<Record<Slot, number>>;
}

/** Makes what finds a request's way; undefined where the service wants the weights alone. */
export function createGuide(
  options: LocalOptions | undefined,
  situation: Situation,
  choose: Chooser,
): ((request: IncomingMessage) => Way) | undefined {
  const { match } = options ?? {};
  const sticky = options?.sticky === true ? {} : options?.sticky || undefined;
  const name = sticky?.cookie ?? COOKIE;
  if (!match && !sticky) return undefined;
  const header = match?.header.toLowerCase();
  const { split } = situation;
  const idle = idleSlot(situation);
  const stamps = SLOTS.flatMap((slot): [Slot, string][] => {
    const content = situation.contents[slot];
    // A slot without traffic or without a replica keeps nobody: a divert moves everyone at once.
    return content !== undefined && split[slot] > 0 && situation.replicas[slot] > 0
      ? [[slot, stamp(slot, content)]]
      : [];
  });
  const rest = sticky?.maxAge === undefined ? "" : `; Max-Age=${sticky.maxAge}`;
  return (request) => {
    if (header !== undefined && request.headers[header] === match?.value)
      return { slot: idle ?? choose(split), matched: true, cookie: undefined };
    if (!sticky) return { slot: choose(split), matched: false, cookie: undefined };
    const held = cookieOf(request, name);
    const kept = stamps.find(([, one]) => one === held);
    if (kept) return { slot: kept[0], matched: false, cookie: undefined };
    const slot = choose(split);
    const given = stamps.find(([one]) => one === slot)?.[1];
    const cookie = given && `${name}=${given}; Path=/; HttpOnly; SameSite=Lax${rest}`;
    return { slot, matched: false, cookie };
  };
}

/** The slot beside the live one; where nothing is live, the one that is ready and takes least. */
function idleSlot({ live, ready, replicas, split }: Situation): Slot | undefined {
  const candidates = live ? [other(live)] : [...SLOTS].sort((a, b) => split[a] - split[b]);
  return candidates.find((slot) => ready[slot] && replicas[slot] > 0);
}

/** Says which content of which slot: after the next release it fits none. No secret. */
function stamp(slot: Slot, content: string): string {
  return createHash("sha256").update(`${slot} ${content}`).digest("hex").slice(0, 16);
}

function cookieOf(request: IncomingMessage, name: string): string | undefined {
  for (const pair of request.headers.cookie?.split(";") ?? []) {
    const equals = pair.indexOf("=");
    if (equals > 0 && pair.slice(0, equals).trim() === name) return pair.slice(equals + 1).trim();
  }
  return undefined;
}
