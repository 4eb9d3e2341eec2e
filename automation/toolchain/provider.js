#!/usr/bin/env node
// pulumi-resource-pulumi-nodejs: what the Pulumi engine starts for dynamic providers. Installed as a copy that
// several clones share, so it takes @pulumi/pulumi from the project it is started for, never from a clone.
const { createRequire } = require("node:module");
const path = require("node:path");
require("./lean.js");

function main() {
  const places = [process.cwd(), process.env.SLUICE_ROOT].filter((place) => place !== undefined);
  for (const place of places) {
    /** @type {string} */
    let file;
    try {
      file = createRequire(path.join(place, "index.js")).resolve("@pulumi/pulumi/cmd/dynamic-provider");
    } catch {
      continue;
    }
    // The engine holds the other end of standard input. Without an engine nobody would record what is done here.
    process.stdin.on("end", () => process.exit(0)).resume();
    require(file);
    return;
  }
  throw new Error(`Cannot find @pulumi/pulumi from ${places.join(" or ")}: run \`npm ci\` there.`);
}

main();
