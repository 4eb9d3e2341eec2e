import { Agent, get } from "node:http";
import { setTimeout as wait } from "node:timers/promises";

/** Milliseconds without an answer after which a request has failed. */
const PATIENCE = 10_000;

/** What users met. */
export interface Met {
  sent: number;
  /** What went wrong, each with where; not what a release said itself. */
  failed: string[];
  /** Requests that a bad release failed itself. */
  spoiled: number;
}

/**
 * Users: so many requests a second, come what may, over connections that are kept alive. A failure is the
 * release's own where it says so in `x-version`; all else that is no answer below 500 is ours.
 */
export function crowd(port: number, rps: number, bad: string): { stop(): Promise<Met> } {
  const agent = new Agent({ keepAlive: true, maxSockets: 200 });
  const met: Met = { sent: 0, failed: [], spoiled: 0 };
  let open = 0;
  const send = () => {
    met.sent++;
    open++;
    let over = false;
    const end = (failure?: string) => {
      if (over) return;
      over = true;
      open--;
      if (failure) met.failed.push(failure);
    };
    const sent = get({ host: "127.0.0.1", port, agent, timeout: PATIENCE }, (response) => {
      const { statusCode = 0, headers } = response;
      response.resume();
      response.once("end", () => {
        if (statusCode < 500) return end();
        if (headers["x-version"] !== bad)
          return end(`${statusCode} (slot ${headers["x-sluice-slot"]}, version ${headers["x-version"]})`);
        met.spoiled++;
        end();
      });
      response.once("error", (e) => end(`cut short: ${e.message}`));
    });
    sent.once("timeout", () => sent.destroy(new Error(`no answer within ${PATIENCE} ms`)));
    sent.once("error", (e) => end(e.message));
  };
  const began = performance.now();
  const timer = setInterval(() => {
    const due = ((performance.now() - began) / 1000) * rps;
    while (met.sent < due) send();
  }, 5);
  return {
    async stop() {
      clearInterval(timer);
      while (open > 0) await wait(10);
      agent.destroy();
      return met;
    },
  };
}
