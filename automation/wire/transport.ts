import { type IncomingHttpHeaders, type IncomingMessage, request as overHttp } from "node:http";
import { request as overHttps, type RequestOptions } from "node:https";
import { SourceMalformed } from "./exposition";

/** What came, whatever it says. */
export interface Reply {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
}

/** Largest answer in bytes, where nobody says. */
const MAX_BYTES = 4 * 1024 * 1024;

/**
 * Asks once, straight: over no proxy, and after no redirect. Throws what the connection throws, and `source-malformed`
 * naming `where` for an answer of more than so many bytes, while it still comes.
 */
export async function send(
  address: URL,
  how: RequestOptions,
  body: string | undefined,
  { where, maxBytes = MAX_BYTES }: { where: string; maxBytes?: number | undefined },
): Promise<Reply> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const request = address.protocol === "https:" ? overHttps : overHttp;
    request(address, { ...how, agent: false }, resolve)
      .on("error", reject)
      .end(body);
  });
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) throw SourceMalformed(where, `it is larger than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString("utf8");
  return { status: response.statusCode ?? 0, headers: response.headers, text };
}

/** JSON, or `undefined` for what is none. */
export function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
