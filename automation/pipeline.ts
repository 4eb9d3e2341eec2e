import { services } from "../stacks/services";
import {
  analysis,
  blueGreen,
  canary,
  errorRate,
  health,
  latency,
  load,
  pipeline,
  scrape,
  smoke,
} from "./index";

// The file to edit: which environments there are, how a release moves into each, and what must be true.

const checks = [health({ path: "/healthz" }), smoke({ path: "/", status: 200, maxLatency: "1s" })];

// The sample has no users, so requests are made while a release is judged. Take this out once yours has some.
const traffic = load({ rps: 200 });

// Short times, for a rehearsal; the defaults are a minute per weight.
const judged = analysis({
  source: scrape(),
  judges: [errorRate({ max: "1%", worseThan: 1.5 }), latency({ quantile: 0.99, ratio: 2, warmUp: "5s" })],
  every: "1s",
  stepBake: "10s",
  minBake: "20s",
});

export default pipeline({
  services,
  environments: [
    { name: "dev", strategy: blueGreen(), checks },
    { name: "staging", strategy: blueGreen(), checks },
    { name: "prod", strategy: canary({ weights: [10, 50, 100] }), checks, analysis: judged, traffic },
  ],
});
