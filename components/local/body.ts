import { plainTrailers } from "./headers";
import { type Exchange, fail } from "./lane";

/** Sends the replica the body as the client sends it, and no faster than the replica takes it. */
export function sendBody(ex: Exchange): void {
  if (ex.bodyBegun || ex.done) return;
  ex.bodyBegun = true;
  ex.sentAt = performance.now();
  const { request, body, lane } = ex;
  if (ex.asks && !ex.headed) ex.response.writeContinue();
  request.on("data", (chunk: Buffer) => {
    const socket = ex.connection?.socket;
    if (!socket) return;
    ex.sentAt = performance.now();
    ex.bodyBytes += chunk.length;
    if (ex.bodyBytes > lane.rules.bodyBytes) return fail(ex, 413);
    if (body === "chunked") {
      socket.cork();
      socket.write(`${chunk.length.toString(16)}\r\n`, "latin1");
      socket.write(chunk);
      const more = socket.write("\r\n", "latin1");
      socket.uncork();
      if (!more) request.pause();
    } else if (!socket.write(chunk)) request.pause();
  });
  request.on("end", () => {
    ex.bodySent = true;
    ex.sentAt = performance.now();
    if (body === "chunked") ex.connection?.socket.write(lastChunk(request.rawTrailers), "latin1");
  });
}

function lastChunk(raw: string[]): string {
  const trailers = plainTrailers(raw);
  let text = "0\r\n";
  for (let i = 0; i < trailers.length; i += 2) text += `${trailers[i]}: ${trailers[i + 1]}\r\n`;
  return `${text}\r\n`;
}
