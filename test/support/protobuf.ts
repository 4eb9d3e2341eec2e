import type { RequestListener } from "node:http";

/** A counter, or a native histogram: how many observations by index, whose bucket ends at 2^(index/8) (schema 3). */
export interface Metric {
  name: string;
  labels: Readonly<Record<string, string>>;
  value: number | Readonly<Record<number, number>>;
}

/**
 * A page of metrics in the one format that has native histograms, delimited protobuf:
 * https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto
 */
export function exposing(metrics: () => readonly Metric[]): RequestListener {
  const type = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
  return (_, response) => {
    const families = metrics().map((metric) => delimited(family(metric)));
    response.writeHead(200, { "content-type": type }).end(Buffer.concat(families));
  };
}

function family({ name, labels, value }: Metric): Buffer {
  const pairs = Object.entries(labels).map(([label, text]) =>
    bytes(1, Buffer.concat([bytes(1, Buffer.from(label)), bytes(2, Buffer.from(text))])),
  );
  const body = typeof value === "number" ? bytes(3, double(1, value)) : bytes(7, histogram(value));
  const kind = typeof value === "number" ? 0 : 4;
  return Buffer.concat([
    bytes(1, Buffer.from(name)),
    whole(3, kind),
    bytes(4, Buffer.concat([...pairs, body])),
  ]);
}

function histogram(observed: Readonly<Record<number, number>>): Buffer {
  const buckets = Object.entries(observed)
    .map(([index, count]) => [Number(index), count] as const)
    .sort(([a], [b]) => a - b);
  const all = buckets.reduce((sum, [, count]) => sum + count, 0);
  // Each bucket is a span of its own: the first by its index, the others by how many are left out between.
  const spans = buckets.map(([index], i) => {
    const before = buckets[i - 1];
    const offset = before ? index - before[0] - 1 : index;
    return bytes(12, Buffer.concat([whole(1, zigzag(offset)), whole(2, 1)]));
  });
  const deltas = buckets.map(([, count], i) => whole(13, zigzag(count - (buckets[i - 1]?.[1] ?? 0))));
  return Buffer.concat([
    whole(1, all),
    double(2, all),
    whole(5, zigzag(3)),
    double(6, 2 ** -128),
    whole(7, 0),
    ...spans,
    ...deltas,
  ]);
}

function varint(value: number): Buffer {
  const out: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...out, rest]);
    out.push((rest % 128) + 128);
  }
}

function zigzag(value: number): number {
  return value >= 0 ? value * 2 : -value * 2 - 1;
}

function whole(field: number, value: number): Buffer {
  return Buffer.concat([varint(field * 8), varint(value)]);
}

function double(field: number, value: number): Buffer {
  const eight = Buffer.alloc(8);
  eight.writeDoubleLE(value);
  return Buffer.concat([varint(field * 8 + 1), eight]);
}

function bytes(field: number, content: Buffer): Buffer {
  return Buffer.concat([varint(field * 8 + 2), delimited(content)]);
}

function delimited(content: Buffer): Buffer {
  return Buffer.concat([varint(content.length), content]);
}
