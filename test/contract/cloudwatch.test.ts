import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import type { RequestListener } from "node:http";
import { join } from "node:path";
import { CloudWatchClient, PutMetricDataCommand } from "@aws-sdk/client-cloudwatch";
import { tick } from "../../automation/analysis/counts";
import type { MetricSource } from "../../automation/core/ports";
import { type CloudWatchOptions, cloudwatch, cloudwatchQueries } from "../../automation/metrics/cloudwatch";
import { SourceUnreachable } from "../../automation/metrics/scrape";
import { SourceMalformed } from "../../automation/wire/exposition";
import { BadConfig } from "../../components/errors";
import { fakeCloudWatch, type Input, type Output, statistics } from "../support/cloudwatch";
import { cloudWatchModel, type Model, startMoto } from "../support/moto";
import { context, handle, serve, subject } from "./world";

const about = subject({ handle: handle() });
const MINUTE = 60_000;
/** The end of a period. */
const T = 1_800_000_000_000;
const BLUE = "targetgroup/shop-blue/1111111111111111";
const GREEN = "targetgroup/shop-green/2222222222222222";
const LB = "app/shop/3333333333333333";
const queries = cloudwatchQueries.alb({ loadBalancer: LB, targetGroups: { blue: BLUE, green: GREEN } });
const counts = { ...queries, latency: undefined };

/** A context in which it is so many milliseconds after T. */
function at(after: number) {
  return { ...context(), now: () => T + after };
}

describe("cloudwatch", () => {
  let moto: Awaited<ReturnType<typeof startMoto>>;
  let model: Model;
  const before_ = { ...process.env };

  // The first time it installs moto.
  before(async function () {
    this.timeout(600_000);
    Object.assign(process.env, {
      AWS_ACCESS_KEY_ID: "AKIAIOSFODNN7EXAMPLE",
      AWS_SECRET_ACCESS_KEY: "hunter2-secret-key",
      AWS_REGION: "eu-central-1",
      AWS_EC2_METADATA_DISABLED: "true",
    });
    moto = await startMoto();
    model = cloudWatchModel();
  });

  after(async () => {
    for (const name of Object.keys(process.env)) if (name.startsWith("AWS_")) delete process.env[name];
    Object.assign(process.env, before_);
    await moto.stop();
  });

  /** Puts values of a metric of one target group, at these minutes from T. */
  async function put(name: string, group: string, values: [minute: number, value: number][]): Promise<void> {
    const client = new CloudWatchClient({ endpoint: moto.url });
    const Dimensions = [
      { Name: "LoadBalancer", Value: LB },
      { Name: "TargetGroup", Value: group },
    ];
    const MetricData = values.map(([minute, Value]) => ({
      MetricName: name,
      Dimensions,
      Timestamp: new Date(T + minute * MINUTE),
      Value,
    }));
    await client.send(new PutMetricDataCommand({ Namespace: "AWS/ApplicationELB", MetricData }));
    client.destroy();
  }

  beforeEach(async () => {
    await fetch(`${moto.url}/moto-api/reset`, { method: "POST" });
  });

  const onMoto = (options: Partial<CloudWatchOptions> = {}) =>
    cloudwatch({ endpoint: moto.url, queries: counts, ...options });

  it("makes counters that only grow of sums per minute, from its first reading on", async () => {
    await put("RequestCount", BLUE, [
      [-3, 900],
      [-2, 900],
      [-1, 900],
      [0, 800],
      [1, 700],
    ]);
    await put("RequestCount", GREEN, [
      [0, 50],
      [0.5, 40],
      [1, 100],
    ]);
    await put("HTTPCode_Target_5XX_Count", GREEN, [[0, 3]]);
    await put("TargetConnectionErrorCount", GREEN, [
      [0, 1],
      [1, 2],
    ]);
    const source = onMoto();
    const zero = { requests: 0, errors: 0, buckets: [0] };
    const first = await source.read(about, at(MINUTE));
    assert.deepEqual(first, { at: T, edges: [], slots: { blue: zero, green: zero } });
    const second = await source.read(about, at(2 * MINUTE));
    assert.deepEqual(second, {
      at: T + MINUTE,
      edges: [],
      slots: {
        blue: { requests: 800, errors: 0, buckets: [0] },
        green: { requests: 90, errors: 4, buckets: [0] },
      },
    });
    const third = await source.read(about, at(3 * MINUTE));
    assert.deepEqual(third?.slots.green, { requests: 190, errors: 6, buckets: [0] });
    assert.equal(tick(second, third!, "green", "blue")?.baseline?.requests, 700);
  });

  it("waits for a period's end, and for what comes late", async () => {
    await put("RequestCount", BLUE, [
      [-1, 900],
      [0, 800],
    ]);
    const source = onMoto();
    const first = await source.read(about, at(MINUTE));
    assert.equal(first?.at, T);
    const again = await source.read(about, at(2 * MINUTE - 1));
    assert.deepEqual(again, first, "the period is over, but not for a minute");
    assert.equal(tick(first, again!, "blue", undefined), undefined, "no tick is made of it");
    assert.equal((await source.read(about, at(2 * MINUTE)))?.slots.blue?.requests, 800);
    // It comes after its period was counted.
    await put("RequestCount", BLUE, [
      [0, 7],
      [1, 100],
    ]);
    assert.equal((await source.read(about, at(3 * MINUTE)))?.slots.blue?.requests, 907);
    assert.equal((await onMoto({ lag: 0 }).read(about, at(2 * MINUTE)))?.at, T + 2 * MINUTE);
  });

  it("has no data where nothing was counted: not zero", async () => {
    assert.equal(await onMoto().read(about, at(0)), undefined);
    await put("RequestCount", BLUE, [
      [-30, 900],
      [60, 1],
    ]);
    assert.equal(await onMoto().read(about, at(0)), undefined, "long ago, or in the future");
  });

  it("tells what was there before", async () => {
    await put("RequestCount", BLUE, [
      [-5, 10],
      [-4, 20],
      [-2, 30],
      [-1, 1],
    ]);
    await put("HTTPCode_Target_5XX_Count", BLUE, [[-4, 2]]);
    const span = { from: T - 10 * MINUTE, to: T - MINUTE };
    const found = await onMoto().history!(about, span, at(0));
    assert.deepEqual(
      found.map((reading) => [
        (reading.at - T) / MINUTE,
        reading.slots.blue?.requests,
        reading.slots.blue?.errors,
      ]),
      [
        [-5, 0, 0],
        [-4, 10, 0],
        [-3, 30, 2],
        [-2, 30, 2],
        [-1, 60, 2],
      ],
    );
    const hours = { from: T - 120 * MINUTE, to: T - 60 * MINUTE };
    assert.deepEqual(await onMoto().history!(about, hours, at(0)), []);
  });

  it("evaluates an expression of CloudWatch's own", async () => {
    await put("CPUUtilization", BLUE, [
      [-2, 40],
      [-1, 60],
    ]);
    const text = "SELECT SUM(CPUUtilization) FROM \"AWS/ApplicationELB\" WHERE x = '{{service}}'";
    assert.equal(await onMoto().value!(text, about, at(MINUTE)), 60);
    assert.equal(await onMoto().value!("SELECT SUM(x) FROM y", about, at(60 * MINUTE)), undefined);
    await assert.rejects(onMoto().value!("SELECT {{nobody}}", about, at(0)), BadConfig.is);
    const evil = { ...about, service: "x' OR '1" };
    await assert.rejects(onMoto().value!(text, evil, at(0)), BadConfig.is);
  });

  it("says at a ping how much there is", async () => {
    const ctx = at(MINUTE);
    await onMoto().ping(about, ctx);
    await put("RequestCount", BLUE, [[-1, 5]]);
    await onMoto().ping(about, ctx);
    assert.match(ctx.lines.join("\n"), /no sums.*\n.*1 sums/);
  });

  // What moto has not: trimmed counts, pages, parts, mischief.

  async function answered(
    answer: (input: Input) => Output,
    use: (source: MetricSource) => Promise<unknown>,
    options: Partial<CloudWatchOptions> = {},
  ): Promise<void> {
    const server = await serve(fakeCloudWatch(model, answer));
    try {
      await use(cloudwatch({ endpoint: server.url, queries, ...options }));
    } finally {
      await server.close();
    }
  }

  it("makes latency buckets of trimmed counts", async () => {
    const measured = {
      [`RequestCount ${GREEN}`]: [[T - MINUTE, 1], ...[1, 2, 3, 4].map((i) => [T + i, 1])] as [
        number,
        number,
      ][],
      [`TargetResponseTime ${GREEN}`]: [0.02, 0.1, 0.4, 3].map((seconds, i) => [T + i, seconds]) as [
        number,
        number,
      ][],
    };
    await answered(
      statistics(measured),
      async (source) => {
        const first = await source.read(about, at(MINUTE));
        assert.deepEqual(first?.edges, [], "no latency was measured yet");
        const { edges, slots } = (await source.read(about, at(2 * MINUTE)))!;
        assert.deepEqual(edges, [0.1, 0.5, 1]);
        assert.deepEqual(slots.green, { requests: 4, errors: 0, buckets: [2, 1, 0, 1] });
        assert.deepEqual(slots.blue, { requests: 0, errors: 0, buckets: [0, 0, 0, 0] });
      },
      { edges: [0.1, 0.5, 1] },
    );
  });

  it("asks for one metric per edge, in the metric's own unit", async () => {
    const stats: string[] = [];
    const ms = {
      ...queries,
      latency: { namespace: "AWS/ECS", name: "TargetResponseTime", unit: "ms" as const },
    };
    const note = ({ MetricDataQueries }: Input): Output => {
      for (const { MetricStat } of MetricDataQueries) stats.push(MetricStat!.Stat);
      return { MetricDataResults: [] };
    };
    await answered(note, (source) => source.read(about, at(0)), { queries: ms, edges: [0.25] });
    assert.deepEqual(stats.slice(0, stats.length / 2), ["Sum", "Sum", "Sum", "SampleCount", "TC(:250)"]);
  });

  const result = (
    Id: string,
    Timestamps: number[],
    Values: (number | string)[],
    StatusCode = "Complete",
  ) => ({
    Id,
    Timestamps: Timestamps.map((minute) => T / 1000 + minute * 60),
    Values,
    StatusCode,
  });

  it("reads all pages, in whatever order their points come", async () => {
    const asked: (string | undefined)[] = [];
    await answered(
      ({ NextToken }) => {
        asked.push(NextToken);
        return NextToken
          ? { MetricDataResults: [result("q0", [0, 1], [10, 20])] }
          : { MetricDataResults: [result("q0", [2, -1], [40, 1], "PartialData")], NextToken: "more" };
      },
      async (source) => {
        await source.read(about, at(MINUTE));
        assert.equal((await source.read(about, at(4 * MINUTE)))?.slots.blue?.requests, 70);
        assert.deepEqual(asked, [undefined, "more", undefined, "more"]);
      },
    );
  });

  it("gives up on pages that never end", () =>
    answered(
      () => ({ MetricDataResults: [], NextToken: "round" }),
      (source) => assert.rejects(source.read(about, at(0)), SourceMalformed.is),
    ));

  for (const state of ["PartialData", "InternalError"])
    it(`waits where a part is missing (${state}), and counts it once it is whole`, async () => {
      let tries = 0;
      await answered(
        () => ({ MetricDataResults: [result("q0", [-1], [5], ++tries < 3 ? state : "Complete")] }),
        async (source) => assert.ok(await source.read(about, at(MINUTE))),
      );
      assert.equal(tries, 3);
      await answered(
        () => ({ MetricDataResults: [result("q0", [-1], [5], state)] }),
        (source) =>
          assert.rejects(
            source.read(about, at(MINUTE)),
            (e) => SourceUnreachable.is(e) && /not whole/.test(e.message),
          ),
      );
    });

  const refused: [string, Output][] = [
    ["a sum that is NaN", { MetricDataResults: [result("q0", [0], ["NaN"])] }],
    ["a sum that is infinite", { MetricDataResults: [result("q0", [0], ["Infinity"])] }],
    ["a sum that is negative", { MetricDataResults: [result("q0", [0], [-1])] }],
    ["two values of one period", { MetricDataResults: [result("q0", [0, 0], [1, 1])] }],
    ["the same series twice", { MetricDataResults: [result("q0", [0], [1]), result("q0", [0], [1])] }],
    ["a period that begins where none does", { MetricDataResults: [result("q0", [0.5], [1])] }],
    ["more times than values", { MetricDataResults: [result("q0", [0, 1], [1])] }],
    ["more values than times", { MetricDataResults: [result("q0", [0], [1, 1])] }],
    [
      "a sum that is negative, whatever it is added to",
      { MetricDataResults: [result("q0", [0], [9]), result("q1", [0], [5]), result("q2", [0], [-1])] },
    ],
    ["errors without requests", { MetricDataResults: [result("q1", [0], [1])] }],
    [
      "latencies without their count",
      { MetricDataResults: [result("q0", [0], [1]), result("q4", [0], [1])] },
    ],
    [
      "latencies that fall",
      { MetricDataResults: [result("q3", [0], [90]), result("q4", [0], [50]), result("q5", [0], [10])] },
    ],
    ["another answer", {}],
  ];
  for (const [what, output] of refused)
    it(`refuses ${what}`, () =>
      answered(
        () => output,
        (source) => assert.rejects(source.read(about, at(2 * MINUTE)), SourceMalformed.is),
      ));

  it("counts nothing that it did not ask for", () =>
    answered(
      () => ({ MetricDataResults: [result("q0", [-60, -1, 0, 1, 60], [1000, 5, 7, 2000, 4000])] }),
      async (source) => {
        await source.read(about, at(MINUTE));
        assert.equal((await source.read(about, at(2 * MINUTE)))?.slots.blue?.requests, 7);
      },
    ));

  it("counts a request that failed twice once", () =>
    answered(
      () => ({ MetricDataResults: [result("q0", [0], [5]), result("q1", [0], [4]), result("q2", [0], [3])] }),
      async (source) => {
        await source.read(about, at(MINUTE));
        assert.deepEqual((await source.read(about, at(2 * MINUTE)))?.slots.blue?.errors, 5);
      },
    ));

  it("takes several series for no number", () =>
    answered(
      () => ({ MetricDataResults: [result("q0", [0], [5]), result("q0", [0], [4])] }),
      (source) => assert.rejects(source.value!("SEARCH('x', 'Sum')", about, at(2 * MINUTE)), BadConfig.is),
    ));

  async function raw(answer: RequestListener, options: Partial<CloudWatchOptions> = {}): Promise<unknown> {
    const server = await serve(answer);
    try {
      return await cloudwatch({ endpoint: server.url, queries, ...options }).read(about, at(0));
    } finally {
      await server.close();
    }
  }
  const json = { "content-type": "application/x-amz-json-1.0" };
  const failing =
    (status: number, type: string): RequestListener =>
    (_, response) =>
      void response.writeHead(status, json).end(JSON.stringify({ __type: type, message: "no" }));

  it("refuses a page, and half an answer", async () => {
    for (const body of ["<html>Welcome</html>", '{"MetricDataResults":[{"Id":"q0"', ""])
      await assert.rejects(
        raw((_, response) => void response.writeHead(200, { "content-type": "text/html" }).end(body)),
        SourceMalformed.is,
        body,
      );
  });

  it("asks again when it is throttled, and calls it unreachable in the end", async () => {
    let tries = 0;
    const throttled = failing(400, "com.amazonaws.cloudwatch#ThrottlingException");
    const once: RequestListener = (request, response) =>
      ++tries === 1
        ? throttled(request, response)
        : fakeCloudWatch(model, () => ({ MetricDataResults: [] }))(request, response);
    assert.equal(await raw(once), undefined);
    assert.equal(tries, 2);
    await assert.rejects(raw(throttled), (e) => SourceUnreachable.is(e) && /Throttling/.test(e.message));
    await assert.rejects(raw(failing(503, "ServiceUnavailable")), SourceUnreachable.is);
  });

  it("calls the question wrong where AWS does, and who asks where AWS does", async () => {
    await assert.rejects(raw(failing(400, "ValidationError")), BadConfig.is);
    await assert.rejects(raw(failing(400, "InvalidParameterCombinationException")), BadConfig.is);
    for (const type of ["AccessDeniedException", "ExpiredTokenException", "UnrecognizedClientException"])
      await assert.rejects(
        raw(failing(type === "AccessDeniedException" ? 403 : 400, type)),
        (e) => SourceUnreachable.is(e) && /look at the AWS credentials/.test(e.message),
      );
    await answered(
      () => ({ MetricDataResults: [result("q0", [], [], "Forbidden")] }),
      (source) =>
        assert.rejects(
          source.read(about, at(0)),
          (e) => SourceUnreachable.is(e) && /forbids/.test(e.message),
        ),
    );
  });

  it("follows no redirect: signatures would go along", async () => {
    let went = false;
    const other = await serve((_, response) => {
      went = true;
      response.end("{}");
    });
    const redirect: RequestListener = (_, response) =>
      void response.writeHead(307, { location: other.url }).end();
    await assert.rejects(raw(redirect), (e) => SourceUnreachable.is(e) && /no redirect/.test(e.message));
    await other.close();
    assert.equal(went, false);
  });

  it("calls a server unreachable that hangs, breaks off, or is not there", async () => {
    const hanging: RequestListener[] = [
      () => undefined,
      (_, response) => void response.writeHead(200, json).write("{"),
      (_, response) => {
        const timer = setInterval(() => response.write(" "), 20);
        response.on("close", () => clearInterval(timer));
      },
    ];
    for (const answer of hanging)
      await assert.rejects(
        raw(answer, { timeout: 150 }),
        (e) => SourceUnreachable.is(e) && /no answer within 150 ms/.test(e.message),
      );
    await assert.rejects(
      raw((_, response) => void response.write("{", () => response.destroy())),
      SourceUnreachable.is,
    );
    await assert.rejects(
      cloudwatch({ endpoint: "http://127.0.0.1:1", queries }).read(about, at(0)),
      SourceUnreachable.is,
    );
  });

  it("refuses an answer larger than its bound, while it is being sent", async () => {
    let sent = 0;
    const endless: RequestListener = (_, response) => {
      response.on("error", () => undefined).writeHead(200, json);
      const more = (): void => {
        while (!response.destroyed && response.write(" ".repeat(10_000))) sent += 10_000;
        if (!response.destroyed) response.once("drain", more);
      };
      more();
    };
    await assert.rejects(raw(endless, { maxBytes: 100_000 }), SourceMalformed.is);
    assert.ok(sent < 20_000_000);
  });

  it("takes ARNs for dimensions, and leaves out a slot without any", async () => {
    const arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012";
    const byArn = cloudwatchQueries.alb({
      loadBalancer: `${arn}:loadbalancer/${LB}`,
      targetGroups: { blue: `${arn}:${BLUE}`, green: `${arn}:${GREEN}` },
    });
    assert.deepEqual(byArn.dimensions(about, "green"), { LoadBalancer: LB, TargetGroup: GREEN });
    const named = { ...counts, dimensions: () => ({ Version: "{{version}}" }) };
    await put("RequestCount", BLUE, [[-1, 5]]);
    const groups: unknown[] = [];
    const note = ({ MetricDataQueries }: Input): Output => {
      for (const { MetricStat } of MetricDataQueries) groups.push(MetricStat!.Metric.Dimensions);
      return { MetricDataResults: [] };
    };
    await answered(note, (source) => source.read(about, at(0)), { queries: named });
    assert.deepEqual(groups, Array(3).fill([{ Name: "Version", Value: "1.2.3" }]), "blue is empty");
  });

  it("refuses what would give both slots the same counts, and options that can't be", async () => {
    const same = { ...counts, dimensions: () => ({ LoadBalancer: LB }) };
    await assert.rejects(
      onMoto({ queries: same }).read(about, at(0)),
      (e) => BadConfig.is(e) && /both slots/.test(e.message),
    );
    const typo = { ...counts, dimensions: () => ({ x: "{{slto}}" }) };
    await assert.rejects(onMoto({ queries: typo }).read(about, at(0)), BadConfig.is);
    for (const options of [
      { edges: [1, 0.5] },
      { edges: [0] },
      { edges: [NaN] },
      { period: 0 },
      { lag: -1 },
      { period: 0.5 },
    ])
      assert.throws(() => onMoto(options), BadConfig.is, JSON.stringify(options));
  });

  it("names the package that it needs where that is missing, and what else AWS lacks", async () => {
    const hook = `export function resolve(name, context, next) {
      if (name.startsWith("@aws-sdk/")) throw Object.assign(new Error("none"), { code: "ERR_MODULE_NOT_FOUND" });
      return next(name, context);
    }`;
    const register = `import { register } from "node:module"; register("data:text/javascript,${encodeURIComponent(hook)}");`;
    const script = `import all from ${JSON.stringify(join(__dirname, "../../automation/metrics/cloudwatch.ts"))};
      const dimensions = (_, slot) => ({ slot });
      const metric = { namespace: "n", name: "m" };
      all.cloudwatch({ queries: { requests: metric, errors: [], dimensions } })
        .read({ service: "s", environment: "e", target: "t" }, { signal: AbortSignal.timeout(20000), now: Date.now })
        .catch((e) => console.log(String(e)));`;
    const url = (text: string) => `data:text/javascript,${encodeURIComponent(text)}`;
    const { stdout } = spawnSync(
      process.execPath,
      ["--import", "tsx", "--import", url(register), "--input-type=module", "-e", script],
      { encoding: "utf8", cwd: join(__dirname, "../..") },
    );
    assert.match(stdout, /^bad-config: .*npm install @aws-sdk\/client-cloudwatch/);
    const saved = { ...process.env };
    try {
      for (const name of ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]) delete process.env[name];
      for (const name of ["AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"]) process.env[name] = "/nowhere";
      await assert.rejects(onMoto().read(about, at(0)), BadConfig.is);
      Object.assign(process.env, { AWS_ACCESS_KEY_ID: "x", AWS_SECRET_ACCESS_KEY: "y" });
      delete process.env.AWS_REGION;
      await assert.rejects(onMoto().read(about, at(0)), (e) => BadConfig.is(e) && /egion/.test(e.message));
    } finally {
      for (const name of ["AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"]) delete process.env[name];
      Object.assign(process.env, saved);
    }
  });
});
