// JavaScript, so that the pack starts without a type check, and loads little: it runs at every preview and up.
const Module = require("node:module");

// The SDK takes the pack's version from the package.json of the working directory, which may be the project's.
process.chdir(__dirname);

// @pulumi/policy loads all of @pulumi/pulumi (400 ms), for assets and archives alone: that waits until one is met.
const sdk = require.resolve("@pulumi/pulumi");
if (!require.cache[sdk]) {
  /** @type {Record<string | symbol, unknown> | undefined} */
  let whole;
  const late = new Module(sdk);
  late.loaded = true;
  late.exports = new Proxy(
    {},
    {
      get(_, name) {
        if (!whole) {
          delete require.cache[sdk];
          whole = /** @type {Record<string | symbol, unknown>} */ (require(sdk));
        }
        return whole[name];
      },
    },
  );
  require.cache[sdk] = late;
}

// Before tsx, for under its loader the same modules take 350 ms more.
require("@pulumi/policy");
require("tsx/cjs/api").register();
require("./pack");
