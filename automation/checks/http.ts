import { request } from "node:http";
import { request as secure } from "node:https";
import { setTimeout as pause } from "node:timers/promises";
import { type Duration, seconds, within } from "../analysis/units";
import type { Check, CheckResult, Context, Subject } from "../core/ports";

export interface HealthOptions {
  /** @default the health path of the slot's settings, or "/health" */
  path?: string | undefined;
  /** The code that is healthy. @default any from 200 to 299 */
  status?: number | undefined;
  /** Times it is asked until it counts as unhealthy. @default 10 */
  attempts?: number | undefined;
  /** Between two attempts. @default "1s" */
  every?: Duration | undefined;
  /** Time for one answer. @default "2s" */
  timeout?: Duration | undefined;
}

export interface SmokeOptions {
  path: string;
  /** @default 200 */
  status?: number | undefined;
  /** Text that the body contains, or a pattern that it matches. */
  body?: string | RegExp | undefined;
  /** The whole answer takes at most this. */
  maxLatency?: Duration | undefined;
  /** @default 3 */
  attempts?: number | undefined;
  /** Between two attempts. @default "1s" */
  every?: Duration | undefined;
  /** Time for one answer. @default "5s" */
  timeout?: Duration | undefined;
}

/** Largest body that is read, in bytes. */
const MAX_BODY = 1024 * 1024;

/** Asks the health path of a slot until it answers as it should. */
export function health(options: HealthOptions = {}): Check {
  const tries = repeat("health", options.attempts ?? 10, options.every ?? "1s");
  const timeout = seconds("health timeout", options.timeout ?? "2s");
  return {
    id: "health",
    run(subject, ctx) {
      const path = options.path ?? probe(subject) ?? "/health";
      return tries(ctx, async () => {
        const answer = await ask(subject, path, timeout, ctx.signal);
        if (typeof answer === "string") return { ok: false, reason: answer };
        const { status } = answer;
        const fine = options.status === undefined ? status >= 200 && status < 300 : status === options.status;
        if (fine) return { ok: true, note: `${path} answered ${status}` };
        return {
          ok: false,
          reason: `${path} answered ${status}, expected ${options.status ?? "200 to 299"}`,
        };
      });
    },
  };
}

/** Asks one path of a slot and looks at code, body and latency. */
export function smoke(options: SmokeOptions): Check {
  const { path, status = 200, body } = options;
  const tries = repeat("smoke", options.attempts ?? 3, options.every ?? "1s");
  const timeout = seconds("smoke timeout", options.timeout ?? "5s");
  const most = options.maxLatency === undefined ? undefined : seconds("smoke maxLatency", options.maxLatency);
  return {
    id: `smoke ${path}`,
    run: (subject, ctx) =>
      tries(ctx, async () => {
        const answer = await ask(subject, path, timeout, ctx.signal);
        if (typeof answer === "string") return { ok: false, reason: answer };
        if (answer.status !== status)
          return { ok: false, reason: `${path} answered ${answer.status}, expected ${status}` };
        // A pattern with the flag g remembers where it stopped; a copy without it does not.
        const found =
          typeof body === "object"
            ? new RegExp(body.source, body.flags.replace(/[gy]/g, "")).test(answer.body)
            : answer.body.includes(body ?? "");
        if (!found) return { ok: false, reason: `${path} answered ${status}, but the body has no ${body}` };
        const took = `${Math.round(answer.seconds * 1000)} ms`;
        if (most !== undefined && answer.seconds > most)
          return { ok: false, reason: `${path} took ${took}, limit ${options.maxLatency}` };
        return { ok: true, note: `${path} answered ${status} in ${took}` };
      }),
  };
}

function repeat(who: string, attempts: number, every: Duration) {
  within(`${who} attempts`, attempts, 1, 1000, true);
  const wait = seconds(`${who} every`, every) * 1000;
  return async (ctx: Context, once: () => Promise<CheckResult>): Promise<CheckResult> => {
    for (let attempt = 1; ; attempt += 1) {
      const result = await once();
      if (result.ok) return result;
      if (attempt >= attempts)
        return attempts === 1 ? result : { ...result, reason: `${result.reason} (${attempts} attempts)` };
      await pause(wait, undefined, { signal: ctx.signal });
    }
  };
}

function probe(subject: Subject): string | undefined {
  return subject.slot && subject.handle?.slots[subject.slot]?.settings.probes.health;
}

interface Answer {
  status: number;
  body: string;
  seconds: number;
}

/** The answer, or why there was none. Redirects are not followed: they are an answer too. */
async function ask(
  subject: Subject,
  path: string,
  timeout: number,
  signal: AbortSignal,
): Promise<Answer | string> {
  if (!subject.url) return `nobody said where ${subject.target} answers`;
  signal.throwIfAborted();
  const url = new URL(subject.url);
  const deadline = AbortSignal.timeout(timeout * 1000);
  const began = performance.now();
  try {
    return await new Promise<Answer>((resolve, reject) => {
      const options = { path, agent: false, signal: AbortSignal.any([signal, deadline]) };
      const sent = (url.protocol === "https:" ? secure : request)(url, options, (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on("data", (chunk: Buffer) => {
          size += chunk.length;
          if (size <= MAX_BODY) chunks.push(chunk);
        });
        response.on("error", reject);
        response.on("end", () =>
          resolve({
            status: response.statusCode ?? 0,
            body: Buffer.concat(chunks).toString("utf8"),
            seconds: (performance.now() - began) / 1000,
          }),
        );
      });
      sent.on("error", reject);
      sent.end();
    });
  } catch (thrown) {
    signal.throwIfAborted();
    if (deadline.aborted) return `${path} gave no answer within ${timeout} s`;
    return `${path} can't be reached: ${thrown instanceof Error ? thrown.message : thrown}`;
  }
}
