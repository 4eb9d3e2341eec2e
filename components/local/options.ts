import { z } from "zod";
import { BadConfig } from "../errors";
import { isHop, OTHER } from "./headers";

/** How the embedded platform treats a service's requests: part of the infrastructure, not of a release. */
export interface LocalOptions {
  /** Keeps a client on the slot it was first sent to, by a cookie. @default false */
  sticky?:
    | boolean
    | {
        /** Its name. @default "sluice-slot" */
        cookie?: string | undefined;
        /** Seconds it is kept. @default until the browser is closed */
        maxAge?: number | undefined;
      }
    | undefined;
  /** Requests with this header go to the slot that is not live, and are no user's: metrics leave them out. @default none */
  match?: { header: string; value: string } | undefined;
  /** Believes what the client says in X-Forwarded-Proto and the like: where another proxy is in front. @default false */
  trustForwarded?: boolean | undefined;
  limits?:
    | {
        /** Bytes of a request's body; 413 above. @default no limit */
        bodyBytes?: number | undefined;
        /** Requests at a time; 503 above. @default 4096 */
        requests?: number | undefined;
        /** Client connections at a time; 503 above. @default 8192 */
        connections?: number | undefined;
        /** Seconds until a replica that has the whole request must begin to answer; 504 then. @default 60 */
        answerSeconds?: number | undefined;
        /** Seconds that requests and WebSockets have to end by themselves once their slot is emptied, at most 45. @default 30 */
        drainSeconds?: number | undefined;
      }
    | undefined;
}

/** Requests at a time: below the 8192 files that two sockets each would take. */
export const MAX_REQUESTS = 4096;
/** Client connections at a time, idle ones included. */
export const MAX_CONNECTIONS = 8192;
/** Name of the cookie that keeps a client on a slot. */
export const COOKIE = "sluice-slot";
/** Whoever empties a slot waits 60 s for it, and ending the replicas takes its time too. */
const MAX_DRAIN_SECONDS = 45;

/** RFC 9110's token: the names of headers and, by RFC 6265, of cookies. */
const token = z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$/, "is no name of a header or cookie");
const count = z.int().min(1).max(1_000_000);

/** What they must look like, on disk and in a request. */
export const optionsShape = z.strictObject({
  sticky: z
    .union([
      z.boolean(),
      z.strictObject({
        cookie: token.optional(),
        maxAge: z
          .int()
          .min(1)
          .max(400 * 24 * 3600) // RFC 6265bis, 5.5: browsers cut it to 400 days.
          .optional(),
      }),
    ])
    .optional(),
  match: z
    .strictObject({
      header: token.refine((name) => isHop(name) === OTHER && name.toLowerCase() !== "cookie", {
        message: "is a header that every request may have",
      }),
      value: z.string().regex(/^[!-~](?:[ -~]{0,200}[!-~])?$/, "is no value of a header"),
    })
    .optional(),
  trustForwarded: z.boolean().optional(),
  limits: z
    .strictObject({
      bodyBytes: z.int().min(0).optional(),
      requests: count.optional(),
      connections: count.optional(),
      answerSeconds: z.number().positive().max(3600).optional(),
      drainSeconds: z.number().positive().max(MAX_DRAIN_SECONDS).optional(),
    })
    .optional(),
});

/** The options of a service, without what is not set. Throws `bad-config`. */
export function checkOptions(service: string, options: LocalOptions): LocalOptions {
  const plain: unknown = JSON.parse(JSON.stringify(options));
  const result = optionsShape.safeParse(plain);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw BadConfig(
    `service ${service}`,
    `local.${issue?.path.join(".") ?? ""}: ${issue?.message ?? "is wrong"}`,
  );
}
