import assert from "node:assert/strict";
import { template } from "../../automation/wire/promql";
import { type Queries, queries } from "../../automation/wire/queries";
import { BadConfig } from "../../components/errors";

type Labels = Record<string, string>;

const NAMES = ["service", "environment", "target", "name", "slot", "version"];
const VALUES = { service: "shop", environment: "prod", target: "prod", name: "shop", slot: "green" };
const namespace = "web";

/** How many of a query's selections match these labels, by the matchers of PromQL, which are anchored. */
function matches(selection: Queries["requests"], labels: Labels): number {
  return [selection].flat().filter((text) => {
    const filled = template(text, "here", NAMES).fill(VALUES);
    const [, name, inside] = /^(\w+)\{(.*)\}$/.exec(filled)!;
    if (labels.__name__ !== name) return false;
    return [...inside!.matchAll(/(\w+)(=~|=)"((?:[^"\\]|\\.)*)"/g)].every(([, label, operator, quoted]) => {
      const wanted = JSON.parse(`"${quoted}"`) as string;
      const value = labels[label!] ?? "";
      return operator === "=" ? value === wanted : new RegExp(`^(?:${wanted})$`).test(value);
    });
  }).length;
}

const ready: Queries[] = [
  queries.sluice,
  queries.http,
  queries.openTelemetry,
  queries.traefik({ namespace }),
  queries.istio({ namespace }),
  queries.nginx({ namespace }),
  queries.contour({ namespace }),
];

describe("The ready-made queries", () => {
  it("are plain selections, and errors are what requests are, with a code", () => {
    for (const { requests, errors, latency } of ready) {
      const all = [requests, errors, latency ?? []].flat();
      for (const text of all) assert.match(template(text, "here", NAMES).fill(VALUES), /^\w+\{[^{}]*\}$/);
      assert.equal([requests].flat().length, [errors].flat().length);
      for (const [i, text] of [errors].flat().entries())
        assert.ok(text.startsWith([requests].flat()[i]!.slice(0, -1)) && text.includes('=~"5.."'), text);
    }
  });

  // As in pkg/provider/kubernetes/gateway/httproute.go of 3.1, 3.2 to 3.7.5, and since.
  const traefik = [
    "web-shop-green-80@kubernetesgateway",
    "web-shop-green-http-80@kubernetesgateway",
    "httproute-web-shop-gw-edge-gateway-ep-websecure-0-1a2b3c-svc-web-shop-green-80@kubernetesgateway",
  ];
  const others = [
    "web-shop-blue-80@kubernetesgateway",
    "staging-shop-green-80@kubernetesgateway",
    "other-web-shop-green-80@kubernetesgateway",
    "web-my-shop-green-80@kubernetesgateway",
    "httproute-web-shop-gw-edge-gateway-ep-websecure-0-1a2b3c-wrr@kubernetesgateway",
    "web-shop-green-80@kubernetescrd",
  ];
  it("of Traefik find a slot under each name it had, and no other service's", () => {
    const { requests, errors, latency } = queries.traefik({ namespace });
    const labels = (service: string) => ({
      __name__: "traefik_service_requests_total",
      service,
      code: "503",
    });
    for (const service of traefik) {
      assert.equal(matches(requests, labels(service)), 1, service);
      assert.equal(matches(errors, labels(service)), 1, service);
      const bucket = {
        ...labels(service),
        __name__: "traefik_service_request_duration_seconds_bucket",
        le: "0.1",
      };
      assert.equal(matches(latency!, bucket), 1);
    }
    for (const service of others) assert.equal(matches(requests, labels(service)), 0, service);
    assert.equal(matches(errors, { ...labels(traefik[0]!), code: "404" }), 0);
    const taken = {
      __name__: "traefik_service_requests_total",
      service: "traefik",
      exported_service: traefik[0]!,
    };
    assert.equal(matches(queries.traefik({ namespace, exported: true }).requests, taken), 1);
  });

  it("of Istio count once what the caller's proxy saw, in milliseconds", () => {
    const made = queries.istio({ namespace });
    const labels: Labels = {
      __name__: "istio_requests_total",
      reporter: "source",
      destination_service_namespace: "web",
      destination_service_name: "shop-green",
      response_code: "503",
    };
    assert.equal(matches(made.requests, labels), 1);
    assert.equal(matches(made.errors, labels), 1);
    assert.equal(matches(made.requests, { ...labels, reporter: "destination" }), 0);
    assert.equal(matches(made.requests, { ...labels, destination_service_namespace: "staging" }), 0);
    // The client went away.
    assert.equal(matches(made.errors, { ...labels, response_code: "0" }), 0);
    assert.equal(made.unit, "ms");
    const ambient = queries.istio({ namespace, reporter: "waypoint" });
    assert.equal(matches(ambient.requests, { ...labels, reporter: "waypoint" }), 1);
  });

  it("of ingress-nginx count each request for the slot that answered it, main or canary", () => {
    const { requests, errors, latency } = queries.nginx({ namespace });
    const main: Labels = {
      __name__: "nginx_ingress_controller_requests",
      namespace: "web",
      ingress: "shop",
      service: "shop-green",
      canary: "",
      status: "200",
    };
    // A canary's requests keep the labels of the main Ingress.
    const canary = { ...main, service: "shop-blue", canary: "web-shop-green-80" };
    assert.equal(matches(requests, main), 1);
    assert.equal(matches(requests, canary), 1);
    assert.equal(matches(requests, { ...canary, canary: "web-shop-green-http" }), 1);
    assert.equal(matches(requests, { ...main, canary: "web-shop-blue-80" }), 0, "the other slot answered it");
    assert.equal(matches(requests, { ...main, service: "shop-blue" }), 0);
    assert.equal(matches(requests, { ...main, namespace: "staging" }), 0);
    assert.equal(matches(errors, canary), 0);
    assert.equal(matches(errors, { ...canary, status: "502" }), 1);
    const bucket = {
      ...canary,
      __name__: "nginx_ingress_controller_request_duration_seconds_bucket",
      le: "1",
    };
    assert.equal(matches(latency!, bucket), 1);
    const taken: Labels = { ...main, namespace: "ingress", service: "metrics" };
    Object.assign(taken, { exported_namespace: "web", exported_service: "shop-green" });
    assert.equal(matches(queries.nginx({ namespace, exported: true }).requests, taken), 1);
  });

  it("of Contour find Envoy's cluster of the slot, in milliseconds", () => {
    const made = queries.contour({ namespace });
    const labels = (cluster: string): Labels => ({
      __name__: "envoy_cluster_upstream_rq",
      envoy_cluster_name: cluster,
      envoy_response_code: "500",
    });
    assert.equal(matches(made.requests, labels("web_shop-green_80")), 1);
    assert.equal(matches(made.errors, labels("web_shop-green_http")), 1);
    for (const cluster of ["web_shop-blue_80", "staging_shop-green_80", "web_my-shop-green_80"])
      assert.equal(matches(made.requests, labels(cluster)), 0, cluster);
    assert.equal(made.unit, "ms");
  });

  it("take a namespace that is a name or a placeholder, and nothing that could be a pattern", () => {
    assert.match(String(queries.traefik({ namespace: "{{environment}}" }).requests), /\{\{environment\}\}-/);
    assert.match(String(queries.istio({ namespace: "shop-{{ environment }}" }).requests), /"shop-\{\{/);
    for (const bad of ["", ".*", 'a"', "a|b", "A"])
      for (const make of [queries.traefik, queries.istio, queries.nginx, queries.contour])
        assert.throws(() => make({ namespace: bad }), BadConfig.is, bad);
  });
});
