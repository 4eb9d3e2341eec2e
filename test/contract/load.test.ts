import assert from "node:assert/strict";
import { load, NotLoopback } from "../../automation/traffic/load";
import { BadConfig } from "../../components/errors";
import { context, serve, until } from "./world";

describe("load", () => {
  it("refuses every address that is not on loopback, and asks nothing of it", async () => {
    const urls = [
      "http://192.0.2.1",
      "http://10.0.0.1:8080",
      "http://[2001:db8::1]/",
      "http://0.0.0.0:80",
      "http://169.254.169.254/",
      "http://127.0.0.1.example.invalid/",
      "http://127.0.0.1@192.0.2.1/",
      "https://127.0.0.1/",
      "http://[::ffff:192.0.2.1]/",
      "nothing",
    ];
    for (const url of urls) await assert.rejects(load({ rps: 1 }).start(url, context()), NotLoopback.is, url);
  });

  it("refuses a path that could be another address, and a rate that is none", () => {
    for (const path of ["evil.example", "@evil.example/", "", "/a b", "http://evil.example/"])
      assert.throws(() => load({ rps: 1, path }), BadConfig.is, path);
    for (const rps of [0, -1, Number.NaN, 1e9]) assert.throws(() => load({ rps }), BadConfig.is);
  });

  it("stays on this machine, whatever its path", async () => {
    const hosts = new Set<string | undefined>();
    const server = await serve((request, response) => {
      hosts.add(request.headers.host);
      response.end();
    });
    const stop = await load({ rps: 200, path: "//evil.example/x" }).start(server.url, context());
    await until(() => hosts.size > 0);
    await stop();
    await server.close();
    assert.deepEqual([...hosts], [new URL(server.url).host]);
  });

  it("keeps its rate although the answers are slow, and spreads it evenly", async () => {
    const times: number[] = [];
    const server = await serve((_, response) => {
      times.push(performance.now());
      setTimeout(() => response.end(), 300);
    });
    const stop = await load({ rps: 100 }).start(server.url, context());
    await until(() => times.length >= 150);
    await stop();
    await server.close();
    const took = (times[149]! - times[0]!) / 1000;
    assert.ok(took > 1.2 && took < 2.5, `150 requests at 100 rps took ${took} s`);
    const gap = Math.max(...times.slice(1).map((t, i) => t - times[i]!));
    assert.ok(gap < 500, `the longest gap was ${gap} ms`);
  });

  it("leaves requests out, and says so, when all its connections are taken", async () => {
    let open = 0;
    const server = await serve(() => {
      open += 1;
    });
    const ctx = context();
    const began = performance.now();
    const stop = await load({ rps: 1000, connections: 3 }).start(server.url, ctx);
    await until(() => open === 3 && performance.now() - began > 300);
    await stop();
    assert.equal(open, 3);
    assert.match(ctx.lines.at(-1)!, /3 sent, 3 unanswered, \d\d+ left out/);
    await server.close();
  });

  it("says what it is, and asks nothing more once it was stopped", async () => {
    let asked = 0;
    const server = await serve((_, response) => {
      asked += 1;
      response.end();
    });
    const ctx = context();
    const stop = await load({ rps: 300 }).start(server.url.replace("127.0.0.1", "localhost"), ctx);
    assert.match(ctx.lines[0]!, /made by Sluice/);
    await until(() => asked > 20);
    await Promise.all([stop(), stop()]);
    const then = asked;
    let connections = Number.NaN;
    await until(() => {
      server.server.getConnections((_, count) => {
        connections = count;
      });
      return connections === 0;
    });
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(asked, then, "in the time of 15 requests none came");
    assert.equal(ctx.lines.filter((line) => line.includes("ended")).length, 1);
    await server.close();
  });

  it("ends when the signal fires, although nobody stops it", async () => {
    const ctx = context();
    const server = await serve(() => undefined);
    await load({ rps: 100 }).start(server.url, ctx);
    ctx.abort();
    await until(() => ctx.lines.some((line) => line.includes("ended (the run was left)")));
    await server.close();
  });

  it("goes on at its rate, no faster, when nothing listens", async () => {
    const ctx = context();
    const stop = await load({ rps: 50 }).start("http://127.0.0.1:1", ctx);
    await new Promise((resolve) => setTimeout(resolve, 300));
    await stop();
    const sent = Number(/(\d+) sent/.exec(ctx.lines.at(-1)!)![1]);
    assert.ok(sent <= 60, `${sent} sent`);
  });
});
