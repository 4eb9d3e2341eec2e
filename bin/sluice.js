#!/usr/bin/env node

// Plain JavaScript: `--help` must not wait for a compiler. A command loads tsx and automation/cli.ts.

// TypeScript is compiled at this very moment, so its types can't be known here.
const load = /** @type {(path: string) => any} */ (require);

/** @param {string} command @param {Record<string, unknown>} argv */
async function run(command, argv) {
  load("tsx/cjs");
  load("../automation/toolchain/lean.js");
  const { main } = load("../automation/cli.ts");
  process.exitCode = await main(command, argv);
  // What a command left open (a kept-alive connection, a timer) must not keep the terminal.
  await flushed(process.stdout);
  await flushed(process.stderr);
  process.exit();
}

/** @param {NodeJS.WriteStream} stream */
function flushed(stream) {
  return new Promise((resolve) => stream.write("", resolve));
}

// `pulumi` hands everything on untouched, its own --help too.
const words = process.argv.slice(2);
if (words[0] === "pulumi") {
  run("pulumi", { words: words.slice(1)[0] === "--" ? words.slice(2) : words.slice(1) });
} else {
  import("yargs").then(({ default: yargs }) => parse(yargs)).catch(fail);
}

/** @param {unknown} e */
function fail(e) {
  process.stderr.write(`${e instanceof Error ? e.stack : e}\n`);
  process.exit(2);
}

/** @param {any} yargs */
async function parse(yargs) {
  const json = { type: "boolean", default: false, describe: "One JSON object per line (NDJSON)" };
  const service = { type: "string", describe: "Only this service" };
  /** @param {string} name */
  const one = (name) => (/** @type {any} */ y) =>
    y
      .positional("environment", { type: "string", describe: name })
      .option("service", service)
      .option("json", json);
  await yargs(words)
    .scriptName("sluice")
    .usage("$0 <command>\n\nTakes a release from environment to environment, and back.")
    .command(
      "promote <environments..>",
      "Take the release that the first environment proved to the next ones",
      (/** @type {any} */ y) =>
        y
          .positional("environments", { type: "string", array: true, describe: "Source, then targets" })
          .option("build", {
            type: "boolean",
            describe: "Build from source, and begin in the first environment",
          })
          .option("dry-run", {
            type: "boolean",
            describe: "Show the plan and what Pulumi would do; change nothing",
          })
          .option("unproven", {
            type: "boolean",
            describe: "Take what the source runs although nothing proved it",
          })
          .option("service", service)
          .option("json", json)
          .example("$0 promote staging prod", "what staging proved goes to prod")
          .example("$0 promote staging prod --build", "from source through staging to prod")
          .example("$0 promote staging prod --dry-run", "what would happen"),
      (/** @type {any} */ argv) => run("promote", argv),
    )
    .command(
      "status [environments..]",
      "What runs where, and which run is open",
      (/** @type {any} */ y) => y.option("json", json),
      (/** @type {any} */ argv) => run("status", argv),
    )
    .command(
      "history [environments..]",
      "Runs of the past, newest first",
      (/** @type {any} */ y) =>
        y.option("limit", { type: "number", default: 20, describe: "At most so many" }).option("json", json),
      (/** @type {any} */ argv) => run("history", argv),
    )
    .command(
      "abort <environment>",
      "Roll the open run of an environment back",
      (/** @type {any} */ y) =>
        one("Whose run")(y).option("reason", { type: "string", describe: "Kept in the journal" }),
      (/** @type {any} */ argv) => run("abort", argv),
    )
    .command(
      "rollback <environment>",
      "Go back to the release that was live before",
      one("Where"),
      (/** @type {any} */ argv) => run("rollback", argv),
    )
    .command(
      "redeploy <environment>",
      "Take changed settings, with the same artifact",
      one("Where"),
      (/** @type {any} */ argv) => run("redeploy", argv),
    )
    .command(
      "doctor",
      "Look for what is missing, and how to mend it",
      (/** @type {any} */ y) => y.option("json", json),
      (/** @type {any} */ argv) => run("doctor", argv),
    )
    .command("pulumi [words..]", "The Pulumi CLI in this project's environment", (/** @type {any} */ y) =>
      y.example("$0 pulumi up -s staging", ""),
    )
    .command(
      "local <words..>",
      "The embedded platform: down, status, logs <service>.<environment> [slot]",
      (/** @type {any} */ y) =>
        y.option("lines", { type: "number", default: 50, describe: "Of the log" }).option("json", json),
      (/** @type {any} */ argv) => run("local", argv),
    )
    .epilogue(
      "Exit codes: 0 promoted, 1 rolled back, 2 wrong use or configuration, 3 stuck, 4 refused, 75 paused, 130 interrupted.",
    )
    .demandCommand(1, "Say what to do.")
    .recommendCommands()
    .strict()
    .wrap(Math.min(100, process.stdout.columns || 100))
    .version(require("../package.json").version)
    .fail((/** @type {string} */ message, /** @type {unknown} */ e, /** @type {any} */ y) => {
      if (e) return fail(e);
      y.showHelp("error");
      process.stderr.write(`\nwrong-use: ${message}\n`);
      process.exit(2);
    })
    .parseAsync();
}
