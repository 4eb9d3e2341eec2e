import assert from "node:assert/strict";
import { request } from "node:http";
import type { AddressInfo } from "node:net";
import { createAdmin, type Services } from "../../../components/local/admin";
import { createHistory } from "../../../components/local/history";
import { createMetrics } from "../../../components/local/metrics";
import type { Service } from "../../../components/local/service";
import { createWatch } from "../../../components/local/watch";
import { until } from "./stage";

interface Answer {
  status: number;
  body: { errors?: number; requests?: number; error?: { code: string; message: string } };
}

describe("the watch over errors", () => {
  const ends: (() => void)[] = [];
  afterEach(() => {
    for (const end of ends.splice(0)) end();
  });

  /** The admin interface over real metrics; of a service, it needs to know here only that it is there. */
  async function open() {
    const metrics = createMetrics();
    const [history, watch] = [createHistory(metrics), createWatch(metrics)];
    const names = new Set(["web.test", "api.test"]);
    const services: Services = {
      get: (name) => (names.has(name) ? ({} as Service) : undefined),
      names: () => [...names],
      write: () => Promise.reject(new Error("nothing is written here")),
      remove: () => Promise.reject(new Error("nothing is removed here")),
    };
    const admin = createAdmin({
      info: () => ({ protocol: 3, version: "0", pid: 1, directory: "/", startedAt: "", metrics: "" }),
      services,
      metrics,
      history,
      watch,
      log: () => undefined,
      stop: async () => undefined,
      ended: () => undefined,
    });
    await new Promise<void>((resolve) =>
      admin.listen({ host: "127.0.0.1", port: 0, backlog: 2000 }, resolve),
    );
    ends.push(() => {
      watch.close();
      admin.close();
      admin.closeAllConnections();
    });
    const { port } = admin.address() as AddressInfo;
    /** Asks; what it answers, and the way to leave before it does. */
    const ask = (path: string): Promise<Answer> & { leave(): void } => {
      const sent = request({ host: "127.0.0.1", port, path: `/v1/services/${path}`, agent: false });
      const answer = new Promise<Answer>((resolve, reject) => {
        sent.on("error", reject).on("response", async (response) => {
          let text = "";
          for await (const chunk of response) text += chunk;
          resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) });
        });
      });
      sent.end();
      return Object.assign(answer, { leave: () => void sent.destroy() });
    };
    return {
      metrics,
      watch,
      names,
      ask,
      end: (code: number, slot: "blue" | "green", name = "web.test") => metrics.begin(name, slot)(code),
    };
  }

  it("answers at once where the slot has more errors than the caller knows, or fewer: it was reset", async () => {
    const { ask, end } = await open();
    for (const code of [200, 500, 404, 503]) end(code, "blue");
    for (const after of [0, 1, 3, 1000])
      assert.deepEqual(await ask(`web.test/errors?slot=blue&after=${after}&seconds=60`), {
        status: 200,
        body: { errors: 2, requests: 4 },
      });
  });

  it("answers as soon as the slot fails a request, and for nothing else", async () => {
    const { watch, ask, end } = await open();
    let answered = false;
    const asked = ask("web.test/errors?slot=green&after=0&seconds=60").then((answer) => {
      answered = true;
      return answer;
    });
    await until(() => watch.waiting() === 1);
    end(500, "blue");
    end(500, "green", "api.test");
    for (const code of [200, 302, 404, 499]) end(code, "green");
    // What was answered meanwhile would be here before this.
    assert.equal((await ask("web.test/errors?slot=blue&after=0")).body.errors, 1);
    assert.equal(watch.waiting(), 1);
    assert.equal(answered, false);
    end(502, "green");
    assert.deepEqual((await asked).body, { errors: 1, requests: 5 });
    assert.equal(watch.waiting(), 0);
  });

  it("answers with the same count once its time is over, and waits no time where none is given to it", async () => {
    const { watch, ask, end } = await open();
    end(500, "blue");
    for (const seconds of [0, 0.05])
      assert.deepEqual((await ask(`web.test/errors?slot=blue&after=1&seconds=${seconds}`)).body, {
        errors: 1,
        requests: 1,
      });
    assert.equal(watch.waiting(), 0);
  });

  it("takes a slot that is not counted yet for no reset, and tells of its first error", async () => {
    const { watch, ask, end } = await open();
    const asked = ask("web.test/errors?slot=blue&after=7&seconds=60");
    await until(() => watch.waiting() === 1);
    end(500, "blue");
    assert.deepEqual((await asked).body, { errors: 1, requests: 1 });
  });

  it("changes nothing by being asked: a slot that was never counted is in no series", async () => {
    const { metrics, ask } = await open();
    assert.deepEqual((await ask("web.test/errors?slot=blue&after=0&seconds=0")).body, {
      errors: 0,
      requests: 0,
    });
    assert.doesNotMatch(await metrics.text(), /web\.test/);
  });

  it("keeps nothing of a caller that has gone", async () => {
    const { watch, ask, end } = await open();
    const asked = Array.from({ length: 20 }, () => ask("web.test/errors?slot=blue&after=0&seconds=60"));
    await until(() => watch.waiting() === 20);
    const ended = Promise.allSettled(asked);
    for (const each of asked.slice(1)) each.leave();
    await until(() => watch.waiting() === 1);
    end(500, "blue");
    assert.deepEqual((await asked[0])?.body, { errors: 1, requests: 1 });
    assert.equal((await ended).filter(({ status }) => status === "rejected").length, 19);
    assert.equal(watch.waiting(), 0);
  });

  it("tells a thousand who wait by one error, and none of them is left", async () => {
    const { watch, ask, end } = await open();
    const asked = Array.from({ length: 1000 }, (_, i) =>
      ask(`web.test/errors?slot=${i % 10 === 0 ? "green" : "blue"}&after=0&seconds=60`),
    );
    await until(() => watch.waiting() === 1000);
    end(500, "blue");
    const told = await Promise.all(asked.filter((_, i) => i % 10 !== 0));
    assert.ok(told.every(({ body }) => body.errors === 1));
    assert.equal(watch.waiting(), 100);
    end(500, "green");
    assert.ok((await Promise.all(asked)).every(({ status }) => status === 200));
    assert.equal(watch.waiting(), 0);
  });

  it("answers at once that a service is unknown which is removed meanwhile", async () => {
    const { watch, names, metrics, ask, end } = await open();
    for (const name of names) end(200, "blue", name);
    const [web, api] = ["web.test", "api.test"].map((name) =>
      ask(`${name}/errors?slot=blue&after=0&seconds=60`),
    );
    await until(() => watch.waiting() === 2);
    metrics.forget("web.test");
    names.delete("web.test");
    watch.end("web.test");
    const answer = await web;
    assert.deepEqual([answer?.status, answer?.body.error?.code], [404, "service-unknown"]);
    assert.equal(watch.waiting(), 1);
    end(500, "blue", "api.test");
    assert.equal((await api)?.body.errors, 1);
  });

  it("sends whoever waits to the next supervisor when this one ends, and whoever comes after that", async () => {
    const { watch, ask } = await open();
    const path = "web.test/errors?slot=blue&after=0&seconds=60";
    const early = ask(path);
    await until(() => watch.waiting() === 1);
    watch.close();
    for (const answer of [await early, await ask(path)])
      assert.deepEqual([answer.status, answer.body.error?.code], [409, "supervisor-stopping"]);
    assert.equal(watch.waiting(), 0);
  });

  const malformed: [string, string][] = [
    ["no slot", "errors?after=0"],
    ["a slot that is none", "errors?slot=red&after=0"],
    ["two words as a slot", "errors?slot=blue%20green&after=0"],
    ["a negative count", "errors?slot=blue&after=-1"],
    ["a count that is NaN", "errors?slot=blue&after=NaN"],
    ["a count that is no number", "errors?slot=blue&after=many"],
    ["half an error", "errors?slot=blue&after=0.5"],
    ["a count beyond all counting", "errors?slot=blue&after=1e300"],
    ["an infinite count", "errors?slot=blue&after=Infinity"],
    ["negative seconds", "errors?slot=blue&after=0&seconds=-1"],
    ["seconds that are NaN", "errors?slot=blue&after=0&seconds=NaN"],
    ["infinite seconds", "errors?slot=blue&after=0&seconds=Infinity"],
    ["more than an hour", "errors?slot=blue&after=0&seconds=3601"],
    ["a past of negative length", "history?seconds=-1"],
    ["a past whose length is NaN", "history?seconds=NaN"],
    ["a past beyond an hour", "history?seconds=3601"],
  ];
  for (const [what, path] of malformed)
    it(`refuses ${what}`, async () => {
      const { watch, ask } = await open();
      const { status, body } = await ask(`web.test/${path}`);
      assert.deepEqual([status, body.error?.code], [409, "request-malformed"], body.error?.message);
      assert.equal(watch.waiting(), 0);
    });

  it("knows nothing of a service that is not there", async () => {
    const { watch, ask } = await open();
    for (const path of ["errors?slot=blue&after=0", "history"]) {
      const { status, body } = await ask(`cart.test/${path}`);
      assert.deepEqual([status, body.error?.code], [404, "service-unknown"]);
    }
    assert.equal(watch.waiting(), 0);
  });
});
