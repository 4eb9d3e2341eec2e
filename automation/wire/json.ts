import type { IncomingHttpHeaders } from "node:http";
import type { RequestOptions } from "node:https";
import { BadConfig } from "../../components/errors";
import { SourceUnreachable } from "../metrics/scrape";
import { failed } from "./exchange";
import { SourceMalformed } from "./exposition";
import { retry, retryAfter } from "./retry";
import { json, send } from "./transport";

/** How far one answer may go. */
export interface Bounds {
  /** Milliseconds an answer may take, with all tries. @default 10000 */
  timeout?: number | undefined;
  /** Largest answer in bytes. @default 4 MiB */
  maxBytes?: number | undefined;
}

/** What differs from one service to the other. */
export interface Manner extends Bounds {
  /** The service, as its errors name it. */
  name: string;
  headers: Readonly<Record<string, string>>;
  /** Sent as a form by POST. @default a plain GET */
  form?: URLSearchParams | undefined;
  /** What the body of a refusal says. */
  said(body: unknown): string | undefined;
  /** Options that hold the credentials. */
  credentials: string;
  /** Milliseconds until the service wants to be asked again, by the headers of an answer. @default as Retry-After says */
  pause?(headers: IncomingHttpHeaders): number | undefined;
}

/** Statuses after which the same question may be answered a moment later. */
const PASSING: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504]);

/**
 * Gets JSON from a service, again where a failure may pass; no proxy is used and no redirect followed.
 * Throws `source-unreachable`, `source-malformed`, and `bad-config` for a question that nobody can answer.
 */
export async function getJson(address: URL, manner: Manner, signal: AbortSignal): Promise<unknown> {
  const where = `${address.origin}${address.pathname}`;
  const { timeout = 10_000, maxBytes, form } = manner;
  const body = form?.toString();
  const how: RequestOptions = {
    method: form ? "POST" : "GET",
    headers: {
      accept: "application/json",
      ...(form && { "content-type": "application/x-www-form-urlencoded" }),
      ...manner.headers,
    },
  };
  let again: boolean | number = false;
  return retry(
    async (both) => {
      const { status, headers, text } = await send(address, { ...how, signal: both }, body, {
        where,
        maxBytes,
      }).catch((thrown: unknown) => {
        const { error, passing } = failed(thrown, where);
        again = passing;
        throw error;
      });
      const pause = manner.pause?.(headers) ?? retryAfter(headers["retry-after"], Date.now());
      again = PASSING.has(status) && (pause ?? true);
      const said = json(text);
      if (status !== 200) throw refused(status, where, manner, said);
      if (said === undefined) throw SourceMalformed(where, "it is no JSON");
      return said;
    },
    {
      signal,
      deadlineMs: timeout,
      transient: () => again,
      late: (milliseconds) => SourceUnreachable(where, `no answer within ${milliseconds} ms`),
    },
  );
}

function refused(status: number, where: string, manner: Manner, body: unknown): Error {
  const text = manner.said(body)?.slice(0, 300);
  // Nobody can answer this, today or tomorrow.
  if (status === 400 && text !== undefined)
    return BadConfig(`${manner.name} at ${where}`, `it refuses the question: ${text}`);
  const hint = status === 401 || status === 403 ? `; look at ${manner.credentials}` : "";
  const more = text ? ` (${text})` : status >= 300 && status < 400 ? ", and no redirect is followed" : "";
  return SourceUnreachable(where, `it answered ${status}${more}${hint}`);
}

/** The address of a service. Throws `bad-config` for one that is none, or that holds a secret. */
export function webAddress(text: string, where: string, secrets = "secrets are given by reference"): URL {
  const address = URL.canParse(text) ? new URL(text) : undefined;
  if (address?.protocol !== "http:" && address?.protocol !== "https:")
    throw BadConfig(where, "it is no http or https address.");
  if (address.username || address.password || address.search || address.hash)
    throw BadConfig(where, `it has a user, a password or a query; ${secrets}.`);
  return address;
}
