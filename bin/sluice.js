#!/usr/bin/env node

// Plain JavaScript: `--help` must not wait for a compiler. A command loads tsx and automation/cli.ts.

// TypeScript is compiled at this very moment, so its types can't be known here.
const load = /** @type {(path: string) => any} */ (require);

/** The exit code of what nobody foresaw: a hand is needed. Node's own would be 1, which says rolled back. */
const STUCK = 3;
/** The exit code of wrong use, or of an installation that lacks something. */
const USAGE = 2;

/** @param {string} command @param {Record<string, unknown>} argv */
async function run(command, argv) {
  // Before anything asks whether there are colours.
  if (argv.plain) process.env.NO_COLOR ||= "1";
  process.on("uncaughtException", crash).on("unhandledRejection", crash);
  // A reader that went away (`| head`) must not end a run half-way.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
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
  import("yargs").then(({ default: yargs }) => parse(yargs)).catch(crash);
}

/**
 * Says what nobody foresaw, and exits.
 * @param {unknown} e
 */
function crash(e) {
  const redact = redactor();
  const [message = "", ...more] = String(e instanceof Error ? e.message : e).split("\n");
  const missing = e instanceof Error && "code" in e && /^(ERR_)?MODULE_NOT_FOUND$/.test(String(e.code));
  const hint = missing
    ? "Run `npm ci` first."
    : "SLUICE_DEBUG=1 shows where. See `npm run status`: the same command goes on with a run that was cut off. Please report it.";
  complain("unexpected", redact(message), hint);
  if (process.env.SLUICE_DEBUG)
    process.stderr.write(`${redact(e instanceof Error ? (e.stack ?? "") : more.join("\n"))}\n`);
  process.exit(missing ? USAGE : STUCK);
}

/** @returns {(text: string) => string} */
function redactor() {
  try {
    const { createRedactor } = load("../automation/engine/redact.ts");
    return createRedactor(load("../automation/engine/secret.ts").resolvedSecrets);
  } catch {
    return (text) => text; // what can't be loaded has resolved no secret
  }
}

/** @param {string} code @param {string} message @param {string} hint */
function complain(code, message, hint) {
  if (words.some((word) => word === "--json" || word === "--json=true"))
    process.stdout.write(`${JSON.stringify({ type: "error", v: 1, code, message, hint })}\n`);
  process.stderr.write(`${code}: ${message}\n  ${hint}\n`);
}

/**
 * Names that only the project knows; commands and options are yargs' own to complete.
 * @param {string} current @param {unknown} _argv @param {(done: (e: unknown, known: string[]) => void) => void} usual @param {(known: string[]) => void} done
 */
function complete(current, _argv, usual, done) {
  usual((_e, known = []) => {
    try {
      load("tsx/cjs");
      load("../automation/toolchain/lean.js");
      const { complete: names } = load("../automation/views/complete.ts");
      // `--get-yargs-completions sluice promote st`: what was typed, the word at the cursor last.
      done(names(words.slice(2, -1), current, process.cwd()) ?? known);
    } catch {
      done(known); // not in a project: a shell is no place for errors
    }
  });
}

/** @param {any} yargs */
async function parse(yargs) {
  const json = { type: "boolean", default: false, describe: "One JSON object per line (NDJSON)" };
  const service = { type: "string", describe: "Only this service" };
  /** @param {string} name */
  const whose = (name) => (/** @type {any} */ y) =>
    y.positional("environment", { type: "string", describe: name }).option("json", json);
  /** @param {string} name */
  const one = (name) => (/** @type {any} */ y) =>
    y
      .positional("environment", { type: "string", describe: name })
      .option("service", service)
      .option("json", json);
  const whichRun = (/** @type {any} */ y) =>
    y.positional("run", {
      type: "string",
      describe: "Its name, the beginning of it, or an environment: its newest run",
    });
  const max = { type: "string", requiresArg: true, describe: "Share of requests that may fail" };
  const worseThan = {
    type: "number",
    requiresArg: true,
    describe: "Times the baseline's share that may fail; 1.5 by default",
  };
  await yargs(words)
    .scriptName("sluice")
    .usage("$0 <command>\n\nTakes a release from environment to environment, and back.")
    .command(
      "promote [environments..]",
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
          .option("supersede", {
            type: "boolean",
            describe: "Roll back an open run that asks for something else, and take its place",
          })
          .option("out", {
            type: "string",
            requiresArg: true,
            describe: "Keep the plan in a file; a dry run",
          })
          .option("plan", { type: "string", requiresArg: true, describe: "Drive that very plan, or refuse" })
          .option("service", service)
          .option("json", json)
          .example("$0 promote staging prod", "what staging proved goes to prod")
          .example("$0 promote staging prod --build", "from source through staging to prod")
          .example("$0 promote staging prod --dry-run", "what would happen")
          .example("$0 promote staging prod --out plan.json", "and keep it, to be looked at")
          .example("$0 promote --plan plan.json", "drive what was looked at"),
      (/** @type {any} */ argv) => run("promote", argv),
    )
    .command(
      "status [environments..]",
      "What runs where, and which run is open",
      (/** @type {any} */ y) =>
        y
          .positional("environments", { type: "string", array: true, describe: "All where none is named" })
          .option("watch", { type: "boolean", describe: "Go on showing it; q or Ctrl-C ends" })
          .option("json", json)
          .example("$0 status", "every environment")
          .example("$0 status prod --watch", "one of them, as it changes")
          .example("$0 status prod --json", "one of them, for a program"),
      (/** @type {any} */ argv) => run("status", argv),
    )
    .command(
      "history [environments..]",
      "Runs of the past, newest first",
      (/** @type {any} */ y) =>
        y
          .positional("environments", { type: "string", array: true, describe: "All where none is named" })
          .option("limit", {
            type: "number",
            default: 20,
            requiresArg: true,
            describe: "At most so many, above 0",
          })
          .option("json", json)
          .example("$0 history", "the last 20 runs of all environments")
          .example("$0 history prod --limit 5", "the last 5 of one"),
      (/** @type {any} */ argv) => run("history", argv),
    )
    .command(
      "show <run>",
      "The story of a run: what it did, why, and what to do now",
      (/** @type {any} */ y) =>
        y
          .positional("run", {
            type: "string",
            describe: "Its name, the beginning of it, or an environment: its newest run",
          })
          .option("json", json)
          .example("$0 show prod", "the newest run of prod, under way or not")
          .example("$0 show 20261124T0811 --json", "one by its name, as report.json has it"),
      (/** @type {any} */ argv) => run("show", argv),
    )
    .command(
      "explain <run>",
      "Why a run decided as it did: what was seen, how sure that is, and the evidence over time",
      (/** @type {any} */ y) =>
        whichRun(y)
          .option("json", json)
          .example("$0 explain prod", "the decisions of the newest run of prod")
          .example("$0 explain prod --json", "with the evidence, point by point"),
      (/** @type {any} */ argv) => run("explain", argv),
    )
    .command(
      "replay <run>",
      "What other judges would have decided by what a run recorded",
      (/** @type {any} */ y) =>
        whichRun(y)
          .option("judge", {
            choices: ["sluice", "flagger", "argo", "kayenta"],
            requiresArg: true,
            describe: "Only this one",
          })
          .option("max", max)
          .option("worse-than", worseThan)
          .option("p99", { type: "string", requiresArg: true, describe: "Limit of the P99, as 500ms" })
          .option("json", json)
          .example("$0 replay prod", "every judge, by the limits of the run")
          .example("$0 replay prod --judge argo --max 2%", "one of them, by another limit"),
      (/** @type {any} */ argv) => run("replay", argv),
    )
    .command(
      "simulate",
      "Estimate what judges make of your traffic: false alarms, time to detect, failed requests",
      (/** @type {any} */ y) =>
        y
          .option("rps", {
            type: "number",
            requiresArg: true,
            demandOption: true,
            describe: "Requests a second, of both slots",
          })
          .option("rate", { type: "string", default: "0.1%", describe: "Errors of a healthy release" })
          .option("bad", { type: "string", default: "5%", describe: "Errors of a bad one" })
          .option("weights", { type: "string", default: "5,10,25,50,100", describe: "Percent, ascending" })
          .option("max", { ...max, default: "1%" })
          .option("worse-than", { ...worseThan, default: 1.5 })
          .option("max-duration", { type: "string", default: "15m", describe: "Then it is inconclusive" })
          .option("pushed", { type: "boolean", describe: "The platform pushes errors: each is looked at" })
          .option("runs", { type: "number", default: 200, describe: "Rollouts of each kind, up to 10000" })
          .option("seed", { type: "number", default: 1, describe: "The same seed, the same traffic" })
          .option("json", json)
          .example("$0 simulate --rps 50", "with the usual weights and limits")
          .example("$0 simulate --rps 10 --weights 10,50,100 --max 2%", "are these better?"),
      (/** @type {any} */ argv) => run("simulate", argv),
    )
    .command(
      "logs <run>",
      "The lines kept with a run: the driver's own, and a failing slot's last ones",
      (/** @type {any} */ y) =>
        y
          .positional("run", {
            type: "string",
            describe: "Its name, the beginning of it, or an environment: its newest run",
          })
          .option("target", { type: "string", requiresArg: true, describe: "Only this stack or service" })
          .option("lines", {
            type: "number",
            default: 50,
            requiresArg: true,
            describe: "Newest lines of each, 1 to 10000",
          })
          .option("follow", { type: "boolean", default: false, describe: "Go on while the run is driven" })
          .option("json", json)
          .example("$0 logs prod", "of the newest run of prod")
          .example("$0 logs prod --follow", "and what its slot says, as it says it"),
      (/** @type {any} */ argv) => run("logs", argv),
    )
    .command(
      "abort <environment>",
      "Roll the open run of an environment back",
      (/** @type {any} */ y) =>
        whose("Whose run")(y)
          .option("reason", { type: "string", describe: "Kept in the journal" })
          .example("$0 abort prod", "rolls its open run back, whoever drives it")
          .example('$0 abort prod --reason "wrong version"', "and keeps why"),
      (/** @type {any} */ argv) => run("abort", argv),
    )
    .command(
      "approve <environment>",
      "Say yes to what a run asks",
      (/** @type {any} */ y) =>
        whose("Whose run")(y)
          .option("plan", { type: "string", requiresArg: true, describe: "Only if it is this plan" })
          .option("reason", { type: "string", describe: "Kept in the journal" })
          .example("$0 approve prod", "opens its gate, or lets a held weight go on"),
      (/** @type {any} */ argv) => run("approve", argv),
    )
    .command(
      "reject <environment>",
      "Say no to what a run asks",
      (/** @type {any} */ y) =>
        whose("Whose run")(y)
          .option("plan", { type: "string", requiresArg: true, describe: "Only if it is this plan" })
          .option("reason", { type: "string", describe: "Kept in the journal" })
          .example('$0 reject prod --reason "not on a Friday"', "closes its gate"),
      (/** @type {any} */ argv) => run("reject", argv),
    )
    .command(
      "resolve <environment>",
      "Close a stuck run that was put right by hand",
      (/** @type {any} */ y) =>
        whose("Whose run")(y)
          .option("reason", {
            type: "string",
            requiresArg: true,
            describe: "What was done; kept in the journal",
          })
          .example('$0 resolve prod --reason "database restored, prod serves"', "keeps what is live"),
      (/** @type {any} */ argv) => run("resolve", argv),
    )
    .command(
      "rollback <environment>",
      "Go back to the release that was live before",
      (/** @type {any} */ y) =>
        one("Where")(y)
          .option("to", {
            type: "string",
            requiresArg: true,
            describe: "A former release: id, version or commit",
          })
          .example("$0 rollback prod", "to the release before, or out of an open run")
          .example("$0 rollback prod --service web", "one service of several"),
      (/** @type {any} */ argv) => run("rollback", argv),
    )
    .command(
      "redeploy <environment>",
      "Take changed settings, with the same artifact",
      (/** @type {any} */ y) =>
        one("Where")(y)
          .example("$0 redeploy prod", "what `status` says waits in its settings")
          .example("$0 redeploy prod --service web", "one service of several"),
      (/** @type {any} */ argv) => run("redeploy", argv),
    )
    .command(
      "init",
      "Make this directory a Sluice project; overwrites nothing",
      (/** @type {any} */ y) =>
        y
          .option("name", { type: "string", requiresArg: true, describe: "Of the service" })
          .option("start", { type: "string", requiresArg: true, describe: "Its start command; it gets PORT" })
          .option("health", {
            type: "string",
            requiresArg: true,
            describe: "Path that answers 2xx once it is ready",
          })
          .option("directory", {
            type: "string",
            requiresArg: true,
            describe: "Its source, relative to here",
          })
          .option("yes", { type: "boolean", alias: "y", describe: "Ask nothing" })
          .option("json", json)
          .example("$0 init", "with a sample where there is nothing yet")
          .example(
            '$0 init --name shop --start "node server.js" --health /healthz',
            "around a service of yours",
          ),
      (/** @type {any} */ argv) => run("init", argv),
    )
    .command(
      "doctor",
      "Look for what is missing, and how to mend it",
      (/** @type {any} */ y) =>
        y
          .option("json", json)
          .example("$0 doctor", "exit 2 where something is missing")
          .example("$0 doctor --json", "one finding per line, for a program"),
      (/** @type {any} */ argv) => run("doctor", argv),
    )
    .command("pulumi [words..]", "The Pulumi CLI in this project's environment", (/** @type {any} */ y) =>
      y.example("$0 pulumi up -s staging", ""),
    )
    .command(
      "local <words..>",
      "The embedded platform: down, status, logs <service>.<environment> [slot]",
      (/** @type {any} */ y) =>
        y
          .option("lines", { type: "number", default: 50, describe: "Of the log, 1 to 10000" })
          .option("json", json),
      (/** @type {any} */ argv) => run("local", argv),
    )
    .example("$0 promote staging prod", "what staging proved goes to prod")
    .example("$0 promote staging prod --build", "from source through staging to prod")
    .example("$0 status", "what runs where")
    .example("$0 history prod --limit 5", "its last 5 runs")
    .example("$0 show prod", "the story of its newest run, and what to do now")
    .example("$0 explain prod", "why it decided as it did")
    .example("$0 replay prod", "what other judges would have decided")
    .example("$0 simulate --rps 50", "which judge and which limits fit the traffic")
    .example("$0 logs prod --follow", "what its run and its slot say")
    .example("$0 abort prod", "rolls its open run back")
    .example("$0 approve prod", "says yes to what its run asks")
    .example('$0 reject prod --reason "not on a Friday"', "says no")
    .example('$0 resolve prod --reason "database restored"', "closes a run that was put right by hand")
    .example("$0 rollback prod", "to the release before")
    .example("$0 redeploy prod", "takes changed settings")
    .example("$0 init", "begins here, or adds to what is here")
    .example("$0 doctor", "what is missing here")
    .example("$0 pulumi preview -s prod", "what `pulumi up` would do")
    .example("$0 local logs web.prod", "what the live slot of web said in prod")
    .epilogue(
      "Exit codes: 0 promoted, 1 rolled back, 2 wrong use or configuration, 3 stuck, 4 refused, 75 paused, 130 interrupted.",
    )
    .option("plain", {
      type: "boolean",
      describe: "Words in lines, nothing drawn, no colours; also SLUICE_PLAIN=1",
    })
    .option("color", { type: "boolean", describe: "--no-color: none; also NO_COLOR=1" })
    .completion("completion", "Print what makes your shell complete sluice", complete)
    .example("$0 completion >> ~/.bashrc", "completes commands, options and names")
    .demandCommand(1, "Say what to do.")
    .recommendCommands()
    .strict()
    .wrap(Math.min(100, process.stdout.columns || 100))
    .version(require("../package.json").version)
    .fail((/** @type {string} */ message, /** @type {unknown} */ e, /** @type {any} */ y) => {
      if (e && /** @type {any} */ (e).name !== "YError") return crash(e);
      y.showHelp("error");
      process.stderr.write("\n");
      complain("wrong-use", message, "`npx sluice --help` shows how it is used.");
      process.exit(USAGE);
    })
    .parseAsync();
}
