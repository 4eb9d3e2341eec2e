import assert from "node:assert/strict";
import { createServer, type IncomingMessage } from "node:http";
import { allBlue, ask, dial, front, raw, replica, serve, tidy, until } from "./rig";

afterEach(tidy);

const SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
const post = (lines: string, body = ""): string => `POST / HTTP/1.1\r\nHost: a\r\n${lines}\r\n\r\n${body}`;
const get = (target: string, lines = "Host: a"): string => `GET ${target} HTTP/1.1\r\n${lines}\r\n\r\n`;
const chunked = (body: string): string => post("Transfer-Encoding: chunked", body);

/** Two readers could take each of these for two different requests. */
const malformed: Record<string, string> = {
  "a length and chunks": post("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
  "chunks and a length": post("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n"),
  "the same length twice": post("Content-Length: 5\r\nContent-Length: 5", "hello"),
  "two lengths": post("Content-Length: 5\r\nContent-Length: 0", "hello"),
  "a length with a sign": post("Content-Length: +5", "hello"),
  "a negative length": post("Content-Length: -5", "hello"),
  "a list of lengths": post("Content-Length: 5, 5", "hello"),
  "a length in hex": post("Content-Length: 0x5", "hello"),
  "a length with leading zeros": post("Content-Length: 010", "hellohello"),
  "an empty length": post("Content-Length: ", "hello"),
  "a length beyond all numbers": post("Content-Length: 99999999999999999999999", "hello"),
  "a coding before chunked": post("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"),
  "a coding after chunked": post("Transfer-Encoding: chunked, identity", "0\r\n\r\n"),
  "chunked twice in a line": post("Transfer-Encoding: chunked, chunked", "0\r\n\r\n"),
  "chunked twice": post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
  "two codings": post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "0\r\n\r\n"),
  "no coding": post("Transfer-Encoding: identity", "0\r\n\r\n"),
  "an empty coding": post("Transfer-Encoding: ", "0\r\n\r\n"),
  "a coding that looks alike": post("Transfer-Encoding: xchunked", "0\r\n\r\n"),
  "a coding behind a control character": post("Transfer-Encoding: \x0bchunked", "0\r\n\r\n"),
  "a coding that a space hides": post("Transfer-Encoding : chunked", "0\r\n\r\n"),
  "a folded coding": post("Transfer-Encoding:\r\n chunked", "0\r\n\r\n"),
  "chunks in HTTP/1.0": "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
  "a space before the colon": get("/", "Host: a\r\nX-A : b"),
  "a folded header": get("/", "Host: a\r\nX-A: b\r\n c: d"),
  "a space before the first header": get("/", " Host: a\r\nHost: b"),
  "bare line feeds": "GET / HTTP/1.1\nHost: a\n\n",
  "one bare line feed": get("/", "Host: a\nX-A: b"),
  "a head that ends in a bare line feed": "GET / HTTP/1.1\r\nHost: a\r\n\n",
  "a bare carriage return": get("/", "Host: a\r\nX-A: b\rX-B: c"),
  "a NUL": get("/", "Host: a\r\nX-A: b\0c"),
  "a header without a name": get("/", "Host: a\r\n: b"),
  "a name that is no token": get("/", "Host: a\r\nX(A: b"),
  "no host": get("/", "X-A: b"),
  "an empty host": get("/", "Host: "),
  "two hosts": get("/", "Host: a\r\nHost: b"),
  "the same host twice": get("/", "Host: a\r\nHost: a"),
  "a host with a path": get("/", "Host: a/b"),
  "a host with a user": get("/", "Host: u@a"),
  "a host with a space": get("/", "Host: a b"),
  "a target with a fragment": get("/a#b"),
  "a target that is no path": get("x"),
  "a target for a server as a whole": get("*"),
  "a target with a user": get("http://u@b/"),
  "a target of another protocol": get("ftp://b/"),
  "a target with a control character": get("/\x01"),
  "a target with a byte beyond ASCII": get("/\xe9"),
  "a target with a space": get("/a b"),
  "a tab in the request line": "GET /\tHTTP/1.1\r\nHost: a\r\n\r\n",
  "a method in lower case": "get / HTTP/1.1\r\nHost: a\r\n\r\n",
  "a method nobody knows": "FOO / HTTP/1.1\r\nHost: a\r\n\r\n",
  "HTTP/0.9": "GET /\r\n\r\n",
  "HTTP/0.9 by name": "GET / HTTP/0.9\r\nHost: a\r\n\r\n",
  "HTTP/1.2": "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
  "HTTP/2": "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
  "the preface of HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
};

/** Here the head has been handed on already, but never an end of the body. */
const bodies: Record<string, string> = {
  "a chunk size that is none": chunked("zz\r\nhello\r\n0\r\n\r\n"),
  "a chunk size with a prefix": chunked("0x5\r\nhello\r\n0\r\n\r\n"),
  "a negative chunk size": chunked("-1\r\nhello\r\n0\r\n\r\n"),
  "a chunk size with a space": chunked("5 \r\nhello\r\n0\r\n\r\n"),
  "a chunk size beyond all numbers": chunked("1ffffffffffffffff5\r\nhello\r\n0\r\n\r\n"),
  "a chunk size that ends in a bare line feed": chunked("5\nhello\r\n0\r\n\r\n"),
  "a chunk that is longer than it says": chunked("3\r\nhello\r\n0\r\n\r\n"),
  "a line feed in a chunk's extension": chunked("5;a\nb\r\nhello\r\n0\r\n\r\n"),
  "a length among the trailers": chunked("0\r\nContent-Length: 5\r\n\r\n"),
};

/** A replica that notes what it is sent and answers each head with 200. */
async function noting() {
  let seen = "";
  const made = await raw((socket) => {
    socket.on("data", (chunk) => {
      seen += chunk.toString("latin1");
      if (seen.includes("\r\n\r\n")) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
  });
  return { ...made, seen: () => seen };
}

describe("header hygiene", () => {
  for (const [what, text] of Object.entries(malformed)) {
    it(`answers 400 to ${what}, closes the connection and hands nothing on`, async () => {
      const { proxy, port, metrics } = await front();
      const blue = await noting();
      proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
      const { ended } = await dial(port, text + SMUGGLED);
      assert.match(await ended, /^HTTP\/1\.1 400 [\s\S]*connection: close/i);
      // What comes on a new connection comes after anything that was handed on of this one.
      assert.equal((await ask(port, { path: "/after" })).status, 200);
      assert.match(blue.seen(), /^GET \/after /);
      assert.equal(metrics.counts("web", "blue").requests, 1);
    });
  }

  for (const [what, text] of Object.entries(bodies)) {
    it(`answers 400 to ${what}, and the replica never sees the end of that request`, async () => {
      const { proxy, port, metrics } = await front();
      const ends: string[] = [];
      const blue = await raw((socket) => {
        let seen = "";
        socket.on("data", (chunk) => {
          seen += chunk;
        });
        socket.on("close", () => ends.push(seen));
      });
      proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
      const { ended } = await dial(port, text + SMUGGLED);
      assert.match(await ended, /^HTTP\/1\.1 400 /);
      await until(() => proxy.inFlight("blue") === 0 && ends.length === 1);
      assert.doesNotMatch(ends[0]!, /\r\n0\r\n|smuggled/);
      assert.equal(metrics.counts("web", "blue").errors, 0);
    });
  }

  it("counts what it refuses, and not as the slot's", async () => {
    const { proxy, port, metrics } = await front();
    proxy.route({ split: allBlue, upstreams: { blue: [await noting()], green: [] } });
    await (await dial(port, get("/a#b"))).ended;
    assert.match(await metrics.text(), /sluice_refused_requests_total\{service="web",code="400"\} 1/);
    assert.deepEqual(metrics.counts("web", "blue"), { requests: 0, errors: 0 });
  });

  it("makes a path of an absolute target, which goes before Host", async () => {
    const { proxy, port } = await front();
    const blue = await replica((request, response) => {
      response.end(`${request.url} ${request.headers.host} ${request.headers["x-forwarded-host"]}`);
    });
    proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
    for (const [target, want] of [
      ["http://b:80/x?y", "/x?y b:80 b:80"],
      ["HTTPS://b", "/ b b"],
      ["http://b?q", "/?q b b"],
      ["//b/x", "//b/x a a"],
    ]) {
      const { hears } = await dial(port, get(target!));
      assert.ok((await hears(/\r\n\r\n[\s\S]+/)).includes(want!), want);
    }
  });

  it("hands on OPTIONS of the server as a whole, and gives HTTP/1.0 without Host one", async () => {
    const { proxy, port } = await front();
    const blue = await replica((request, response) => {
      response.end(`${request.method} ${request.url} ${request.headers.host}`);
    });
    proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
    await (await dial(port, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")).hears("OPTIONS * a");
    await (await dial(port, "GET / HTTP/1.0\r\n\r\n")).hears("GET / localhost");
  });

  const forged = {
    "x-forwarded-for": "10.0.0.1",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "evil.test",
    "x-forwarded-port": "443",
    "x-forwarded-server": "evil",
    "x-real-ip": "10.0.0.1",
    forwarded: "for=10.0.0.1",
    x_forwarded_for: "10.0.0.2",
    x_sluice_slot: "green",
    "x-sluice-slot": "green",
  };

  it("believes nothing that the client says about where it comes from, unless the service trusts it", async () => {
    const { proxy, port } = await front();
    let seen: IncomingMessage["headers"] = {};
    const blue = await replica((request, response) => {
      seen = request.headers;
      response.end();
    });
    const route = { split: allBlue, upstreams: { blue: [blue], green: [] } };
    proxy.route(route);
    const headers = { host: "web.test", ...forged };
    await ask(port, { headers });
    const known = Object.keys(forged).filter((name) => seen[name] !== undefined);
    assert.deepEqual(known, ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"]);
    // What this proxy saw itself stands last, where whoever counts from the right finds it.
    assert.equal(seen["x-forwarded-for"], "10.0.0.1, 127.0.0.1");
    assert.deepEqual([seen["x-forwarded-proto"], seen["x-forwarded-host"]], ["http", "web.test"]);

    proxy.route({ ...route, options: { trustForwarded: true } });
    await ask(port, { headers });
    assert.equal(seen["x-forwarded-for"], "10.0.0.1, 127.0.0.1");
    assert.deepEqual([seen["x-forwarded-proto"], seen["x-forwarded-host"]], ["https", "evil.test"]);
    assert.deepEqual([seen.forwarded, seen["x-real-ip"]], ["for=10.0.0.1", "10.0.0.1"]);
    for (const name of ["x_forwarded_for", "x_sluice_slot", "x-sluice-slot"])
      assert.equal(seen[name], undefined);
  });

  it("hands on no header of one hop, nor what Connection names, either way", async () => {
    const { proxy, port } = await front();
    let seen = "";
    const blue = await raw((socket) => {
      socket.on("data", (chunk) => {
        seen += chunk;
        socket.write(
          "HTTP/1.1 200 OK\r\nConnection: X-Own\r\nconnection: keep-alive, X-More\r\nX-Own: 1\r\nX-More: 2\r\n" +
            "Keep-Alive: timeout=9\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\nX-End: 3\r\nContent-Length: 0\r\n\r\n",
        );
      });
    });
    proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
    const hop =
      "Host: a\r\nConnection: X-Hop\r\nconnection: close, X-Hop2, Host, Content-Length\r\nX-Hop: 1\r\nx-hop2: 2\r\n" +
      "TE: trailers\r\nKeep-Alive: 1\r\nProxy-Connection: x\r\nProxy-Authorization: x\r\nUpgrade: h2c\r\n" +
      "HTTP2-Settings: x\r\nX-End: 3";
    const answer = await (await dial(port, get("/", hop))).ended;
    assert.doesNotMatch(seen, /hop|^te:|keep-alive|proxy|upgrade|http2|connection/im);
    assert.match(seen, /^host: a\r\n[\s\S]*X-End: 3\r\n/m);
    assert.doesNotMatch(answer, /x-own|x-more|proxy-|upgrade|timeout=9/i);
    assert.match(answer, /X-End: 3\r\n/);
  });

  it("hands on trailers, but none that belongs into a head", async () => {
    const { proxy, port } = await front();
    let trailers: string[] = [];
    const blue = await replica(async (request, response) => {
      for await (const _chunk of request);
      trailers = request.rawTrailers;
      response.writeHead(200, { trailer: "x-sum" });
      response.write("a");
      response.addTrailers({ "x-sum": "1", host: "evil", "set-cookie": "a=b", "x-sluice-slot": "green" });
      response.end();
    });
    proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
    const { hears } = await dial(
      port,
      chunked("0\r\nX-Sum: 1\r\nHost: evil\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n"),
    );
    const answer = await hears(/x-sum: 1\r\n\r\n$/);
    assert.deepEqual(trailers, ["X-Sum", "1"]);
    assert.doesNotMatch(answer, /evil|set-cookie|green/);
  });

  it("takes no second header for the first one's, and no more bytes than fit", async () => {
    const { proxy, port } = await front();
    const blue = await noting();
    proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
    const many = (count: number): string => Array.from({ length: count }, (_, i) => `h${i}: v`).join("\r\n");
    // Node keeps only the first thousand of them: how long the body is would be forgotten.
    const hidden = post(`${"a:\r\n".repeat(2500)}Transfer-Encoding: chunked`, `0\r\n\r\n${SMUGGLED}`);
    assert.match(await (await dial(port, hidden)).ended, /^HTTP\/1\.1 431 /);
    assert.match(await (await dial(port, get("/", `Host: a\r\n${many(100)}`))).ended, /^HTTP\/1\.1 431 /);
    await (await dial(port, get("/", `Host: a\r\n${many(99)}`))).hears("200 OK");
    const wide = get("/", `Host: a\r\nx: ${"y".repeat(20_000)}`);
    assert.match(await (await dial(port, wide)).ended, /^HTTP\/1\.1 431 /);
    assert.match(await (await dial(port, get(`/${"y".repeat(8192)}`))).ended, /^HTTP\/1\.1 414 /);
    await (await dial(port, get(`/${"y".repeat(8191)}`))).hears("200 OK");
    assert.doesNotMatch(blue.seen(), /smuggled/);
  });

  /** Each of these would put something into an answer that the service did not mean. */
  const answers: Record<string, string> = {
    "a bare line feed in a value": "HTTP/1.1 200 OK\r\nX-A: a\nSet-Cookie: b=c\r\nContent-Length: 0\r\n\r\n",
    "a bare carriage return in a value":
      "HTTP/1.1 200 OK\r\nX-A: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
    "a line feed in the reason": "HTTP/1.1 200 O\nSet-Cookie: b=c\r\nContent-Length: 0\r\n\r\n",
    "a name that is no token": "HTTP/1.1 200 OK\r\nX A: a\r\nContent-Length: 0\r\n\r\n",
    "a status that is none": "HTTP/1.1 2e2 OK\r\nContent-Length: 0\r\n\r\n",
    "a status of four digits": "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "a head beyond 64 KiB": `HTTP/1.1 200 OK\r\nX-A: ${"a".repeat(66_000)}\r\nContent-Length: 0\r\n\r\n`,
    "a length and chunks":
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "another protocol that nobody asked for": "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n",
  };
  for (const [what, answer] of Object.entries(answers)) {
    it(`answers 502 where a replica says ${what}`, async () => {
      const { proxy, port } = await front();
      const blue = await raw((socket) => socket.once("data", () => socket.write(answer, "latin1")));
      proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
      const { status, headers } = await ask(port);
      assert.deepEqual([status, headers["set-cookie"]], [502, undefined]);
    });
  }

  it("answers a request that offers another protocol than WebSocket as if it did not, and closes", async () => {
    const { proxy, port } = await front();
    const server = createServer((request, response) => void response.end(`plain ${request.url}`));
    server.on("upgrade", (_request, socket) => socket.end("HTTP/1.1 101 no\r\n\r\n"));
    const blue = await serve(server);
    proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
    const offers = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x";
    const answer = await (await dial(port, get("/1", `Host: a\r\n${offers}`) + get("/2"))).ended;
    assert.match(answer, /^HTTP\/1\.1 200 [\s\S]*connection: close[\s\S]*plain \/1$/i);
    const { ended } = await dial(port, post(`${offers}\r\nContent-Length: 5`, "hello"));
    assert.match(await ended, /plain \/$/);
  });

  it("closes the connection of who asks for CONNECT", async () => {
    const { proxy, port } = await front();
    const blue = await noting();
    proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
    assert.equal(await (await dial(port, "CONNECT b:1 HTTP/1.1\r\nHost: b:1\r\n\r\n")).ended, "");
    assert.equal(blue.seen(), "");
  });
});
