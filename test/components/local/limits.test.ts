import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { request } from "node:http";
import { connect } from "node:net";
import { checkOptions, type LocalOptions } from "../../../components/local/options";
import { allBlue, ask, dial, front, gate, pause, raw, replica, says, tidy, until } from "./rig";

afterEach(tidy);

const post = (lines: string, body = ""): string => `POST / HTTP/1.1\r\nHost: a\r\n${lines}\r\n\r\n${body}`;

async function limited(limits: LocalOptions["limits"], listener = says("ok")) {
  const { proxy, port, metrics } = await front();
  let asked = 0;
  const blue = await replica((incoming, response) => {
    asked++;
    listener(incoming, response);
  });
  proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] }, options: { limits } });
  return { proxy, port, metrics, asked: () => asked };
}

describe("limits of a request", () => {
  it("refuses a body that says it is too long before the replica hears of it, and lets the client read why", async () => {
    const { port, asked, metrics } = await limited({ bodyBytes: 10 });
    assert.equal((await ask(port, { method: "POST", body: "0123456789" })).status, 200);
    const body = "x".repeat(5_000_000);
    const answer = await ask(port, {
      method: "POST",
      body,
      headers: { "content-length": String(body.length) },
    });
    assert.deepEqual([answer.status, answer.headers.connection], [413, "close"]);
    const expects = post("Content-Length: 11\r\nExpect: 100-continue");
    assert.match(await (await dial(port, expects)).ended, /^HTTP\/1\.1 413 /);
    assert.equal(asked(), 1);
    assert.deepEqual(metrics.counts("web", "blue"), { requests: 1, errors: 0 });
  });

  it("cuts a body of unsaid length where it grows too long, and the replica never takes it for whole", async () => {
    let broken = 0;
    const { proxy, port, metrics } = await limited({ bodyBytes: 10 }, async (incoming, response) => {
      try {
        for await (const _chunk of incoming);
        response.end("whole");
      } catch {
        broken++;
      }
    });
    const { ended } = await dial(
      port,
      post("Transfer-Encoding: chunked", "6\r\n012345\r\n6\r\n012345\r\n0\r\n\r\n"),
    );
    assert.match(await ended, /^HTTP\/1\.1 413 /);
    await until(() => broken === 1 && proxy.inFlight("blue") === 0);
    assert.deepEqual(metrics.counts("web", "blue"), { requests: 1, errors: 0 });
  });

  it("answers 503 with Retry-After beyond so many requests at a time, not on the slot's account", async () => {
    const { opened, open } = gate();
    const { proxy, port, metrics } = await limited({ requests: 2 }, async (_incoming, response) => {
      await opened;
      response.end("ok");
    });
    const two = [ask(port), ask(port)];
    await until(() => proxy.inFlight("blue") === 2);
    const third = await ask(port);
    assert.deepEqual([third.status, third.headers["retry-after"]], [503, "1"]);
    open();
    for (const each of two) assert.equal((await each).status, 200);
    assert.equal((await ask(port)).status, 200);
    assert.deepEqual(metrics.counts("web", "blue"), { requests: 3, errors: 0 });
  });

  it("answers 503 with Retry-After beyond so many connections, and takes others once some are gone", async () => {
    const { port, asked } = await limited({ connections: 2 });
    const two = [await dial(port), await dial(port)];
    assert.match(await (await dial(port)).ended, /^HTTP\/1\.1 503 [\s\S]*retry-after: 1/);
    assert.equal(asked(), 0);
    for (const { socket } of two) socket.destroy();
    for (;;) {
      const { socket, ended } = await dial(port, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
      if ((await ended).includes(" 200 ")) break;
      socket.destroy();
    }
  });

  it("has a service choose how long its replicas may think", async () => {
    const { port } = await limited({ answerSeconds: 0.05 }, () => undefined);
    assert.equal((await ask(port)).status, 504);
  });

  for (const [what, options] of Object.entries({
    "limits.requests": { limits: { requests: 0 } },
    "limits.drainSeconds": { limits: { drainSeconds: 46 } },
    "match.header": { match: { header: "connection", value: "x" } },
    "match.value": { match: { header: "x-a", value: "a\r\nb" } },
    sticky: { sticky: { cookie: "a b" } },
  })) {
    it(`refuses a service whose ${what} is wrong, by name`, () => {
      assert.throws(
        () => checkOptions("web", options),
        (thrown: { code?: string; message: string }) =>
          thrown.code === "bad-config" && thrown.message.startsWith(`service web: local.${what}`),
      );
    });
  }
});

describe("patience", () => {
  const slow = async (text: string) => {
    const ms = { headMs: 80, bodyMs: 80, idleMs: 80 };
    const { proxy, port, metrics } = await front({ timeouts: ms });
    const blue = await replica(async (incoming, response) => {
      for await (const _chunk of incoming);
      response.end("ok");
    });
    proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
    return { proxy, metrics, port, ...(await dial(port, text)) };
  };

  it("ends with 408 where a head does not come", async () => {
    assert.match(await (await slow("")).ended, /^HTTP\/1\.1 408 /);
    assert.match(await (await slow("GET / HTTP/1.1\r\nHost: a\r\nX-")).ended, /^HTTP\/1\.1 408 /);
  });

  it("ends with 408 where a body stops coming, but not where it is only slow", async () => {
    const { ended, metrics, proxy } = await slow(post("Content-Length: 10", "hel"));
    assert.match(await ended, /^HTTP\/1\.1 408 /);
    assert.equal(proxy.inFlight("blue"), 0);
    assert.deepEqual(metrics.counts("web", "blue"), { requests: 1, errors: 0 });
    const { socket, hears } = await slow(post("Content-Length: 10"));
    for (let i = 0; i < 10; i++) {
      await pause(20);
      socket.write("x");
    }
    await hears("200 OK");
  });

  it("ends where a client that was answered asks nothing more", async () => {
    const { ended } = await slow("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert.match(await ended, /^HTTP\/1\.1 200 /);
  });

  it("ends with 504 where a replica takes no more of a body", async () => {
    const { proxy, port } = await front({ timeouts: { answerMs: 100 } });
    const blue = await raw((socket) => socket.pause());
    proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
    const sent = request({ host: "127.0.0.1", port, method: "POST", agent: false });
    sent.on("error", () => undefined);
    sent.write(Buffer.alloc(16 * 1024 * 1024));
    const [response] = await once(sent, "response");
    assert.equal(response.statusCode, 504);
    sent.destroy();
  });

  for (const [what, size] of Object.entries({
    "a long answer": 32 * 1024 * 1024,
    "the rest of a short one": 6 * 1024 * 1024,
  })) {
    it(`ends where a client takes nothing of ${what}`, async () => {
      const { proxy, port, metrics } = await front({ timeouts: { sendMs: 100 } });
      const blue = await replica((_request, response) => void response.end(Buffer.alloc(size)));
      proxy.route({ split: allBlue, upstreams: { blue: [blue], green: [] } });
      const { socket } = await dial(port);
      socket.pause();
      socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
      await until(() => metrics.counts("web", "blue").requests === 1);
      await pause(400);
      let got = 0;
      socket.on("data", (chunk: Buffer) => {
        got += chunk.length;
      });
      socket.resume();
      await once(socket, "close");
      assert.ok(got < size, "it was all there");
      assert.equal(metrics.counts("web", "blue").errors, 0);
    });
  }

  it("asks another replica where one takes no connection", async () => {
    const { proxy, port } = await front({ timeouts: { connectMs: 150 } });
    // It listens but never accepts, and its queue is full: what comes then is not even refused.
    const deaf = spawn(process.execPath, [
      "-e",
      `const s = require("net").createServer().listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => {
         require("fs").writeSync(1, String(s.address().port));
         Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
       })`,
    ]);
    const filling: ReturnType<typeof connect>[] = [];
    try {
      const deafPort = Number(String((await once(deaf.stdout, "data"))[0]));
      for (let i = 0; i < 4; i++) filling.push(connect(deafPort, "127.0.0.1").on("error", () => undefined));
      await pause(100);
      const alive = await replica(says("alive"));
      for (let i = 0; i < 2; i++) {
        // Each route is a new pool, so that the deaf one is asked first again.
        proxy.route({ split: allBlue, upstreams: { blue: [], green: [] } });
        proxy.route({ split: allBlue, upstreams: { blue: [{ port: deafPort }, alive], green: [] } });
        assert.equal((await ask(port)).body, "alive");
      }
      proxy.route({ split: allBlue, upstreams: { blue: [{ port: deafPort }], green: [] } });
      assert.equal((await ask(port)).status, 502);
    } finally {
      for (const socket of filling) socket.destroy();
      deaf.kill("SIGKILL");
    }
  });
});
