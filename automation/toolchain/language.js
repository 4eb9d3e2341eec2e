#!/usr/bin/env node
// pulumi-language-nodejs: what the Pulumi engine starts to run a program or a policy pack in Node. The official
// distribution has its own beside the CLI; a CLI built from Go modules gets this one. It is installed as a copy
// that several clones share, so it takes @pulumi/pulumi from the project it is asked to run, never from a clone.
const { spawn } = require("node:child_process");
const { existsSync, readFileSync } = require("node:fs");
const { createRequire } = require("node:module");
const path = require("node:path");

/** @typedef {typeof import("@pulumi/pulumi/proto/language_pb")} Messages */
/** @typedef {import("@pulumi/pulumi/proto/language_pb").ProgramInfo} ProgramInfo */
/** @typedef {import("node:child_process").ChildProcess} Child */

/** An exit code of cmd/run: the user was told what is wrong, say no more. */
const BAIL = 32;

/** Halves the time until a program runs. */
const LEAN = path.join(__dirname, "lean.js");

/**
 * The first of the directories from which the module can be had.
 * @param {string} name
 * @param {...(string | undefined)} directories
 * @returns {string}
 */
function resolve(name, ...directories) {
  const places = [...new Set([...directories, process.cwd(), process.env.SLUICE_ROOT].filter(Boolean))];
  for (const directory of places) {
    try {
      return createRequire(path.join(/** @type {string} */ (directory), "index.js")).resolve(name);
    } catch {
      // The next place may have it.
    }
  }
  throw new Error(`Cannot find module '${name}' from ${places.join(" or ")}: run \`npm ci\` there.`);
}

/** @type {Messages} */
let messages;
/** @type {string[]} */
let inherited = [];
/** @type {Set<Child>} */
const children = new Set();

/**
 * @param {string[]} args
 * @param {import("node:child_process").SpawnOptions} options
 * @returns {{ child: Child, ended: Promise<{ code: number, problem?: string }> }}
 */
function start(args, options) {
  const child = spawn(process.execPath, ["--require", LEAN, ...args], options);
  children.add(child);
  const ended = new Promise((done) => {
    child.on("error", (problem) => done({ code: 1, problem: `could not run Node: ${problem.message}` }));
    child.on("close", (code, signal) =>
      done(
        code === null
          ? { code: 1, problem: `was ended by ${signal}` }
          : { code, problem: `exited with non-zero exit code: ${code}` },
      ),
    );
  });
  return { child, ended: ended.finally(() => children.delete(child)) };
}

function stopAll() {
  for (const child of children) child.kill("SIGKILL");
}

/** Splits like a shell does, quotes respected: `--import tsx --title "a b"`. */
function words(/** @type {string} */ text) {
  return [...text.matchAll(/(?:[^\s"']|"[^"]*"|'[^']*')+/g)].map(([word]) => word.replace(/["']/g, ""));
}

/** Node's own arguments and environment, as `runtime.options` of the program's Pulumi.yaml ask for. */
function runtimeOptions(/** @type {ProgramInfo | undefined} */ info) {
  const options = info?.getOptions()?.toJavaScript() ?? {};
  /** @type {Record<string, string>} */
  const env = { PULUMI_NODEJS_TYPESCRIPT: String(options.typescript ?? true) };
  if (typeof options.tsconfig === "string") env.PULUMI_NODEJS_TSCONFIG_PATH = options.tsconfig;
  return { args: words(typeof options.nodeargs === "string" ? options.nodeargs : ""), env };
}

/** @param {import("@pulumi/pulumi/proto/language_pb").RunRequest} request */
async function run(request) {
  const info = request.getInfo();
  const program = info?.getProgramDirectory() || request.getPwd();
  const node = runtimeOptions(info);
  const flags = Object.entries({
    monitor: request.getMonitorAddress(),
    engine: inherited.at(-1),
    organization: request.getOrganization(),
    project: request.getProject(),
    "root-directory": info?.getRootDirectory(),
    stack: request.getStack(),
    pwd: program,
    parallel: String(request.getParallel()),
    tracing: inherited.includes("--tracing") ? inherited[inherited.indexOf("--tracing") + 1] : undefined,
  }).flatMap(([name, value]) => (value ? [`--${name}`, value] : []));
  const { ended } = start(
    [
      ...node.args,
      resolve("@pulumi/pulumi/cmd/run", program),
      ...flags,
      ...(request.getDryrun() ? ["--dry-run"] : []),
      info?.getEntryPoint() || request.getProgram() || ".",
      ...request.getArgsList(),
    ],
    {
      cwd: program,
      stdio: ["ignore", "inherit", "inherit"],
      env: {
        ...process.env,
        ...node.env,
        PULUMI_CONFIG: JSON.stringify(Object.fromEntries(request.getConfigMap().toArray())),
        PULUMI_CONFIG_SECRET_KEYS: JSON.stringify(request.getConfigsecretkeysList()),
      },
    },
  );
  const { code, problem } = await ended;
  const response = new messages.RunResponse();
  if (code === BAIL) response.setBail(true);
  else if (code !== 0) response.setError(`Program ${problem}`);
  return response;
}

/**
 * Runs a process whose output goes to the caller of a streaming method, for as long as the caller wants it.
 * @param {import("@grpc/grpc-js").ServerWritableStream<unknown, unknown>} call
 * @param {string[]} args
 * @param {import("node:child_process").SpawnOptions} options
 * @param {(part: { stdout?: Uint8Array, stderr?: Uint8Array }) => unknown} wrap
 */
async function stream(call, args, options, wrap) {
  const { child, ended } = start(args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
  child.stdout?.on("data", (stdout) => call.write(wrap({ stdout })));
  child.stderr?.on("data", (stderr) => call.write(wrap({ stderr })));
  call.on("cancelled", () => child.kill("SIGKILL"));
  return ended;
}

/** @param {import("@grpc/grpc-js").ServerWritableStream<import("@pulumi/pulumi/proto/language_pb").RunPluginRequest, unknown>} call */
async function runPlugin(call) {
  const { request } = call;
  const program = request.getInfo()?.getProgramDirectory() ?? request.getProgram();
  const node = runtimeOptions(request.getInfo());
  const analyzer = request.getKind() === "analyzer";
  const args = analyzer
    ? [resolve("@pulumi/pulumi/cmd/run-policy-pack", program), ...request.getArgsList(), program]
    : [resolve("@pulumi/pulumi/cmd/run-plugin", program), program, ...request.getArgsList()];
  const env = Object.fromEntries(request.getEnvList().map((pair) => pair.split(/=(.*)/s, 2)));
  const { code } = await stream(
    call,
    [...node.args, ...args],
    // A policy pack reads its version from the package.json of its working directory.
    { cwd: analyzer ? program : request.getPwd() || program, env: { ...env, ...node.env } },
    (part) => {
      const response = new messages.RunPluginResponse();
      if (part.stdout) response.setStdout(part.stdout);
      if (part.stderr) response.setStderr(part.stderr);
      return response;
    },
  );
  const last = new messages.RunPluginResponse();
  last.setExitcode(code);
  call.write(last);
}

/** @param {import("@grpc/grpc-js").ServerWritableStream<import("@pulumi/pulumi/proto/language_pb").InstallDependenciesRequest, unknown>} call */
async function installDependencies(call) {
  const cwd = call.request.getInfo()?.getProgramDirectory() || call.request.getDirectory();
  // Through a one-line script, for npm is no file that Node can be given.
  const script =
    "process.exitCode = require('node:child_process').spawnSync('npm', ['install'], { stdio: 'inherit' }).status ?? 1";
  const { code } = await stream(call, ["-e", script], { cwd }, (part) => {
    const response = new messages.InstallDependenciesResponse();
    if (part.stdout) response.setStdout(part.stdout);
    if (part.stderr) response.setStderr(part.stderr);
    return response;
  });
  if (code !== 0) throw new Error(`npm install exited with code ${code}`);
}

/** @param {import("@pulumi/pulumi/proto/language_pb").GetProgramDependenciesRequest} request */
async function getProgramDependencies(request) {
  const directory = request.getInfo()?.getProgramDirectory() || request.getPwd();
  const response = new messages.GetProgramDependenciesResponse();
  const read = (/** @type {string} */ file) => JSON.parse(readFileSync(path.join(directory, file), "utf8"));
  if (!existsSync(path.join(directory, "package.json"))) return response;
  for (const name of Object.keys(read("package.json").dependencies ?? {})) {
    const installed = path.join("node_modules", name, "package.json");
    if (!existsSync(path.join(directory, installed))) continue;
    const dependency = new messages.DependencyInfo();
    dependency.setName(name);
    dependency.setVersion(read(installed).version);
    response.addDependencies(dependency);
  }
  return response;
}

async function about() {
  const response = new messages.AboutResponse();
  response.setExecutable(process.execPath);
  response.setVersion(process.version);
  return response;
}

/**
 * @template A
 * @param {(request: A) => Promise<unknown>} method
 * @returns {import("@grpc/grpc-js").handleUnaryCall<any, any>}
 */
function unary(method) {
  return (call, answer) => {
    method(call.request).then(
      (response) => answer(null, response),
      (problem) => answer({ code: 2, details: problem.message }),
    );
  };
}

/**
 * @param {(call: import("@grpc/grpc-js").ServerWritableStream<any, any>) => Promise<void>} method
 * @returns {import("@grpc/grpc-js").handleServerStreamingCall<any, any>}
 */
function streaming(method) {
  return (call) => {
    method(call).then(
      () => call.end(),
      (problem) => call.emit("error", { code: 2, details: problem.message }),
    );
  };
}

function main() {
  inherited = process.argv.slice(2);
  const load = createRequire(resolve("@pulumi/pulumi/package.json"));
  messages = load("@pulumi/pulumi/proto/language_pb");
  /** @type {typeof import("@grpc/grpc-js")} */
  const grpc = load("@grpc/grpc-js");
  const { Empty } = load("google-protobuf/google/protobuf/empty_pb");
  const { LanguageRuntimeService } = load("@pulumi/pulumi/proto/language_grpc_pb");
  const plugin = load("@pulumi/pulumi/proto/plugin_pb");
  const { version } = load("@pulumi/pulumi/package.json");

  // A program may send its whole configuration at once; gRPC's own limit is 4 MB, the engine's 400 MB.
  const server = new grpc.Server({ "grpc.max_receive_message_length": 400 * 1024 * 1024 });
  server.addService(LanguageRuntimeService, {
    handshake: unary(async () => new messages.LanguageHandshakeResponse()),
    getPluginInfo: unary(async () => {
      const info = new plugin.PluginInfo();
      info.setVersion(version);
      return info;
    }),
    // Provider plugins are fetched when a resource first needs them: each names its version and origin.
    getRequiredPlugins: unary(async () => new messages.GetRequiredPluginsResponse()),
    getRequiredPackages: unary(async () => new messages.GetRequiredPackagesResponse()),
    runtimeOptionsPrompts: unary(async () => new messages.RuntimeOptionsResponse()),
    run: unary(run),
    runPlugin: streaming(runPlugin),
    installDependencies: streaming(installDependencies),
    getProgramDependencies: unary(getProgramDependencies),
    about: unary(about),
    cancel: unary(async () => {
      stopAll();
      return new Empty();
    }),
  });
  server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (problem, port) => {
    if (problem) throw problem;
    console.log(String(port));
  });

  // The engine holds the other end of standard input: its end is the end of the engine, however that came.
  process.stdin.on("end", () => {
    stopAll();
    process.exit(0);
  });
  process.stdin.resume();
}

main();
