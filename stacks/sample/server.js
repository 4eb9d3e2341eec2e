"use strict";
// The service of the quick start. Edit these, then run `npm run promote -- staging prod --build`.
const VERSION = "1";
/** Share of requests that fail, 0 to 1. */
const FAIL_RATE = 0;
/** Milliseconds that each answer takes. */
const DELAY_MS = 0;

const { createServer } = require("node:http");

const server = createServer((request, response) => {
  if (request.url === "/healthz") return void response.end("ok\n");
  setTimeout(() => {
    response.statusCode = Math.random() < FAIL_RATE ? 500 : 200;
    response.setHeader("content-type", "text/plain");
    response.end(response.statusCode === 200 ? `sample ${VERSION}\n` : "failed\n");
  }, DELAY_MS);
});

server.listen(Number(process.env.PORT), "127.0.0.1", () => console.log(`sample ${VERSION} listens`));

// Answers what has begun, then ends.
process.once("SIGTERM", () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
