import assert from "node:assert/strict";
import type { RequestListener } from "node:http";
import type { Model } from "./moto";

/** What GetMetricData is asked. */
export interface Input {
  MetricDataQueries: {
    Id: string;
    Expression?: string;
    MetricStat?: {
      Metric: { Namespace: string; MetricName: string; Dimensions: { Name: string; Value: string }[] };
      Period: number;
      Stat: string;
    };
  }[];
  StartTime: number;
  EndTime: number;
  NextToken?: string;
}

/** What it answers, as JSON: times in seconds. */
export interface Output {
  MetricDataResults?: {
    Id: string;
    StatusCode?: string;
    Timestamps: number[];
    Values: (number | string)[];
  }[];
  NextToken?: string;
}

/**
 * A CloudWatch for what moto lacks, such as trimmed counts: it speaks the JSON protocol of the service's model, and
 * holds requests and answers against the model's shapes.
 */
export function fakeCloudWatch(model: Model, answer: (input: Input) => Output): RequestListener {
  return (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      try {
        assert.ok(model.metadata.protocols.includes("json"));
        assert.equal(request.headers["content-type"], `application/x-amz-json-${model.metadata.jsonVersion}`);
        assert.equal(request.headers["x-amz-target"], `${model.metadata.targetPrefix}.GetMetricData`);
        assert.match(String(request.headers.authorization), /^AWS4-HMAC-SHA256 Credential=.+\/monitoring\//);
        const { input, output } = model.operations.GetMetricData!;
        const body = JSON.parse(Buffer.concat(chunks).toString("utf8"));
        fits(model, input.shape, body);
        const result = answer(body);
        fits(model, output.shape, result);
        response.writeHead(200, { "content-type": "application/x-amz-json-1.0" }).end(JSON.stringify(result));
      } catch (thrown) {
        const type = "com.amazonaws.cloudwatch#ValidationException";
        response
          .writeHead(400, { "content-type": "application/x-amz-json-1.0" })
          .end(JSON.stringify({ __type: type, message: String(thrown) }));
      }
    });
  };
}

/** Throws where a value does not fit its shape. */
function fits(model: Model, name: string, value: unknown): void {
  const shape = model.shapes[name]!;
  switch (shape.type) {
    case "structure": {
      assert.ok(value && typeof value === "object" && !Array.isArray(value), `${name} is no structure`);
      for (const member of shape.required ?? []) assert.ok(member in value, `${name} lacks ${member}`);
      for (const [key, inner] of Object.entries(value)) {
        const member = shape.members?.[key];
        assert.ok(member, `${name} has no member ${key}`);
        fits(model, member.shape, inner);
      }
      return;
    }
    case "list":
      assert.ok(Array.isArray(value), `${name} is no list`);
      for (const inner of value) fits(model, shape.member!.shape, inner);
      return;
    case "string":
      assert.ok(typeof value === "string", `${name} is no string`);
      assert.ok(
        value.length >= (shape.min ?? 0) && value.length <= (shape.max ?? Infinity),
        `${name}: ${value}`,
      );
      if (shape.enum) assert.ok(shape.enum.includes(value), `${name} can't be ${value}`);
      if (shape.pattern) assert.match(value, new RegExp(`^(?:${shape.pattern})$`));
      return;
    case "double":
      // Numbers that JSON can't write are strings in this protocol.
      assert.ok(typeof value === "number" || ["NaN", "Infinity", "-Infinity"].includes(String(value)), name);
      return;
    default:
      assert.ok(typeof value === "number" || typeof value === "boolean", `${name} is no ${shape.type}`);
  }
}

/** The points of one metric: a time in milliseconds, and what was measured. */
export type Measured = Readonly<Record<string, readonly [at: number, value: number][]>>;

/** Statistics of measured values, as the user guide defines them; metrics are named `<name> <target group>`. */
export function statistics(measured: Measured): (input: Input) => Output {
  return ({ MetricDataQueries, StartTime, EndTime }) => ({
    MetricDataResults: MetricDataQueries.map(({ Id, MetricStat }) => {
      const { Metric, Period, Stat } = MetricStat!;
      const group = Metric.Dimensions.find(({ Name }) => Name === "TargetGroup")?.Value;
      const periods = new Map<number, number[]>();
      for (const [at, value] of measured[`${Metric.MetricName} ${group}`] ?? []) {
        const from = Math.floor(at / 1000 / Period) * Period;
        if (from >= StartTime && from < EndTime) periods.set(from, [...(periods.get(from) ?? []), value]);
      }
      const points = [...periods].map(([from, values]) => [from, statistic(Stat, values)] as const);
      return {
        Id,
        StatusCode: "Complete",
        Timestamps: points.map(([from]) => from),
        Values: points.map(([, value]) => value),
      };
    }),
  });
}

/** https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html */
function statistic(stat: string, values: readonly number[]): number {
  if (stat === "Sum") return values.reduce((sum, value) => sum + value, 0);
  if (stat === "SampleCount") return values.length;
  const [, from = "", to = ""] = /^TC\(([\d.]*):([\d.]*)\)$/.exec(stat) ?? [];
  assert.ok(from || to, `there is no statistic ${stat}`);
  // The lower bound is not part of it, the upper one is.
  const within = (value: number) =>
    value > (from ? Number(from) : -Infinity) && value <= (to ? Number(to) : Infinity);
  return values.filter(within).length;
}
