import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { Agent, createServer, type IncomingMessage, request } from "node:http";
import { connect } from "node:net";
import type { Slot } from "../../../components/handle";
import { createChooser } from "../../../components/local/split";
import {
  allBlue,
  allGreen,
  ask,
  front,
  gate,
  held,
  pair,
  pause,
  type Replica,
  raw,
  replica,
  says,
  serve,
  tidy,
  until,
} from "./rig";

afterEach(tidy);

describe("split", () => {
  for (const seed of [1, 2, 3, 42, 2 ** 31]) {
    it(`gives a tenth of 10,000 requests to the slot with 10 % (seed ${seed})`, () => {
      const choose = createChooser(seed);
      let green = 0;
      let pairs = 0;
      let last: Slot | undefined;
      for (let i = 0; i < 10_000; i++) {
        const slot = choose({ blue: 90, green: 10 });
        if (slot === "green") {
          green++;
          if (last === "green") pairs++;
        }
        last = slot;
      }
      // |z| < 3.89 is p > 1e-4, two-sided. In a row: each of n - 1 neighbours with probability 0.01.
      assert.ok(Math.abs(green - 1000) / Math.sqrt(10_000 * 0.1 * 0.9) < 3.89, `${green}`);
      assert.ok(Math.abs(pairs - 100) / Math.sqrt(10_000 * 0.01 * 1.17) < 3.89, `${pairs} in a row`);
    });
  }

  it("chooses alike from the same seed, and otherwise from another", () => {
    const draw = (seed: number): string => {
      const choose = createChooser(seed);
      return Array.from({ length: 100 }, () => choose({ blue: 50, green: 50 })).join();
    };
    assert.equal(draw(5), draw(5));
    assert.notEqual(draw(5), draw(6));
  });

  it("never gives a request to a slot with 0 %, and none at all where both have that", () => {
    const choose = createChooser(1);
    for (let i = 0; i < 1000; i++) {
      assert.equal(choose(allBlue), "blue");
      assert.equal(choose(allGreen), "green");
      assert.equal(choose({ blue: 0, green: 0 }), undefined);
    }
  });
});

describe("proxy", () => {
  it("splits real requests by weight and says which slot answered", async () => {
    const { proxy, port, metrics } = await front();
    await pair(proxy, { blue: 90, green: 10 });
    const agent = new Agent({ keepAlive: true, maxSockets: 8 });
    const answers = await Promise.all(Array.from({ length: 1000 }, () => ask(port, { agent })));
    agent.destroy();
    for (const { status, headers, body } of answers) {
      assert.equal(status, 200);
      assert.equal(headers["x-sluice-slot"], body);
    }
    const green = answers.filter(({ body }) => body === "green").length;
    assert.ok(Math.abs(green - 100) / Math.sqrt(1000 * 0.1 * 0.9) < 3.89, `${green}`);
    assert.deepEqual(metrics.counts("web", "green"), { requests: green, errors: 0 });
  });

  it("changes the weights from the next request on, on a connection that is kept too", async () => {
    const { proxy, port } = await front();
    const upstreams = await pair(proxy, allBlue);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    for (let i = 0; i < 20; i++) {
      const green = i % 2 === 1;
      proxy.route({ split: green ? allGreen : allBlue, upstreams });
      assert.equal((await ask(port, { agent })).body, green ? "green" : "blue");
    }
    agent.destroy();
  });

  it("lets a request that began on a slot end there, whatever the route says by then, and drains", async () => {
    const { opened, open } = gate();
    const { proxy, port } = await front();
    const blue = await replica(async (_request, response) => {
      response.write("bl");
      await opened;
      response.end("ue");
    });
    const green = await replica(says("green"));
    proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [green] } });
    const first = ask(port);
    await until(() => proxy.inFlight("blue") === 1);
    proxy.route({ split: allGreen, upstreams: { blue: [], green: [green] } });
    assert.equal((await ask(port)).body, "green");
    assert.equal(await proxy.drained("blue", 20), false);
    const drained = proxy.drained("blue", 5000);
    open();
    assert.equal(await drained, true);
    assert.equal((await first).body, "blue");
    assert.equal(await proxy.drained("blue", 0), true);
  });

  it("answers 503 where nothing is live, and where the chosen slot has no replica", async () => {
    const { proxy, port, metrics } = await front();
    const before = await ask(port);
    assert.equal(before.status, 503);
    assert.equal(before.body, "nothing is live\n");
    const green = await replica(says("green"));
    proxy.route({ split: { blue: 99, green: 1 }, upstreams: { blue: [], green: [green] } });
    const answer = await ask(port);
    assert.equal(answer.status, 503);
    assert.equal(answer.headers["x-sluice-slot"], "blue");
    assert.deepEqual(metrics.counts("web", "blue"), { requests: 1, errors: 1 });
  });

  it("hands on method, path, headers and body, and no header that is for one hop", async () => {
    let seen: IncomingMessage | undefined;
    let body = "";
    const { proxy, port } = await front();
    const blue = await replica(async (incoming, response) => {
      seen = incoming;
      body = "";
      for await (const chunk of incoming) body += chunk;
      response.setHeader("set-cookie", ["a=1", "b=2"]);
      response.writeHead(201, "Made", {
        connection: "x-mine",
        "x-mine": "1",
        "x-theirs": "2",
        "x-sluice-slot": "x",
      });
      response.end("done");
    });
    proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
    const headers = {
      host: "example.test",
      connection: "x-hop, keep-alive",
      "x-hop": "1",
      te: "trailers",
      "proxy-authorization": "secret",
      "x-forwarded-for": "10.0.0.1",
      "x-forwarded-proto": "gopher",
      "x-mine": "3",
    };
    for (const chunked of [false, true]) {
      const length: Record<string, string> = chunked ? { "transfer-encoding": "chunked" } : {};
      const answer = await ask(port, {
        method: "PUT",
        path: "/a?b=%20c",
        headers: { ...headers, ...length },
        body: "hello",
      });
      assert.equal(answer.status, 201);
      assert.equal(answer.body, "done");
      assert.deepEqual(answer.headers["set-cookie"], ["a=1", "b=2"]);
      assert.equal(answer.headers["x-theirs"], "2");
      assert.equal(answer.headers["x-mine"], undefined);
      assert.equal(answer.headers["x-sluice-slot"], "blue");
      assert.equal(`${seen?.method} ${seen?.url} ${body}`, "PUT /a?b=%20c hello");
      assert.equal(seen?.headers["content-length"], chunked ? undefined : "5");
      assert.equal(seen?.headers.host, "example.test");
      assert.equal(seen?.headers["x-mine"], "3");
      assert.equal(seen?.headers["x-forwarded-for"], "10.0.0.1, 127.0.0.1");
      assert.equal(seen?.headers["x-forwarded-proto"], "http");
      assert.equal(seen?.headers["x-forwarded-host"], "example.test");
      for (const hop of ["x-hop", "te", "proxy-authorization"]) assert.equal(seen?.headers[hop], undefined);
    }
  });

  it("hands on HEAD, 204, 304, chunks and trailers", async () => {
    const { proxy, port } = await front();
    const blue = await replica((incoming, response) => {
      if (incoming.url === "/trailers") {
        response.writeHead(200, { trailer: "x-sum" });
        response.write("a");
        response.addTrailers({ "x-sum": "97" });
        response.end("b");
      } else if (incoming.method === "HEAD") response.writeHead(200, { "content-length": 1234 }).end();
      else response.writeHead(Number(incoming.url?.slice(1))).end();
    });
    proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const trailed = await ask(port, { path: "/trailers", agent });
    assert.deepEqual([trailed.body, trailed.trailers["x-sum"]], ["ab", "97"]);
    const head = await ask(port, { method: "HEAD", agent });
    assert.deepEqual([head.status, head.headers["content-length"], head.body], [200, "1234", ""]);
    for (const status of [204, 304])
      assert.equal((await ask(port, { path: `/${status}`, agent })).status, status);
    agent.destroy();
  });

  it("sends the client what has come as soon as it has come", async () => {
    const { opened, open } = gate();
    const { proxy, port } = await front();
    const blue = await replica(async (_request, response) => {
      response.flushHeaders();
      await opened;
      response.end("end");
    });
    proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
    const sent = request({ host: "127.0.0.1", port, agent: false }).end();
    const [response] = (await once(sent, "response")) as [IncomingMessage];
    open();
    assert.equal(String((await once(response, "data"))[0]), "end");
  });

  it("has the replica, not itself, answer to Expect: 100-continue", async () => {
    let bodies = 0;
    const { proxy, port } = await front();
    const server = createServer(async (incoming, response) => {
      for await (const chunk of incoming) bodies += chunk.length;
      response.end("taken");
    });
    server.on("checkContinue", (incoming, response) => {
      if (incoming.url === "/no") response.writeHead(417).end();
      else {
        response.writeContinue();
        server.emit("request", incoming, response);
      }
    });
    const blue = await serve(server);
    proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
    for (const [path, status] of [
      ["/yes", 200],
      ["/no", 417],
    ] as const) {
      const headers = { expect: "100-continue", "content-length": "5" };
      const sent = request({ host: "127.0.0.1", port, path, method: "POST", headers, agent: false });
      let asked = false;
      sent.on("continue", () => {
        asked = true;
        sent.end("hello");
      });
      sent.flushHeaders();
      const [response] = (await once(sent, "response")) as [IncomingMessage];
      assert.deepEqual([response.statusCode, asked], [status, path === "/yes"]);
      response.resume();
      sent.destroy();
      sent.on("error", () => undefined);
    }
    assert.equal(bodies, 5);
  });

  it("hands on a replica's 100 when it comes, and does without where none comes", async () => {
    const { proxy, port } = await front();
    const patience = async (says100: boolean): Promise<number> => {
      const blue = await raw((socket) => {
        socket.on("data", (chunk) => {
          if (says100 && String(chunk).includes("expect")) socket.write("HTTP/1.1 100 Continue\r\n\r\n");
          if (String(chunk).endsWith("hello")) socket.end("HTTP/1.1 204 No Content\r\n\r\n");
        });
      });
      proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
      const headers = { expect: "100-continue", "content-length": "5" };
      const sent = request({ host: "127.0.0.1", port, method: "POST", headers, agent: false });
      const start = performance.now();
      let waited = Number.NaN;
      sent.on("continue", () => {
        waited = performance.now() - start;
        sent.end("hello");
      });
      sent.flushHeaders();
      const [response] = (await once(sent, "response")) as [IncomingMessage];
      response.resume();
      return waited;
    };
    const prompt = [await patience(true), await patience(true), await patience(true)];
    assert.ok(Math.min(...prompt) < 900, `${prompt} ms`);
    assert.ok((await patience(false)) > 900);
  });

  const megabyte = Buffer.alloc(1024 * 1024, "x");

  /** Writes until nobody takes more, and gives the MB that were taken and the bytes that this process holds. */
  async function pour(into: NodeJS.WritableStream, limit: number): Promise<{ taken: number; held: number }> {
    const before = held();
    let taken = 0;
    for (let stalled = false; taken < limit && !stalled; ) {
      // What the kernel buffers on the way comes and goes in bursts, so a while without room is the end.
      if (into.write(megabyte)) taken++;
      else stalled = !(await Promise.race([once(into, "drain").then(() => ++taken), pause(500)]));
    }
    return { taken, held: held() - before };
  }

  for (const framing of ["length", "chunks"]) {
    it(`takes no more of a body from the client than the replica takes (${framing})`, async () => {
      const { proxy, port } = await front();
      const blue = await raw((socket) => socket.pause());
      proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
      const headers = framing === "length" ? { "content-length": 64 * megabyte.length } : {};
      const sent = request({ host: "127.0.0.1", port, method: "POST", headers, agent: false });
      sent.on("error", () => undefined);
      const { taken, held } = await pour(sent, 64);
      sent.destroy();
      assert.ok(taken < 48, `${taken} MB were taken although nobody read`);
      assert.ok(held < 16 * megabyte.length, `${held} bytes held`);
    });
  }

  it("takes no more of an answer from the replica than the client takes", async () => {
    const { proxy, port } = await front();
    let poured: Promise<{ taken: number; held: number }> | undefined;
    const blue = await replica((_request, response) => {
      poured = pour(response, 64);
    });
    proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
    const sent = request({ host: "127.0.0.1", port, agent: false }).end();
    const [response] = (await once(sent, "response")) as [IncomingMessage];
    response.on("error", () => undefined);
    const { taken, held } = await poured!;
    response.destroy();
    assert.ok(taken < 48, `${taken} MB were taken although nobody read`);
    assert.ok(held < 16 * megabyte.length, `${held} bytes held`);
  });

  it("streams a large body both ways at once", async () => {
    const { proxy, port } = await front();
    const blue = await replica((incoming, response) => void incoming.pipe(response));
    proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
    const sent = request({ host: "127.0.0.1", port, method: "POST", agent: false });
    const sum = createHash("sha256");
    const back = createHash("sha256");
    const feed = (async () => {
      for (let i = 0; i < 16; i++) {
        const chunk = randomBytes(1_000_003);
        sum.update(chunk);
        if (!sent.write(chunk)) await once(sent, "drain");
      }
      sent.end();
    })();
    const [response] = (await once(sent, "response")) as [IncomingMessage];
    for await (const chunk of response) back.update(chunk);
    await feed;
    assert.equal(back.digest("hex"), sum.digest("hex"));
    assert.equal(proxy.inFlight("blue"), 0);
  });

  it("ends the replica's work when the client leaves, and does not call it the slot's error", async () => {
    const { opened: aborted, open } = gate();
    const { proxy, port, metrics } = await front();
    const blue = await replica((incoming, response) => {
      response.on("close", () => !response.writableFinished && open());
      if (incoming.url === "/begun") response.write("some");
    });
    proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
    for (const path of ["/silent", "/begun"]) {
      const sent = request({ host: "127.0.0.1", port, path, agent: false }).end();
      sent.on("error", () => undefined);
      if (path === "/begun") await once(sent, "response");
      else await until(() => proxy.inFlight("blue") === 1);
      sent.destroy();
      await aborted;
      await until(() => proxy.inFlight("blue") === 0);
    }
    assert.deepEqual(metrics.counts("web", "blue"), { requests: 2, errors: 0 });
    assert.match(await metrics.text(), /code="499"\} 2$/m);
  });

  it("gives nobody the answer to another's request, also where that client left", async () => {
    const { opened, open } = gate();
    const { proxy, port } = await front();
    const blue = await replica(async (incoming, response) => {
      if (incoming.url === "/slow") await opened;
      response.end(incoming.url);
    });
    proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
    const slow = request({ host: "127.0.0.1", port, path: "/slow", agent: false }).end();
    slow.on("error", () => undefined);
    await until(() => proxy.inFlight("blue") === 1);
    slow.destroy();
    await until(() => proxy.inFlight("blue") === 0);
    const fast = ask(port, { path: "/fast" });
    await pause(50);
    open();
    assert.equal((await fast).body, "/fast");
  });

  it("answers 502, and says nothing of what is behind, where the replica breaks off before its answer", async () => {
    const { proxy, port, metrics } = await front();
    const bad = [
      "",
      "HTTP/1.1 200 OK\r\nContent-",
      "nonsense\r\n\r\n",
      "HTTP/1.1 200 OK\r\nX-A: a\u0001b\r\n\r\n",
    ];
    for (const text of bad) {
      let asked = 0;
      const blue = await raw((socket) => socket.once("data", () => ++asked && socket.end(text, "latin1")));
      proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
      const { status, body, headers } = await ask(port);
      assert.equal(status, 502, JSON.stringify(text));
      // Once a byte has come, the request has been taken, and is never sent again.
      assert.equal(asked, text === "" ? 2 : 1);
      assert.equal(headers["content-type"], "text/plain");
      assert.doesNotMatch(body, /\d|127|ECONN|replica/);
    }
    assert.deepEqual(metrics.counts("web", "blue"), { requests: bad.length, errors: bad.length });
  });

  it("breaks off where the replica breaks off in the middle, and counts that as 502", async () => {
    const { proxy, port, metrics } = await front();
    for (const rest of [
      "Content-Length: 10\r\n\r\nhello",
      "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ]) {
      const blue = await raw((socket) => socket.once("data", () => socket.end(`HTTP/1.1 200 OK\r\n${rest}`)));
      proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
      await assert.rejects(ask(port));
    }
    assert.match(await metrics.text(), /slot="blue",code="502"\} 2$/m);
  });

  it("takes a connection that was reset for no end of an answer without a length", async () => {
    const { proxy, port, metrics } = await front();
    const blue = await raw((socket) => {
      socket.once("data", () => socket.write("HTTP/1.1 200 OK\r\n\r\nhello"));
      socket.on("data", () => setTimeout(() => socket.resetAndDestroy(), 20));
    });
    proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
    await assert.rejects(ask(port));
    assert.deepEqual(metrics.counts("web", "blue"), { requests: 1, errors: 1 });
  });

  it("answers 504 where a replica has the request and says nothing", async () => {
    const { proxy, port, metrics } = await front({ timeouts: { answerMs: 50 } });
    const blue = await replica(() => undefined);
    proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
    assert.equal((await ask(port, { method: "POST", body: "x" })).status, 504);
    assert.deepEqual(metrics.counts("web", "blue"), { requests: 1, errors: 1 });
  });

  it("asks another replica of the slot where one can't be reached, whatever the request carries", async () => {
    const { proxy, port, metrics } = await front();
    const dead = await replica(says("dead"));
    await dead.stop();
    const alive = await replica(async (incoming, response) => {
      let text = "";
      for await (const chunk of incoming) text += chunk;
      response.end(`got ${text}`);
    });
    proxy.route({ split: allBlue, upstreams: { blue: [dead, alive], green: [] } });
    for (let i = 0; i < 6; i++) {
      assert.equal((await ask(port, { method: "POST", body: `${i}` })).body, `got ${i}`);
    }
    assert.deepEqual(metrics.counts("web", "blue"), { requests: 6, errors: 0 });
    proxy.route({ split: allBlue, upstreams: { blue: [dead], green: [alive] } });
    assert.equal((await ask(port)).status, 502);
  });

  /** Answers the first request of a connection and closes it on the second, unanswered: the keep-alive race. */
  const fickle = (asked: string[]): Promise<Replica> =>
    raw((socket) => {
      let requests = 0;
      socket.on("data", (chunk) => {
        asked.push(String(chunk).split(" ")[0]!);
        if (++requests > 1) socket.resetAndDestroy();
        else socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
      });
    });

  it("asks again where a kept connection closed before a byte came", async () => {
    const { proxy, port, metrics } = await front();
    const asked: string[] = [];
    proxy.route({ split: allBlue, upstreams: { blue: [await fickle(asked)], green: [] } });
    for (let i = 0; i < 10; i++) assert.equal((await ask(port)).status, 200);
    assert.ok(asked.length > 10, "no kept connection was used");
    assert.deepEqual(metrics.counts("web", "blue"), { requests: 10, errors: 0 });
  });

  it("never sends a POST twice once it may have been taken", async () => {
    const { proxy, port } = await front();
    const asked: string[] = [];
    proxy.route({ split: allBlue, upstreams: { blue: [await fickle(asked)], green: [] } });
    assert.equal((await ask(port)).status, 200);
    assert.equal((await ask(port, { method: "POST" })).status, 502);
    assert.equal((await ask(port)).status, 200);
    assert.equal((await ask(port, { method: "POST", body: "x" })).status, 502);
    assert.equal(asked.filter((method) => method === "POST").length, 2);
  });

  it("gives up where every replica breaks off, instead of asking for ever", async () => {
    const { proxy, port } = await front();
    let asked = 0;
    const breaks = (): Promise<Replica> =>
      raw((socket) => socket.once("data", () => ++asked && socket.destroy()));
    const three = [await breaks(), await breaks(), await breaks()];
    proxy.route({ split: allBlue, upstreams: { blue: three, green: [] } });
    assert.equal((await ask(port)).status, 502);
    assert.equal(asked, 2);
  });

  it("takes no answer that came before its question", async () => {
    const { proxy, port } = await front();
    const late = gate();
    const blue = await raw((socket) => {
      socket.once("data", () => {
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        late.opened.then(() => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"));
      });
    });
    proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
    assert.equal((await ask(port)).body, "ok");
    late.open();
    await pause(20);
    assert.equal((await ask(port)).body, "ok");
  });

  it("spreads requests over the replicas of a slot, and sends less to a busy one", async () => {
    const { opened, open } = gate();
    const { proxy, port } = await front();
    const counts = [0, 0, 0];
    const replicas = await Promise.all(
      counts.map((_, i) =>
        replica(async (incoming, response) => {
          counts[i]!++;
          if (incoming.url === "/slow") await opened;
          response.end(`${i}`);
        }),
      ),
    );
    proxy.route({ split: allBlue, upstreams: { blue: replicas, green: [] } });
    for (let i = 0; i < 30; i++) await ask(port);
    assert.deepEqual(counts, [10, 10, 10]);
    const slow = ask(port, { path: "/slow" });
    await until(() => counts.reduce((a, b) => a + b) === 31);
    const held = counts.indexOf(11);
    for (let i = 0; i < 20; i++) await ask(port);
    assert.equal(counts[held], 11);
    open();
    await slow;
  });

  it("never fails a request while replicas die and are replaced under load", async () => {
    const { proxy, port, metrics } = await front();
    const agent = new Agent({ keepAlive: true, maxSockets: 16 });
    let pair = [await replica(says("ok")), await replica(says("ok"))] as const;
    const put = (): void => proxy.route({ split: allBlue, upstreams: { blue: pair, green: [] } });
    put();
    let on = true;
    const load = Array.from({ length: 16 }, async () => {
      while (on) assert.equal((await ask(port, { agent })).status, 200);
    });
    const more = async (): Promise<void> => {
      const want = metrics.counts("web", "blue").requests + 50;
      await until(() => metrics.counts("web", "blue").requests > want);
    };
    for (let i = 0; i < 20; i++) {
      await more();
      // It dies first, and only then is the route told.
      await pair[0].stop();
      await more();
      pair = [pair[1], await replica(says("ok"))];
      put();
    }
    on = false;
    await Promise.all(load);
    agent.destroy();
    assert.equal(metrics.counts("web", "blue").errors, 0);
  });

  it("frees its port once what was in flight is answered", async () => {
    const { opened, open } = gate();
    const { proxy, port } = await front();
    const blue = await replica(async (incoming, response) => {
      if (incoming.url === "/begun") response.write("be");
      await opened;
      response.end("late");
    });
    proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
    const agent = new Agent({ keepAlive: true });
    const late = ask(port, { agent });
    const begun = request({ host: "127.0.0.1", port, path: "/begun", agent }).end();
    const [response] = (await once(begun, "response")) as [IncomingMessage];
    await until(() => proxy.inFlight("blue") === 2);
    // Far beyond the test's own limit: nothing but the end of both requests may end this.
    const closed = proxy.close(600_000);
    open();
    assert.equal((await late).headers.connection, "close");
    assert.equal(response.headers.connection, "keep-alive");
    response.resume();
    await closed;
    const [refused] = (await once(connect(port, "127.0.0.1"), "error")) as [NodeJS.ErrnoException];
    assert.equal(refused.code, "ECONNREFUSED");
    agent.destroy();
  });

  it("says who has the port it should listen on", async () => {
    const { port } = await front();
    await assert.rejects(front({ port }), (thrown: { code?: string; message: string; hint?: string }) => {
      assert.equal(thrown.code, "port-in-use");
      assert.match(
        thrown.message,
        new RegExp(`^Port ${port} on 127.0.0.1 is taken by process ${process.pid} `),
      );
      assert.ok(thrown.hint);
      return true;
    });
  });
});
