import type { IncomingMessage } from "node:http";

/** The tokens of a comma-separated header, in lower case. */
export function list(value: string): string[] {
  return value.split(",").map((token) => token.trim().toLowerCase());
}

/** Headers without those that `Connection` names. */
export function without(raw: string[], names: string[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]!;
    // Framing is between the two of us only in part: a peer may not talk a length away.
    if (!names.includes(name.toLowerCase()) || name.toLowerCase() === "content-length")
      kept.push(name, raw[i + 1]!);
  }
  return kept;
}

export const OTHER = 0;
const DROPPED = 1;
export const CONNECTION = 2;
export const ENCODING = 3;
export const LENGTH = 4;
const HOST = 5;
const EXPECT = 6;
const FORWARDED_FOR = 7;
/** Says where a request came from: dropped, unless what is in front of the proxy is trusted. */
const FORWARDED = 8;

/** What a header is to a proxy. By length first: this runs for every header of every request. */
export function isHop(name: string): number {
  switch (name.length) {
    case 2:
      return is(name, "te", DROPPED);
    case 4:
      return is(name, "host", HOST);
    case 6:
      return is(name, "expect", EXPECT);
    case 7:
      return is(name, "upgrade", DROPPED);
    case 9:
      return is(name, "forwarded", FORWARDED) || is(name, "x-real-ip", FORWARDED);
    case 10:
      return is(name, "connection", CONNECTION) || is(name, "keep-alive", DROPPED);
    case 13:
      return is(name, "x-sluice-slot", DROPPED);
    case 14:
      return is(name, "content-length", LENGTH) || is(name, "http2-settings", DROPPED);
    case 15:
      return is(name, "x-forwarded-for", FORWARDED_FOR);
    case 16:
      return (
        is(name, "proxy-connection", DROPPED) ||
        is(name, "x-forwarded-host", FORWARDED) ||
        is(name, "x-forwarded-port", FORWARDED)
      );
    case 17:
      return is(name, "transfer-encoding", ENCODING) || is(name, "x-forwarded-proto", FORWARDED);
    case 18:
      return is(name, "proxy-authenticate", DROPPED) || is(name, "x-forwarded-server", FORWARDED);
    case 19:
      return is(name, "proxy-authorization", DROPPED);
    default:
      return OTHER;
  }
}

function is(name: string, known: string, kind: number): number {
  if (name === known) return kind;
  const lower = name.toLowerCase();
  if (lower === known) return kind;
  // CGI and its descendants read `X_Forwarded_For` as `X-Forwarded-For`: a second one that nobody looked at.
  return lower.includes("_") && lower.replaceAll("_", "-") === known ? DROPPED : OTHER;
}

/** How the body of a request is framed. */
export type Body = "none" | "length" | "chunked";

/** The head to send upstream, how the body after it is framed, and its length where that is known. */
export interface RequestHead {
  text: string;
  body: Body;
  length: number;
}

/** Longest request target in bytes: nginx's large_client_header_buffers; RFC 9110, 4.1 wants 8000 at least. */
export const MAX_URL = 8192;
/** Most headers of a request: Apache's LimitRequestFields. */
export const MAX_HEADERS = 100;
/** RFC 3986's host and port, IPv6 literals included. */
const HOST_SHAPE = /^(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::\d{0,5})?$/;
/** The last host that was found good: nearly all requests of a service have the same. */
let goodHost = "";

/**
 * The head of a request as the replica gets it, or the status it is refused with. Node's parser has refused
 * what is no HTTP; this refuses what two readers could take for two different requests.
 */
export function requestHead(
  request: IncomingMessage,
  trusting = false,
  upgrade = false,
): RequestHead | 400 | 414 | 431 {
  const raw = request.rawHeaders;
  const minor = request.httpVersionMinor;
  let url = request.url ?? "";
  if (url.length > MAX_URL) return 414;
  if (raw.length > 2 * MAX_HEADERS) return 431;
  if (request.httpVersionMajor !== 1 || minor > 1) return 400;
  let authority = "";
  if (url.charCodeAt(0) !== SLASH) {
    const whole = /^https?:\/\/([^/?#]+)([/?][^#]*)?$/i.exec(url);
    if (whole) {
      // RFC 9112, 3.2.2: what the target says goes before what Host says.
      authority = whole[1]!;
      const rest = whole[2] ?? "/";
      url = rest.startsWith("/") ? rest : `/${rest}`;
    } else if (url !== "*" || request.method !== "OPTIONS") return 400;
  } else if (url.includes("#")) return 400;
  const named = namedBy(raw);
  let text = "";
  let body: Body = "none";
  let length = 0;
  let host: string | undefined;
  let from = request.socket.remoteAddress ?? "";
  let proto = "";
  let toHost = "";
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]!;
    const value = raw[i + 1]!;
    switch (isHop(name)) {
      case OTHER:
        if (named?.includes(name.toLowerCase())) continue;
        break;
      case HOST:
        if (host !== undefined) return 400;
        host = authority || value;
        continue;
      case LENGTH:
        // Node's parser admits digits only, and one such header: no `+5`, no list, no second one.
        if (value.length > 1 && value.charCodeAt(0) === ZERO) return 400;
        length = Number(value);
        if (length > 0) body = "length";
        break;
      case EXPECT:
        break;
      case ENCODING:
        // Another coding, or two of them, would be lost on the way; HTTP/1.0 knows none.
        if (value.toLowerCase() !== "chunked" || minor === 0) return 400;
        body = "chunked";
        continue;
      case FORWARDED_FOR:
        from = `${value}, ${from}`;
        continue;
      case FORWARDED:
        if (!trusting) continue;
        if (name.length === 17) proto ||= value;
        else if (name.toLowerCase() === "x-forwarded-host") toHost ||= value;
        else break;
        continue;
      default:
        continue;
    }
    text += `${name}: ${value}\r\n`;
  }
  if (host === undefined) host = authority || (minor === 0 ? "localhost" : "");
  if (host !== goodHost) {
    if (!HOST_SHAPE.test(host)) return 400;
    goodHost = host;
  }
  if (body === "chunked") text += "transfer-encoding: chunked\r\n";
  if (upgrade) text += "connection: upgrade\r\nupgrade: websocket\r\n";
  text =
    `${request.method} ${url} HTTP/1.1\r\nhost: ${host}\r\n${text}x-forwarded-for: ${from}\r\n` +
    `x-forwarded-proto: ${proto || "http"}\r\nx-forwarded-host: ${toHost || host}\r\n\r\n`;
  return { text, body, length };
}

const SLASH = 47;
const ZERO = 48;

/** What the Connection headers name, but for `keep-alive` alone, which is what nearly all of them say. */
function namedBy(raw: string[]): string[] | undefined {
  let named: string[] | undefined;
  for (let i = 0; i < raw.length; i += 2) {
    if (isHop(raw[i]!) === CONNECTION && raw[i + 1]!.toLowerCase() !== "keep-alive")
      named = [...(named ?? []), ...list(raw[i + 1]!)];
  }
  return named;
}

/** Trailers without those that only a head may have: RFC 9110, 6.5.1. */
export function plainTrailers(raw: string[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i < raw.length; i += 2)
    if (isHop(raw[i]!) === OTHER && !HEAD_ONLY.has(raw[i]!.toLowerCase())) kept.push(raw[i]!, raw[i + 1]!);
  return kept;
}

/** Routing, authority and content of a message, which nobody may change after it was acted on. */
const HEAD_ONLY = new Set([
  "authorization",
  "cookie",
  "set-cookie",
  "content-encoding",
  "content-type",
  "content-range",
  "trailer",
]);

/** Whether a request is a WebSocket handshake as RFC 6455, 4.1 has it: only then may the protocol change. */
export function asksForWebSocket(request: IncomingMessage): boolean {
  if (request.method !== "GET" || request.httpVersion !== "1.1") return false;
  const raw = request.rawHeaders;
  let offers = 0;
  let tied = false;
  for (let i = 0; i < raw.length; i += 2) {
    const kind = isHop(raw[i]!);
    // Bytes of a body would be the first ones of the tunnel.
    if (kind === ENCODING || (kind === LENGTH && raw[i + 1] !== "0")) return false;
    if (kind === CONNECTION) tied ||= list(raw[i + 1]!).includes("upgrade");
    if (raw[i]!.toLowerCase() === "upgrade") {
      // `h2c` and the like would open a way past everything the proxy looks at.
      if (raw[i + 1]!.toLowerCase() !== "websocket") return false;
      offers++;
    }
  }
  return tied && offers === 1;
}
