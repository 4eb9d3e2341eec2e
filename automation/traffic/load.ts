import { lookup } from "node:dns/promises";
import { Agent, request } from "node:http";
import { isIP } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { BadConfig, error } from "../../components/errors";
import { within } from "../analysis/units";
import type { Traffic } from "../core/ports";

export const NotLoopback = error("not-loopback", {
  message: (url: string) => `Load is only made on this machine; ${url} is not on loopback.`,
  hint: () => "Take `traffic` out of this environment in automation/pipeline.ts: its users make the traffic.",
});

export interface LoadOptions {
  /** Requests begun per second, however slowly they are answered. */
  rps: number;
  /** @default "/" */
  path?: string | undefined;
  /** Connections open at once; beyond that a request is left out, and said so. @default 100 */
  connections?: number | undefined;
}

/** Milliseconds after which the load ends by itself. */
const LONGEST = 60 * 60 * 1000;
/** Milliseconds between two looks at the clock. */
const TURN = 5;
/** Milliseconds that requests under way have to end when the load is stopped. */
const GRACE = 1000;
/** Milliseconds one answer may take. */
const PATIENCE = 10_000;

/**
 * Makes requests at an even rate on loopback, open loop: a slow answer delays no other request, for else a slow
 * release would be asked less often than a fast one. It says so in the log, and ends after an hour at the latest.
 */
export function load(options: LoadOptions): Traffic {
  const rps = within("load rps", options.rps, 0.1, 5000);
  const connections = within("load connections", options.connections ?? 100, 1, 1000, true);
  const path = options.path ?? "/";
  if (!/^\/[^\s]*$/.test(path))
    throw BadConfig("load path", "it must begin with a slash and have no blanks.");
  return {
    id: "load",
    async start(url, ctx) {
      ctx.signal.throwIfAborted();
      const to = await loopback(url);
      ctx.log(`load: ${rps} requests per second on ${url}, made by Sluice: these are no users`);
      const agent = new Agent({ keepAlive: true, maxSockets: connections });
      const tally = { sent: 0, failed: 0, left: 0 };
      const open = new Set<Promise<void>>();
      const began = performance.now();
      let due = 0;
      const turn = () => {
        const now = performance.now() - began;
        const target = Math.floor((now / 1000) * rps);
        // A process that slept makes no burst up: what is more than a second late is left out.
        if (target - due > rps) {
          tally.left += target - due - 1;
          due = target - 1;
        }
        for (; due < target; due += 1) {
          if (open.size >= connections) {
            tally.left += 1;
            continue;
          }
          const sent = send({ ...to, path, agent }, tally).finally(() => open.delete(sent));
          open.add(sent);
        }
        if (now >= LONGEST) void stop("an hour is over");
      };
      const timer = setInterval(turn, Math.max(TURN, Math.min(1000 / rps, 100)));
      timer.unref();
      let stopped: Promise<void> | undefined;
      const end = async (why: string) => {
        clearInterval(timer);
        ctx.signal.removeEventListener("abort", aborted);
        if (!ctx.signal.aborted)
          await Promise.race([Promise.all(open), pause(GRACE, undefined, { ref: false })]);
        agent.destroy();
        await Promise.all(open);
        ctx.log(
          `load: ended (${why}): ${tally.sent} sent, ${tally.failed} unanswered, ${tally.left} left out`,
        );
      };
      const stop = (why: string) => (stopped ??= end(why));
      const aborted = () => void stop("the run was left");
      ctx.signal.addEventListener("abort", aborted, { once: true });
      return () => stop("no longer needed");
    },
  };
}

interface Address {
  host: string;
  port: number;
}

function send(
  to: Address & { path: string; agent: Agent },
  tally: { sent: number; failed: number },
): Promise<void> {
  tally.sent += 1;
  return new Promise((resolve) => {
    const options = { ...to, timeout: PATIENCE, headers: { "user-agent": "sluice-load" } };
    const sent = request(options, (response) => {
      response.resume();
      response.on("close", resolve);
    });
    sent.on("timeout", () => sent.destroy(new Error("timeout")));
    sent.on("error", () => {
      tally.failed += 1;
      resolve();
    });
    sent.end();
  });
}

/** The address behind a URL, if each of its addresses is on loopback. Throws `not-loopback`. */
async function loopback(text: string): Promise<Address> {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== "http:") throw NotLoopback(shown(url));
  const name = url.hostname.replace(/^\[|\]$/g, "");
  const found = isIP(name)
    ? [{ address: name }]
    : await lookup(name, { all: true }).catch(() => {
        throw NotLoopback(shown(url));
      });
  const local = found.every(({ address }) => address === "::1" || /^127\.\d+\.\d+\.\d+$/.test(address));
  const first = found.find(({ address }) => isIP(address) === 4) ?? found[0];
  if (!local || !first) throw NotLoopback(shown(url));
  // The address and not the name: what it resolves to may change.
  return { host: first.address, port: Number(url.port || 80) };
}

function shown(url: URL | undefined): string {
  return url ? url.origin : "what it was given";
}
