import type { Service } from "../components/release";

/** What is deployed. Where and how it moves is in automation/pipeline.ts; per stack, in stacks/Pulumi.<stack>.yaml. */
export const services: Service[] = [
  {
    name: "sample",
    source: { directory: "stacks/sample" },
    start: ["node", "server.js"],
    health: "/healthz",
  },
];
