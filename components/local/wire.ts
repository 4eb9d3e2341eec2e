import { CONNECTION, ENCODING, isHop, LENGTH, list, OTHER, plainTrailers, without } from "./headers";

/** An upstream's answer up to its body. `raw` is name, value, name, value … without hop-by-hop headers. */
export interface Head {
  status: number;
  message: string;
  raw: string[];
}

/** Told of an answer as it is read. Slices are only valid during the call. */
export interface Sink {
  /** Also called for 1xx, any number of times before the final head. */
  head(head: Head): void;
  data(chunk: Buffer, start: number, end: number, last: boolean): void;
  /** The answer is complete, `reusable` where the connection can take another request. */
  end(trailers: string[], reusable: boolean): void;
}

/** Reads the answers of one connection. */
export interface Reader {
  /** Gets ready for the answer to a request of this method; only with `upgrade` may that be a 101, all after which is data. */
  begin(method: string, upgrade?: boolean): void;
  /** Throws where the bytes are no HTTP/1.1. */
  feed(chunk: Buffer, length: number): void;
  /** The connection ended: true where that was the end of the answer. */
  eof(): boolean;
  /** Whether an answer is under way. */
  busy(): boolean;
}

/** Most bytes a head or a trailer may have: four times what Node takes in a request. */
const MAX_HEAD = 64 * 1024;
/** Most bytes of a chunk's size line, extensions included. */
const MAX_SIZE_LINE = 1024;
/** As many as a request may have headers. */
const MAX_TRAILERS = 100;
const END_OF_HEAD = Buffer.from("\r\n\r\n");
const NO_TRAILERS: string[] = [];

type Mode = "idle" | "head" | "length" | "eof" | "size" | "chunk" | "chunk-end" | "trailer";

/** Makes a reader of HTTP/1.1 answers: strict about framing, since a wrong guess would mix two answers up. */
export function createReader(sink: Sink): Reader {
  let mode: Mode = "idle";
  let method = "";
  let upgrade = false;
  let keep = true;
  let left = 0;
  let rest: Buffer | undefined;
  let line = "";
  let trailers = NO_TRAILERS;

  const finish = (reusable: boolean): void => {
    mode = "idle";
    sink.end(trailers === NO_TRAILERS ? trailers : plainTrailers(trailers), reusable);
  };

  const readHead = (chunk: Buffer, from: number, length: number): number => {
    const stop = chunk.indexOf(END_OF_HEAD, from);
    if (stop < 0 || stop >= length - 3) {
      if (length - from > MAX_HEAD) throw new Error("its head is too long");
      rest = Buffer.from(chunk.subarray(from, length));
      return length;
    }
    if (stop - from > MAX_HEAD) throw new Error("its head is too long");
    const framing = parseHead(chunk.toString("latin1", from, stop), method);
    const { status } = framing.head;
    if (status === 101 && !upgrade) throw new Error("it changes to a protocol nobody asked for");
    sink.head(framing.head);
    if (status < 200 && status !== 101) return stop + 4;
    keep = framing.keep;
    left = framing.length;
    trailers = NO_TRAILERS;
    mode = framing.body;
    if (mode === "idle") finish(keep && stop + 4 === length);
    return stop + 4;
  };

  const readBody = (chunk: Buffer, from: number, length: number): number => {
    const to = mode === "eof" ? length : Math.min(length, from + left);
    left -= to - from;
    const last = mode === "length" && left === 0;
    sink.data(chunk, from, to, last);
    if (last) finish(keep && to === length);
    else if (mode === "chunk" && left === 0) mode = "chunk-end";
    return to;
  };

  const readLine = (chunk: Buffer, from: number, length: number, limit: number): number => {
    const newline = chunk.indexOf(10, from);
    const to = newline < 0 || newline >= length ? length : newline + 1;
    line += chunk.toString("latin1", from, to);
    if (line.length > limit) throw new Error("a line of its chunked body is too long");
    return to;
  };

  const readFrame = (chunk: Buffer, from: number, length: number): number => {
    const to = readLine(chunk, from, length, mode === "trailer" ? MAX_HEAD : MAX_SIZE_LINE);
    if (!line.endsWith("\n")) return to;
    if (!line.endsWith("\r\n")) throw new Error("a line of its chunked body ends without CR");
    const text = line.slice(0, -2);
    line = "";
    if (mode === "chunk-end") {
      if (text !== "") throw new Error("a chunk is longer than it says");
      mode = "size";
    } else if (mode === "size") {
      const size = /^([0-9a-f]{1,12})[ \t]*(?:;.*)?$/i.exec(text)?.[1];
      if (size === undefined) throw new Error("the size of a chunk is no number");
      left = Number.parseInt(size, 16);
      mode = left === 0 ? "trailer" : "chunk";
    } else if (text === "") {
      finish(keep && to === length);
    } else {
      trailers = trailers === NO_TRAILERS ? [] : trailers;
      addField(trailers, text);
      if (trailers.length > 2 * MAX_TRAILERS) throw new Error("it has too many trailers");
    }
    return to;
  };

  return {
    begin: (of, asks = false) => {
      method = of;
      upgrade = asks;
      mode = "head";
      rest = undefined;
      line = "";
    },
    feed: (bytes, count) => {
      let chunk = bytes;
      let length = count;
      if (rest) {
        chunk = Buffer.concat([rest, bytes.subarray(0, count)]);
        length = chunk.length;
        rest = undefined;
      }
      let at = 0;
      while (at < length && mode !== "idle") {
        if (mode === "head") at = readHead(chunk, at, length);
        else if (mode === "length" || mode === "eof" || mode === "chunk") at = readBody(chunk, at, length);
        else at = readFrame(chunk, at, length);
      }
    },
    eof: () => {
      if (mode !== "eof") return false;
      finish(false);
      return true;
    },
    busy: () => mode !== "idle",
  };
}

interface Framing {
  head: Head;
  body: "idle" | "length" | "eof" | "size";
  length: number;
  keep: boolean;
}

function parseHead(text: string, method: string): Framing {
  const minor = text.charCodeAt(7) - 48;
  const status = statusOf(text);
  let eol = text.indexOf("\r\n");
  if (eol < 0) eol = text.length;
  if (!text.startsWith("HTTP/1.") || (minor !== 0 && minor !== 1) || !(status >= 100 && status <= 599)) {
    throw new Error("it does not begin with an HTTP/1.1 status line");
  }
  const message = text.slice(13, eol);
  const raw: string[] = [];
  let keep = minor === 1;
  let length: string | undefined;
  let chunked = false;
  let named: string[] | undefined;
  while (eol < text.length) {
    const start = eol + 2;
    eol = text.indexOf("\r\n", start);
    if (eol < 0) eol = text.length;
    const colon = text.indexOf(":", start);
    if (colon <= start || colon > eol) throw new Error("a header line has no name");
    // A space before the name continues the line above (folding), one behind it hides the name from some readers.
    if (text.charCodeAt(start) <= 32 || text.charCodeAt(colon - 1) <= 32) {
      throw new Error("a header's name has spaces around it");
    }
    const name = text.slice(start, colon);
    const value = text.slice(text.charCodeAt(colon + 1) === 32 ? colon + 2 : colon + 1, eol).trim();
    const kind = isHop(name);
    if (kind === CONNECTION) {
      const tokens = value.toLowerCase();
      if (tokens === "close") keep = false;
      else if (tokens !== "keep-alive") {
        named = [...(named ?? []), ...list(tokens)];
        if (named.includes("close")) keep = false;
      }
    } else if (kind === ENCODING) {
      if (chunked || minor === 0 || value.toLowerCase() !== "chunked")
        throw new Error("its body has an unknown coding");
      chunked = true;
    } else if (kind === LENGTH) {
      if (!/^\d{1,15}$/.test(value)) throw new Error("its length is no number");
      if (length !== undefined && length !== value) throw new Error("it has two lengths");
      if (length === undefined) raw.push(name, value);
      length = value;
    } else if (kind === OTHER) raw.push(name, value);
  }
  if (chunked && length !== undefined) throw new Error("it has both a length and chunks");
  const head = { status, message, raw: named ? without(raw, named) : raw };
  if (status === 101) return { head, body: "eof", length: 0, keep: false };
  if (method === "HEAD" || status === 204 || status === 304 || status < 200 || length === "0") {
    return { head, body: "idle", length: 0, keep };
  }
  if (chunked) return { head, body: "size", length: 0, keep };
  if (length !== undefined) return { head, body: "length", length: Number(length), keep };
  return { head, body: "eof", length: 0, keep: false };
}

/** The three digits between two spaces, or NaN: `Number` alone would read `2e2` too. */
function statusOf(text: string): number {
  const end = text.charCodeAt(12);
  if (text.charCodeAt(8) !== 32 || (end !== 32 && end !== 13 && !Number.isNaN(end))) return Number.NaN;
  const code = text.slice(9, 12);
  return /^\d{3}$/.test(code) ? Number(code) : Number.NaN;
}

function addField(into: string[], text: string): void {
  const colon = text.indexOf(":");
  if (colon <= 0) throw new Error("a trailer has no name");
  into.push(text.slice(0, colon), text.slice(colon + 1).trim());
}
