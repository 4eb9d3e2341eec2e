import { BadConfig } from "../../components/errors";

/** Plain selections of counters that only grow; where there are several, what they count is added. */
export type Selection = string | readonly string[];

/**
 * PromQL for counters that only grow, as instant vectors. Series are told apart by the labels `slot`, `job` and
 * `instance`, so select them plainly: what is summed or rated in the query can't be followed over a restart.
 * Inside quotes stand `{{service}}`, `{{environment}}`, `{{target}}`, `{{name}}` (the name the platform knows the
 * service by), `{{slot}}` and `{{version}}` (the slot's); with one of the last two, each slot is asked for by itself.
 */
export interface Queries {
  requests: Selection;
  errors: Selection;
  /** Buckets of a classic histogram with the label `le`, or native histograms. @default none */
  latency?: Selection | undefined;
  /** What the latencies are counted in: seconds or milliseconds. @default "s" */
  unit?: "s" | "ms" | undefined;
}

/** Where a slot's Kubernetes Service `{{name}}-{{slot}}` is. */
export interface Cluster {
  /** Namespace of the Services: a name, or one with placeholders, such as `{{environment}}`. */
  namespace: string;
}

/** For metrics whose labels may be taken by those of the scrape. */
export interface Scraped extends Cluster {
  /**
   * Whether the scrape keeps the labels `service` and `namespace` for itself and calls the router's own
   * `exported_service` and `exported_namespace`: so does a ServiceMonitor without `honorLabels`. @default false
   */
  exported?: boolean | undefined;
}

export interface Mesh extends Cluster {
  /**
   * Whose proxy counts. The caller's knows which Service the route chose, and sees requests that reached nobody; the
   * callee's names one Service for a pod that several select. `waypoint` is for ambient mode. @default "source"
   */
  reporter?: "source" | "destination" | "waypoint" | undefined;
}

/** Ready-made queries, by who names the metrics. */
export const queries = {
  /** The embedded platform's own. */
  sluice: {
    requests: 'sluice_requests_total{service="{{name}}"}',
    errors: 'sluice_requests_total{service="{{name}}",code=~"5.."}',
    latency: 'sluice_request_duration_seconds_bucket{service="{{name}}"}',
  },
  /** The names of most client libraries; service, environment and slot are labels of the scraped targets. */
  http: {
    requests: 'http_requests_total{service="{{service}}",environment="{{environment}}"}',
    errors: 'http_requests_total{service="{{service}}",environment="{{environment}}",code=~"5.."}',
    latency: 'http_request_duration_seconds_bucket{service="{{service}}",environment="{{environment}}"}',
  },
  /** OpenTelemetry's semantic conventions; service, environment and slot are labels of the scraped targets. */
  openTelemetry: {
    requests:
      'http_server_request_duration_seconds_count{service="{{service}}",environment="{{environment}}"}',
    errors:
      'http_server_request_duration_seconds_count{service="{{service}}",environment="{{environment}}",' +
      'http_response_status_code=~"5.."}',
    latency:
      'http_server_request_duration_seconds_bucket{service="{{service}}",environment="{{environment}}"}',
  },
  traefik,
  istio,
  nginx,
  contour,
} satisfies Record<string, Queries | ((where: Scraped & Mesh) => Queries)>;

/**
 * Traefik with the Gateway API: https://doc.traefik.io/traefik/observability/metrics/overview/. A backend is named
 * `<namespace>-<Service>-<port>`, since 3.2 `…-http-<port>`, since 3.7.6 with the route in front and `-svc-` between.
 */
function traefik({ namespace, exported = false }: Scraped): Queries {
  const label = exported ? "exported_service" : "service";
  const backend = `(httproute-.+-svc-)?${checked(namespace)}-{{name}}-{{slot}}-(http-)?[0-9]+@kubernetesgateway`;
  return {
    requests: `traefik_service_requests_total{${label}=~"${backend}"}`,
    errors: `traefik_service_requests_total{${label}=~"${backend}",code=~"5.."}`,
    latency: `traefik_service_request_duration_seconds_bucket{${label}=~"${backend}"}`,
  };
}

/** Istio's standard metrics: https://istio.io/latest/docs/reference/config/metrics/ */
function istio({ namespace, reporter = "source" }: Mesh): Queries {
  const slot =
    `reporter="${reporter}",destination_service_namespace="${checked(namespace)}",` +
    'destination_service_name="{{name}}-{{slot}}"';
  return {
    requests: `istio_requests_total{${slot}}`,
    errors: `istio_requests_total{${slot},response_code=~"5.."}`,
    latency: `istio_request_duration_milliseconds_bucket{${slot}}`,
    unit: "ms",
  };
}

/**
 * ingress-nginx: https://kubernetes.github.io/ingress-nginx/user-guide/monitoring/. What a canary Ingress took keeps
 * the labels of the main one and is told by `canary`, the upstream `<namespace>-<Service>-<port>`.
 */
function nginx({ namespace, exported = false }: Scraped): Queries {
  const own = exported ? "exported_" : "";
  const inside = checked(namespace);
  const slots = [
    `${own}namespace="${inside}",${own}service="{{name}}-{{slot}}",canary=~"-?"`,
    `${own}namespace="${inside}",canary=~"${inside}-{{name}}-{{slot}}-[^-]+"`,
  ];
  return {
    requests: slots.map((slot) => `nginx_ingress_controller_requests{${slot}}`),
    errors: slots.map((slot) => `nginx_ingress_controller_requests{${slot},status=~"5.."}`),
    latency: slots.map((slot) => `nginx_ingress_controller_request_duration_seconds_bucket{${slot}}`),
  };
}

/** Contour, which names Envoy's clusters `<namespace>_<Service>_<port>`; Envoy counts in milliseconds. */
function contour({ namespace }: Cluster): Queries {
  const slot = `envoy_cluster_name=~"${checked(namespace)}_{{name}}-{{slot}}_[0-9a-zA-Z-]+"`;
  return {
    requests: `envoy_cluster_upstream_rq{${slot}}`,
    errors: `envoy_cluster_upstream_rq{${slot},envoy_response_code=~"5.."}`,
    latency: `envoy_cluster_upstream_rq_time_bucket{${slot}}`,
    unit: "ms",
  };
}

/** It becomes part of a pattern, so only what a namespace can be is let in. */
function checked(namespace: string): string {
  if (/^(?:[a-z0-9-]|\{\{\s*[a-z]+\s*\}\})+$/.test(namespace)) return namespace;
  throw BadConfig("queries namespace", `${JSON.stringify(namespace)} is no name of a namespace.`);
}
