import { readFileSync } from "node:fs";
import { validateHeaderName, validateHeaderValue } from "node:http";
import type { RequestOptions } from "node:https";
import { BadConfig } from "../../components/errors";
import { resolveSecret, type SecretRef } from "../engine/secret";
import { SourceUnreachable } from "../metrics/scrape";
import { SourceMalformed } from "./exposition";
import { type Reply, send } from "./transport";

/** Whom to ask, and how. */
export interface Access {
  /** Token for `Authorization: Bearer`. @default none */
  bearer?: SecretRef | undefined;
  /** User and password. @default none */
  basic?: { user: string; password: SecretRef } | undefined;
  /** Sent as X-Scope-OrgID, for Mimir, Cortex and Thanos with many tenants. @default none */
  tenant?: string | undefined;
  /** More headers, by name: a secret by reference, or what may be seen as `{ text }`. @default none */
  headers?: Readonly<Record<string, SecretRef | { text: string }>> | undefined;
  /** Path of a PEM file with the authority that signed the server's certificate. @default those Node trusts */
  ca?: string | undefined;
  /** Milliseconds an answer may take, all tries and the pauses between them together. @default 5000 */
  timeout?: number | undefined;
  /** Largest answer in bytes. @default 4 MiB */
  maxBytes?: number | undefined;
}

/** A server, by its base address and the name it has in messages. */
export interface Server {
  base: URL;
  where: string;
  access: Access;
}

/** Headers that the exchange itself sets. */
const OWN = new Set(["accept", "connection", "content-length", "content-type", "host", "transfer-encoding"]);
/** Connections that may be there a moment later. A name that nobody knows and a certificate that is wrong stay so. */
const PASSING = new Set([
  "EAI_AGAIN",
  "ECONNREFUSED",
  "ECONNRESET",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EPIPE",
  "ETIMEDOUT",
]);

/** Looks whether headers can be sent. Throws `bad-config`. */
export function checkHeaders(headers: Access["headers"]): void {
  for (const name of Object.keys(headers ?? {})) {
    if (OWN.has(name.toLowerCase())) throw BadConfig("prometheus headers", `${name} is not yours to set.`);
    try {
      validateHeaderName(name);
    } catch {
      throw BadConfig("prometheus headers", `${JSON.stringify(name)} is no name of a header.`);
    }
  }
}

/** Resolves the secrets, and gives a function that posts a form once. Throws `secret-missing` and `bad-config`. */
export async function poster(
  server: Server,
  path: string,
  form: Readonly<Record<string, string>>,
): Promise<(signal: AbortSignal) => Promise<Reply>> {
  const { base, access } = server;
  const body = new URLSearchParams(form).toString();
  const how: RequestOptions = {
    method: "POST",
    headers: {
      ...(await credentials(access)),
      accept: "application/json",
      "content-type": "application/x-www-form-urlencoded",
      "content-length": Buffer.byteLength(body),
    },
    ...(access.ca && { ca: certificate(access.ca) }),
  };
  const address = new URL(`${base.pathname.replace(/\/$/, "")}${path}`, base);
  return async (signal) => {
    signal.throwIfAborted();
    return send(address, { ...how, signal }, body, { where: server.where, maxBytes: access.maxBytes });
  };
}

/** A failed exchange as an error of ours, and whether the same may succeed a moment later. */
export function failed(thrown: unknown, where: string): { error: Error; passing: boolean } {
  if (SourceMalformed.is(thrown)) return { error: thrown, passing: false };
  const { code = "", message }: NodeJS.ErrnoException =
    thrown instanceof Error ? thrown : new Error(String(thrown));
  return { error: SourceUnreachable(where, message || code), passing: PASSING.has(code) };
}

async function credentials({ bearer, basic, tenant, headers = {} }: Access): Promise<Record<string, string>> {
  const all: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    const text = typeof value === "object" && "text" in value ? value.text : await resolveSecret(value);
    try {
      validateHeaderValue(name, text);
    } catch {
      throw BadConfig("prometheus headers", `the value of ${name} has characters that no header can have.`);
    }
    all[name.toLowerCase()] = text;
  }
  if (tenant) all["x-scope-orgid"] = tenant;
  if (bearer) all.authorization = `Bearer ${await resolveSecret(bearer)}`;
  else if (basic)
    all.authorization = `Basic ${Buffer.from(`${basic.user}:${await resolveSecret(basic.password)}`).toString("base64")}`;
  return all;
}

function certificate(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (thrown) {
    throw BadConfig("prometheus ca", `${file} can't be read: ${(thrown as NodeJS.ErrnoException).code}.`);
  }
}
