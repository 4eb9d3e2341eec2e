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
    case 10:
      return is(name, "connection", CONNECTION) || is(name, "keep-alive", DROPPED);
    case 13:
      return is(name, "x-sluice-slot", DROPPED);
    case 14:
      return is(name, "content-length", LENGTH);
    case 15:
      return is(name, "x-forwarded-for", FORWARDED_FOR);
    case 16:
      return is(name, "proxy-connection", DROPPED) || is(name, "x-forwarded-host", DROPPED);
    case 17:
      return is(name, "transfer-encoding", ENCODING) || is(name, "x-forwarded-proto", DROPPED);
    case 18:
      return is(name, "proxy-authenticate", DROPPED);
    case 19:
      return is(name, "proxy-authorization", DROPPED);
    default:
      return OTHER;
  }
}

function is(name: string, known: string, kind: number): number {
  return name === known || name.toLowerCase() === known ? kind : OTHER;
}

/** How the body of a request is framed. */
export type Body = "none" | "length" | "chunked";

/** The head to send upstream, and how the body after it is framed. */
export function requestHead(request: IncomingMessage): { text: string; body: Body } {
  const raw = request.rawHeaders;
  let text = `${request.method} ${request.url} HTTP/1.1\r\n`;
  let body: Body = "none";
  let host = "";
  let forwarded = request.socket.remoteAddress ?? "";
  let named: string[] | undefined;
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]!;
    if (isHop(name) === CONNECTION && raw[i + 1]!.toLowerCase() !== "keep-alive") {
      named = [...(named ?? []), ...list(raw[i + 1]!)];
    }
  }
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]!;
    const value = raw[i + 1]!;
    switch (isHop(name)) {
      case OTHER:
        if (named?.includes(name.toLowerCase())) continue;
        break;
      case HOST:
        host = value;
        break;
      case LENGTH:
        if (value !== "0" && body === "none") body = "length";
        break;
      case EXPECT:
        break;
      case ENCODING:
        body = "chunked";
        continue;
      case FORWARDED_FOR:
        forwarded = `${value}, ${forwarded}`;
        continue;
      default:
        continue;
    }
    text += `${name}: ${value}\r\n`;
  }
  if (host === "") text += "host: localhost\r\n";
  if (body === "chunked") text += "transfer-encoding: chunked\r\n";
  text += `x-forwarded-for: ${forwarded}\r\nx-forwarded-proto: http\r\nx-forwarded-host: ${host}\r\n\r\n`;
  return { text, body };
}
