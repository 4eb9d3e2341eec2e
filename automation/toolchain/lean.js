// Loaded before @pulumi/pulumi: lets two of its parts wait until they are used. Both serve the serialisation of
// closures, which few programs and no dynamic provider do; loading them takes about as long as all the rest.
const Module = require("node:module");
const path = require("node:path");

/**
 * Puts a stand-in where the module would be cached; the first look at it loads the module.
 * @param {string} file
 * @param {NodeRequire} load
 */
function defer(file, load) {
  /** @type {Record<string | symbol, unknown> | undefined} */
  let real;
  const exports = new Proxy(/** @type {Record<string | symbol, unknown>} */ ({}), {
    get(_target, key) {
      // TypeScript's import helpers ask this first, and would copy all the rest if it were not so.
      if (key === "__esModule") return true;
      if (!real) {
        delete require.cache[file];
        real = load(file);
      }
      return real?.[key];
    },
  });
  require.cache[file] = Object.assign(new Module(file), { filename: file, loaded: true, exports });
}

for (const directory of [process.cwd(), process.env.SLUICE_ROOT ?? "."]) {
  try {
    const load = Module.createRequire(path.resolve(directory, "index.js"));
    const sdk = Module.createRequire(load.resolve("@pulumi/pulumi/package.json"));
    for (const name of ["./typescript-shim", "@npmcli/arborist"]) defer(sdk.resolve(name), sdk);
    break;
  } catch {
    // Not here, or another version of the SDK, made of other parts: then nothing waits.
  }
}
