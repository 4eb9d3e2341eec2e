import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { z } from "zod";
import { error, SluiceError } from "../errors";
import type { Slot } from "../handle";
import type { History } from "./history";
import type { Metrics } from "./metrics";
import { optionsShape } from "./options";
import type { SupervisorInfo } from "./protocol";
import type { Service } from "./service";
import { fillShape } from "./state";
import type { Watch } from "./watch";

const ServiceUnknown = error("service-unknown", {
  message: (name: string, known: string) =>
    `The supervisor knows no service ${name}; it knows ${known || "none"}.`,
  hint: () => "Run `npm run local -- status` to see them.",
});

const RequestMalformed = error("request-malformed", {
  message: (what: string, why: string) => `${what}: ${why}`,
  hint: () => "This is an error of the program that asked; update Sluice on both sides.",
});

const FilesUnsupported = error("files-unsupported", {
  message: (name: string) => `The settings of ${name} mount files, which the embedded platform can't.`,
  hint: () => "Put the files into the artifact, or give their content in variables.",
});

/** Services by name, as the admin interface reaches them. */
export interface Services {
  get(name: string): Service | undefined;
  names(): string[];
  /** Does the work on the service, made first where it is new and forgotten again where the work failed. */
  write<T>(name: string, work: (service: Service) => Promise<T>): Promise<T>;
  remove(name: string, permit: Permit): Promise<void>;
}

/** What the admin interface needs of the supervisor. */
export interface AdminOptions {
  info(): SupervisorInfo;
  services: Services;
  metrics: Pick<Metrics, "counts">;
  history: Pick<History, "since">;
  watch: Pick<Watch, "wait">;
  log(line: string): void;
  /** Stops all but the process; the answer is sent before `ended` is called. */
  stop(keepReplicas: boolean): Promise<void>;
  ended(): void;
}

/** Largest body in bytes: a fill holds the variables of one handle, which is at most 64 KiB. */
const MAX_BODY_BYTES = 256 * 1024;

const fence = z.object({ run: z.string().min(1), token: z.int().min(1) });
const permit = z.object({ fence: fence.optional(), force: z.boolean().optional() });
type Permit = z.infer<typeof permit>;
const port = z.int().min(0).max(65535).optional();
const slotWrite = permit.extend({ fill: fillShape.nullable(), port });
const percent = z.int().min(0).max(100);
const slotName = z.enum(["blue", "green"]);
const routeWrite = permit.extend({
  split: z.object({ blue: percent, green: percent }),
  live: slotName.nullable().optional(),
  run: z.string().min(1).nullable().optional(),
  options: optionsShape.nullable().optional(),
  port,
});
const stopWrite = z.object({ keepReplicas: z.boolean().optional() });
const count = z.coerce.number().int().min(0);
/** Seconds. */
const duration = z.coerce.number().min(0).max(3600);
/** A service's name is a file's name as well. */
const serviceName = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,99}$/, "is no service name");

/** One request, taken apart. */
interface Asked {
  method: string;
  segments: string[];
  query: URLSearchParams;
  body: unknown;
  /** Fires when the caller has gone. */
  gone: AbortSignal;
}

/** Makes the HTTP server of the admin interface; the caller lets it listen on the socket. */
export function createAdmin(options: AdminOptions): Server {
  const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    void serve(options, request, response);
  });
  return server;
}

async function serve(
  options: AdminOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const gone = new AbortController();
  response.on("close", () => gone.abort());
  let ending = false;
  try {
    const url = new URL(request.url ?? "/", "http://supervisor");
    const segments = url.pathname.split("/").slice(1).map(decodeURIComponent);
    const body = await bodyOf(request);
    const asked = {
      method: request.method ?? "GET",
      segments,
      query: url.searchParams,
      body,
      gone: gone.signal,
    };
    ending = asked.method === "POST" && url.pathname === "/v1/stop";
    send(response, 200, await answer(options, asked));
  } catch (thrown) {
    const known = thrown instanceof SluiceError;
    if (!known) options.log(thrown instanceof Error ? String(thrown.stack) : String(thrown));
    const { code, message, hint } = known
      ? thrown
      : {
          code: "supervisor-failed",
          message: String(thrown),
          hint: "Read supervisor.log in the state directory.",
        };
    send(response, !known ? 500 : code === "service-unknown" ? 404 : 409, { error: { code, message, hint } });
    ending = false;
  }
  if (ending) response.on("finish", options.ended);
}

function send(response: ServerResponse, status: number, value: unknown): void {
  const text = value === undefined ? "" : JSON.stringify(value);
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
  });
  response.end(text);
}

async function answer(options: AdminOptions, asked: Asked): Promise<unknown> {
  const { method, segments, body } = asked;
  const [version, kind, name] = segments;
  const where = `${method} /${segments.join("/")}`;
  if (version === "v1" && segments.length === 2) {
    if (method === "GET" && kind === "info") return options.info();
    if (method === "POST" && kind === "stop")
      return options.stop(parse(stopWrite, body ?? {}, where).keepReplicas ?? false);
    if (method === "GET" && kind === "services")
      return options.services.names().map((each) => options.services.get(each)?.status());
  }
  if (version !== "v1" || kind !== "services" || name === undefined)
    throw RequestMalformed(where, "there is no such thing");
  return answerService(options, parse(serviceName, name, where), asked, where);
}

async function answerService(
  { services, metrics, history, watch }: AdminOptions,
  name: string,
  asked: Asked,
  where: string,
): Promise<unknown> {
  const { method, segments, query, body, gone } = asked;
  const known = (): Service => {
    const found = services.get(name);
    if (!found) throw ServiceUnknown(name, services.names().join(", "));
    return found;
  };
  const slot = (text: string | null | undefined): Slot => parse(slotName, text, `${where}: slot`);
  const number = (key: string, shape: z.ZodType<number>, otherwise: number): number =>
    parse(shape, query.get(key) ?? otherwise, `${where}: ${key}`);
  const [, , , part, which, tail] = segments;
  switch (`${method} ${[part && part, which && "*", tail].filter(Boolean).join("/")}`) {
    case "GET ":
      return known().status();
    case "DELETE ":
      known();
      return services.remove(name, parse(permit, body ?? {}, where));
    case "PUT slots/*": {
      const write = parse(slotWrite, body, where);
      if (Object.keys(write.fill?.settings.files ?? {}).length > 0) throw FilesUnsupported(name);
      return services.write(name, (service) =>
        service.writeSlot(slot(which), write as Parameters<Service["writeSlot"]>[1]),
      );
    }
    case "GET slots/*/ready":
      return known().ready(slot(which), number("seconds", duration, 0), gone);
    case "GET errors": {
      const asked = slot(query.get("slot"));
      const [after, seconds] = [number("after", count, 0), number("seconds", duration, 25)];
      known();
      await watch.wait(name, asked, after, seconds, gone);
      // It may have been removed meanwhile.
      known();
      return metrics.counts(name, asked);
    }
    case "GET history": {
      const from = Date.now() - number("seconds", duration, 900) * 1000;
      known();
      return { readings: history.since(name, from) };
    }
    case "PUT route":
      return services.write(name, (service) => service.writeRoute(parse(routeWrite, body, where)));
    case "POST beat":
      return known().beat(parse(z.object({ fence }), body, where).fence);
    case "GET logs": {
      const lines = number("lines", z.coerce.number().int().min(1).max(10_000), 100);
      return known().logs(query.has("slot") ? slot(query.get("slot")) : undefined, lines);
    }
    default:
      throw RequestMalformed(where, "there is no such thing");
  }
}

function parse<T>(shape: z.ZodType<T>, value: unknown, where: string): T {
  const result = shape.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  // The value itself may be a secret that somebody put where none belongs.
  throw RequestMalformed(where, `${issue?.path.join(".") ?? ""} ${issue?.message ?? "is malformed"}`.trim());
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) throw RequestMalformed("The body", `is larger than ${MAX_BODY_BYTES} bytes`);
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString("utf8");
  if (text === "") return undefined;
  try {
    return JSON.parse(text);
  } catch {
    throw RequestMalformed("The body", "is no JSON");
  }
}
