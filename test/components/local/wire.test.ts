import assert from "node:assert/strict";
import fc from "fast-check";
import { createReader } from "../../../components/local/wire";

interface Read {
  status: number[];
  raw: string[];
  body: string;
  trailers: string[];
  ended: boolean[];
  error?: string;
}

/** Feeds an answer cut at the given places. */
function read(answer: string, method: string, cuts: number[], eof = false): Read {
  const got: Read = { status: [], raw: [], body: "", trailers: [], ended: [] };
  const reader = createReader({
    head: (head) => {
      got.status.push(head.status);
      got.raw = head.raw;
    },
    data: (chunk, start, end) => {
      got.body += chunk.toString("latin1", start, end);
    },
    end: (trailers, reusable) => {
      got.trailers = trailers;
      got.ended.push(reusable);
    },
  });
  const edges = [
    0,
    ...[...new Set(cuts.map((cut) => cut % answer.length))].sort((a, b) => a - b),
    answer.length,
  ];
  reader.begin(method);
  try {
    for (let i = 1; i < edges.length; i++) {
      const part = Buffer.from(answer.slice(edges[i - 1], edges[i]), "latin1");
      // A buffer longer than what was read, as the shared one is: what lies behind must not be looked at.
      if (part.length > 0) reader.feed(Buffer.concat([part, Buffer.from("\r\n\r\n0\r\n\r\n")]), part.length);
    }
    if (eof) reader.eof();
  } catch (thrown) {
    got.error = String(thrown);
  }
  return got;
}

const answers: [string, string, string, Partial<Read>][] = [
  [
    "a length",
    "GET",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello",
    { body: "hello", ended: [true] },
  ],
  [
    "chunks and trailers",
    "GET",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\nA\r\n, world\r\n!\r\n0\r\nX-Sum: 1\r\n\r\n",
    { body: "hello, world\r\n!", trailers: ["X-Sum", "1"], ended: [true], raw: [] },
  ],
  ["no body for HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", { body: "", ended: [true] }],
  [
    "no body for 304",
    "GET",
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    { body: "", ended: [true] },
  ],
  [
    "1xx before the answer",
    "GET",
    "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
    { status: [103, 204], ended: [true] },
  ],
  [
    "Connection: close",
    "GET",
    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
    { body: "hi", ended: [false] },
  ],
  [
    "headers that Connection names",
    "GET",
    "HTTP/1.1 200 OK\r\nConnection: X-Hop, keep-alive\r\nX-Hop: 1\r\nContent-Length: 2\r\n\r\nhi",
    { raw: ["Content-Length", "2"], ended: [true] },
  ],
  ["HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", { body: "hi", ended: [false] }],
  [
    "the same length twice",
    "GET",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
    { raw: ["Content-Length", "2"], ended: [true] },
  ],
];

const bad: [string, string][] = [
  ["another protocol", "SSH-2.0-OpenSSH_9.2\r\n\r\n"],
  ["HTTP/2", "HTTP/2.0 200 OK\r\n\r\n"],
  ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi!"],
  [
    "length and chunks",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
  ],
  ["a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nhi"],
  ["a list as length", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nhi"],
  ["another coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"],
  ["chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
  ["a folded header", "HTTP/1.1 200 OK\r\nX-A: b\r\n c: d\r\nContent-Length: 0\r\n\r\n"],
  ["a header without a name", "HTTP/1.1 200 OK\r\n: b\r\n\r\n"],
  ["a header without a colon", "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"],
  [
    "a chunk size that is none",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
  ],
  [
    "a chunk longer than it says",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n",
  ],
  ["a bare LF in the framing", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5 \nhello\r\n0\r\n\r\n"],
  ["an unasked upgrade", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"],
  ["an endless head", `HTTP/1.1 200 OK\r\nX-A: ${"a".repeat(70_000)}\r\n\r\n`],
];

describe("wire", () => {
  for (const [what, method, answer, want] of answers) {
    it(`reads ${what}, wherever the packets are cut`, () => {
      fc.assert(
        fc.property(fc.array(fc.nat()), (cuts) => {
          const got = read(answer, method, cuts);
          assert.equal(got.error, undefined);
          for (const [key, value] of Object.entries(want))
            assert.deepEqual(got[key as keyof Read], value, key);
        }),
        { numRuns: 200, examples: [[[]], [Array.from({ length: answer.length }, (_, i) => i)]] },
      );
    });
  }

  it("reads a body without a length until the connection ends, and takes it for broken otherwise", () => {
    const answer = "HTTP/1.1 200 OK\r\n\r\nhello";
    assert.deepEqual(read(answer, "GET", [20], true).ended, [false]);
    assert.deepEqual(read(answer, "GET", [20], false).ended, []);
    assert.deepEqual(read("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", "GET", [], true).ended, []);
  });

  it("does not use a connection again that said more than its answer", () => {
    assert.deepEqual(read("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi!", "GET", []).ended, [false]);
    assert.deepEqual(read("HTTP/1.1 204 No\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "GET", []).ended, [false]);
  });

  for (const [what, answer] of bad) {
    it(`refuses ${what}`, () => {
      assert.ok(read(answer, "GET", []).error);
      const everywhere = Array.from({ length: Math.min(answer.length, 200) }, (_, i) => i);
      assert.ok(read(answer, "GET", everywhere).error);
    });
  }
});
