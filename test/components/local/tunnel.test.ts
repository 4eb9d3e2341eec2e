import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import {
  allBlue,
  allGreen,
  ask,
  dial,
  front,
  gate,
  held,
  pause,
  raw,
  replica,
  serve,
  tidy,
  until,
} from "./rig";

afterEach(tidy);

const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
/** RFC 6455, 1.3: what a server answers to a key, and its example. */
const accept = (key: string): string =>
  createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
const shake = (path = "/", more = ""): string =>
  `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n` +
  `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${KEY}\r\n${more}\r\n`;

/** A text frame as a client sends it: short, and masked. RFC 6455, 5.2. */
function frame(text: string): string {
  const mask = [1, 2, 3, 4];
  const masked = [...Buffer.from(text)].map((byte, i) => byte ^ mask[i % 4]!);
  return Buffer.from([0x81, 0x80 | masked.length, ...mask, ...masked]).toString("latin1");
}

/** A replica that takes WebSockets: what it hears goes back as it is, be that a frame or not. */
async function peer(
  name = "blue",
  onSocket: (socket: Socket) => void = (socket) => void socket.pipe(socket),
) {
  const seen: IncomingMessage[] = [];
  const server = createServer((_request, response) => void response.end(name));
  server.on("upgrade", (request, socket, first) => {
    seen.push(request);
    socket.on("error", () => undefined);
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        `Sec-WebSocket-Accept: ${accept(request.headers["sec-websocket-key"] ?? "")}\r\nX-Peer: ${name}\r\n\r\n`,
    );
    if (first.length > 0) socket.unshift(first);
    onSocket(socket as Socket);
  });
  return { ...(await serve(server)), seen };
}

async function open(port: number, path?: string, more?: string) {
  const line = await dial(port, shake(path, more), true);
  await line.hears("\r\n\r\n");
  return line;
}

describe("WebSocket", () => {
  it("is joined to the slot's replica once that has agreed, and frames go both ways as they are", async () => {
    assert.equal(accept(KEY), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    const { proxy, port } = await front();
    const blue = await peer();
    proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
    const { socket, heard, hears } = await open(port, "/chat?room=1");
    assert.match(heard(), /^HTTP\/1\.1 101 Switching Protocols\r\n/);
    for (const header of [
      `Sec-WebSocket-Accept: ${accept(KEY)}`,
      "x-sluice-slot: blue",
      "upgrade: websocket",
    ])
      assert.ok(heard().includes(header), header);
    assert.equal(blue.seen[0]?.url, "/chat?room=1");
    assert.equal(blue.seen[0]?.headers["x-forwarded-for"], "127.0.0.1");
    for (let i = 0; i < 20; i++) {
      socket.write(frame(`message ${i}`), "latin1");
      await hears(frame(`message ${i}`));
    }
    assert.equal(proxy.inFlight("blue"), 1);
    socket.end();
    await until(() => proxy.inFlight("blue") === 0);
  });

  it("lets one side go on where the other has said all, whichever that is", async () => {
    const { proxy, port } = await front();
    let up = "";
    const blue = await peer("blue", (socket) => {
      socket.on("data", (chunk) => {
        up += chunk;
        if (up.includes("you first")) socket.end("bye");
      });
      // `allowHalfOpen` is what Node's HTTP server gives its connections.
      socket.on("end", () => socket.writable && socket.end("after you"));
    });
    proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
    const first = await open(port);
    first.socket.end("I have said all");
    assert.match(await first.ended, /after you$/);
    const second = await open(port);
    second.socket.write("you first");
    assert.match(await second.ended, /bye$/);
    second.socket.write("still here");
    await until(() => up.includes("still here"));
    second.socket.end();
    await until(() => proxy.inFlight("blue") === 0);
  });

  it("sends the replica nothing of the client's before that has agreed", async () => {
    const { proxy, port } = await front();
    const { opened, open: agree } = gate();
    let seen = "";
    const blue = await raw((socket) => {
      socket.on("data", (chunk) => {
        seen += chunk;
      });
      opened.then(() =>
        socket.write("HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nhi"),
      );
    });
    proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
    const { socket, hears } = await dial(port, `${shake()}GET /smuggled HTTP/1.1\r\n\r\n`);
    await until(() => seen.includes("\r\n\r\n"));
    socket.write("more");
    await pause(30);
    assert.ok(seen.endsWith("\r\n\r\n") && !seen.includes("smuggled"));
    agree();
    await hears("\r\n\r\nhi");
    await until(() => seen.endsWith("GET /smuggled HTTP/1.1\r\n\r\nmore"));
  });

  it("keeps no more of an eager client than it has to before the replica has agreed", async () => {
    const { proxy, port } = await front({ timeouts: { answerMs: 400 } });
    const blue = await raw(() => undefined);
    proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
    const { socket, ended } = await dial(port, shake());
    await until(() => proxy.inFlight("blue") === 1);
    socket.write(Buffer.alloc(16 * 1024 * 1024));
    let left = 0;
    for (let same = 0; same < 10; same++) {
      if (socket.writableLength !== left) same = 0;
      left = socket.writableLength;
      await pause(10);
    }
    assert.ok(left > 0, "everything was taken");
    await ended;
    assert.equal(proxy.inFlight("blue"), 0);
  });

  it("hands on a refusal, and no byte of a tunnel after it", async () => {
    const { proxy, port, metrics } = await front();
    let seen = "";
    const blue = await raw((socket) => {
      socket.on("data", (chunk) => {
        seen += chunk;
        socket.write("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\nX-Why: version\r\n\r\nno");
      });
    });
    proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
    const answer = await (await dial(port, `${shake()}GET /smuggled HTTP/1.1\r\n\r\n`)).ended;
    assert.match(answer, /^HTTP\/1\.1 426 [\s\S]*X-Why: version\r\n[\s\S]*connection: close\r\n\r\nno$/i);
    assert.doesNotMatch(seen, /smuggled/);
    assert.match(await metrics.text(), /slot="blue",code="426"\} 1$/m);
    assert.equal(proxy.inFlight("blue"), 0);
  });

  it("is no WebSocket unless the whole handshake is one", async () => {
    const { proxy, port } = await front();
    const blue = await peer();
    proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
    const lines = (method: string, ...more: string[]): string =>
      [`${method} / HTTP/1.1`, "Host: a", ...more, "", ""].join("\r\n");
    const [tied, offers] = ["Connection: upgrade", "Upgrade: websocket"];
    for (const text of [
      lines("GET", offers),
      lines("GET", tied, "Upgrade: h2c"),
      lines("GET", tied, offers, "Upgrade: h2c"),
      lines("GET", tied, "Upgrade: websocket, h2c"),
      `${lines("GET", tied, offers, "Content-Length: 5")}hello`,
      `${lines("GET", tied, offers, "Transfer-Encoding: chunked")}0\r\n\r\n`,
      lines("POST", tied, offers, "Content-Length: 0"),
      lines("GET", tied, offers).replace("1.1", "1.0"),
    ]) {
      const { hears } = await dial(port, text);
      assert.match(await hears(/\r\n\r\n[\s\S]*blue/), /^HTTP\/1\.[01] 200 /, text);
    }
    assert.equal(blue.seen.length, 0);
  });

  it("is answered 502 where no replica is to be had, or one says what is no answer, and 503 without one", async () => {
    const { proxy, port, metrics } = await front();
    const dead = await peer();
    await dead.stop();
    const bad = await raw((socket) =>
      socket.once("data", () => socket.end("HTTP/1.1 101 Yes\r\nX-A: a\nSet-Cookie: b=c\r\n\r\n")),
    );
    for (const [upstreams, code] of [
      [[dead], 502],
      [[bad], 502],
      [[], 503],
    ] as const) {
      proxy.route({ split: allBlue, upstreams: { blue: upstreams, green: [] } });
      const answer = await (await dial(port, shake())).ended;
      assert.match(answer, new RegExp(`^HTTP/1\\.1 ${code} `));
      assert.doesNotMatch(answer, /set-cookie/i);
    }
    assert.deepEqual(metrics.counts("web", "blue"), { requests: 3, errors: 3 });
    const alive = await peer();
    proxy.route({ split: allBlue, upstreams: { blue: [dead, alive, dead], green: [] } });
    assert.match((await open(port)).heard(), /^HTTP\/1\.1 101 /);
  });

  it("counts as one request, by its handshake, however long it stays and however it ends", async () => {
    const { proxy, port, metrics } = await front();
    const sockets: Socket[] = [];
    const blue = await peer("blue", (socket) => void sockets.push(socket));
    proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
    const { ended } = await open(port);
    await until(() => metrics.counts("web", "blue").requests === 1);
    await pause(60);
    const during = await metrics.text();
    assert.match(during, /sluice_in_flight\{service="web",slot="blue"\} 1/);
    sockets[0]?.resetAndDestroy();
    await ended;
    await until(() => proxy.inFlight("blue") === 0);
    const after = await metrics.text();
    assert.match(after, /sluice_in_flight\{service="web",slot="blue"\} 0/);
    assert.match(after, /sluice_requests_total\{service="web",slot="blue",code="101"\} 1/);
    assert.match(after, /duration_seconds_count\{service="web",slot="blue"\} 1/);
    const seconds = Number(/duration_seconds_sum\{service="web",slot="blue"\} (\S+)/.exec(after)?.[1]);
    assert.ok(seconds < 0.06, `${seconds} s`);
    assert.equal(metrics.counts("web", "blue").errors, 0);
  });

  for (const way of ["to the client", "to the replica"]) {
    it(`takes no more than the other side takes (${way})`, async () => {
      const { proxy, port } = await front();
      let far: Socket | undefined;
      const blue = await peer("blue", (socket) => {
        far = socket.pause();
      });
      proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
      const { socket } = await open(port);
      const [from, to] = way === "to the client" ? [far!, socket] : [socket, far!];
      to.pause();
      const megabyte = Buffer.alloc(1024 * 1024);
      const before = held();
      let taken = 0;
      for (let stalled = false; taken < 64 && !stalled; ) {
        if (from.write(megabyte)) taken++;
        else {
          const drained = new Promise<boolean>((resolve) => from.once("drain", () => resolve(true)));
          stalled = !(await Promise.race([drained, pause(400)]));
          if (!stalled) taken++;
        }
      }
      assert.ok(taken < 48, `${taken} MB were taken although nobody read`);
      const bytes = held() - before;
      assert.ok(bytes < 16 * megabyte.length, `${bytes} bytes held`);
      let got = 0;
      to.on("data", (chunk: Buffer) => {
        got += chunk.length;
      }).resume();
      await until(() => got >= taken * megabyte.length);
      socket.destroy();
    });
  }

  it("carries megabytes both ways at once, unharmed", async () => {
    const { proxy, port } = await front();
    proxy.route({ split: allBlue, upstreams: { blue: [await peer()], green: [] } });
    const { socket } = await open(port);
    const sent = randomBytes(8 * 1024 * 1024 + 7);
    const back: Buffer[] = [];
    socket.on("data", (chunk: Buffer) => back.push(chunk));
    socket.end(sent);
    await new Promise((resolve) => socket.on("end", resolve));
    assert.ok(Buffer.concat(back).equals(sent));
  });

  it("stays on its slot whatever the route says by then, and new ones go where that says", async () => {
    const { proxy, port } = await front();
    const [blue, green] = [await peer("blue"), await peer("green")];
    const upstreams = { blue: [blue], green: [green] };
    proxy.route({ split: allBlue, upstreams });
    const first = await open(port);
    proxy.route({ split: allGreen, upstreams });
    assert.match((await open(port)).heard(), /X-Peer: green/);
    first.socket.write("hello");
    await first.hears(/X-Peer: blue[\s\S]*hello/);
  });

  it("is ended at the drain's deadline with all that is in flight on the replica, and nothing else is", async () => {
    const { proxy, port } = await front();
    const [old, young] = [await peer("old"), await peer("young")];
    proxy.route({ split: allBlue, upstreams: { blue: [old], green: [] } });
    const leaving = await open(port);
    const never = gate();
    const stream = await replica(async (_request, response) => {
      response.write("some");
      await never.opened;
    });
    proxy.route({ split: allBlue, upstreams: { blue: [stream], green: [] } });
    const half = ask(port).then(
      () => "whole",
      () => "broken off",
    );
    await until(() => proxy.inFlight("blue") === 2);
    // The slot holds new content by now.
    proxy.route({ split: allBlue, upstreams: { blue: [young], green: [] } });
    const staying = await open(port);
    assert.equal(await proxy.drained("blue", 20, [old.port]), false);
    assert.equal(await proxy.drained("blue", 20, [stream.port]), false);
    assert.equal(proxy.cut("blue", [old.port, stream.port]), 2);
    await leaving.ended;
    assert.equal(await half, "broken off");
    assert.equal(proxy.inFlight("blue"), 1);
    staying.socket.write("still here");
    await staying.hears("still here");
    assert.equal(await proxy.drained("blue", 0, [old.port]), true);
    never.open();
  });

  it("does not hold up the end of the proxy beyond its deadline", async () => {
    const { proxy, port, metrics } = await front();
    proxy.route({ split: allBlue, upstreams: { blue: [await peer()], green: [] } });
    const { ended } = await open(port);
    await proxy.close(50);
    await ended;
    assert.deepEqual(metrics.counts("web", "blue"), { requests: 1, errors: 0 });
  });

  it("is cut off where a client takes nothing of it for too long", async () => {
    const { proxy, port } = await front({ timeouts: { sendMs: 100 } });
    const blue = await peer("blue", (socket) => void socket.write(Buffer.alloc(32 * 1024 * 1024)));
    proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
    const { socket } = await open(port);
    socket.pause();
    await until(() => proxy.inFlight("blue") === 0);
  });
});
