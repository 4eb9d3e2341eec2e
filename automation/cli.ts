import { createInterface } from "node:readline/promises";
import pc from "picocolors";
import { isSluiceError } from "../components/errors";
import type { Name } from "./analysis/named";
import { abort } from "./commands/abort";
import { answer, answeredLines } from "./commands/answer";
import { doctor, doctorLines } from "./commands/doctor";
import { explain, explainLines } from "./commands/explain";
import { history, historyLines } from "./commands/history";
import { init, initLines } from "./commands/init";
import { local } from "./commands/local";
import { logLine, logs } from "./commands/logs";
import { redeploy } from "./commands/redeploy";
import { replay, replayLines } from "./commands/replay";
import { resolve } from "./commands/resolve";
import { rollback } from "./commands/rollback";
import { show, showLines } from "./commands/show";
import { simulate, simulateLines } from "./commands/simulate";
import { status, statusLines } from "./commands/status";
import { EXIT, exitOf, TooLate, WrongUse } from "./core/errors";
import { actor, type Carried, type Desk, keeps } from "./engine/carry";
import { environmentOf } from "./engine/pipeline";
import { readPlan, writePlan } from "./engine/planfile";
import { openProject } from "./engine/project";
import { questions } from "./engine/questions";
import { createRedactor } from "./engine/redact";
import { resolvedSecrets } from "./engine/secret";
import { promote } from "./promote";
import { exitCode, writeReport } from "./report";
import { findRoot } from "./toolchain/environment";
import { runPulumi } from "./toolchain/pulumi";
import { ending, planLines } from "./view";
import { expected } from "./views/expected";
import { isUnicode, type Paper } from "./views/plot";
import { type Insight, isPlain, type Printer, printer } from "./views/printer";
import { watch } from "./views/watch";

/** The arguments as the grammar in bin/sluice.js parsed them. */
interface Argv {
  environments?: string[];
  environment?: string;
  words?: string[];
  run?: string;
  target?: string;
  follow?: boolean;
  build?: boolean;
  dryRun?: boolean;
  unproven?: boolean;
  service?: string;
  reason?: string;
  supersede?: boolean;
  out?: string;
  plan?: string;
  to?: string;
  limit?: number;
  lines?: number;
  json?: boolean;
  plain?: boolean;
  watch?: boolean;
  name?: string;
  start?: string;
  health?: string;
  directory?: string;
  yes?: boolean;
  judge?: Name;
  max?: string;
  worseThan?: number;
  p99?: string;
  rps?: number;
  rate?: string;
  bad?: string;
  weights?: string;
  maxDuration?: string;
  pushed?: boolean;
  runs?: number;
  seed?: number;
}

/** Waits longer than this leave a CI job, and the run paused: 10 s. */
const CI_PATIENCE = 10_000;
/** npm and the terminal both deliver a Ctrl-C: signals within a second are one. */
const ONE_SIGNAL = 1000;

/** Runs a command and answers with its exit code. The only file that prints or exits. */
export async function main(command: string, argv: Argv): Promise<number> {
  const { json, plain } = argv;
  const { stdout, stderr, stdin, env } = process;
  const out = printer({ stdout, stderr, stdin, env, json, plain });
  let desk: Desk | undefined;
  try {
    if (command === "pulumi") return await runPulumi(argv.words ?? [], findRoot(process.cwd()), out.say);
    if (command === "init") {
      const { name, start, health, directory } = argv;
      const answers = { name, start, health, directory };
      out.show(
        "init",
        await init(process.cwd(), answers, argv.yes ? async (_q, known) => known : question),
        initLines,
      );
      return EXIT.promoted;
    }
    if (command === "local") {
      const root = findRoot(process.cwd());
      const said = await local(argv.words ?? [], { root }, argv.lines, argv.json);
      if (argv.json)
        out.show(
          "local",
          said.map((text) => JSON.parse(text)),
          () => [],
        );
      else for (const text of said) out.print(text);
      return EXIT.promoted;
    }
    // It needs no project: a team may ask before it has one.
    if (command === "simulate") return await estimate(argv, out);
    desk = openDesk(out);
    return await dispatch(command, argv, desk, out);
  } catch (e) {
    out.close();
    if (desk?.leave.aborted && !desk.driving) return interrupted(out);
    return complain(e, out, desk?.driving ?? false);
  } finally {
    out.close();
  }
}

/** Asks at the terminal; where there is none, takes what it would have proposed. */
async function question(text: string, byDefault: string): Promise<string> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return byDefault;
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return (await lines.question(`${text} [${byDefault}]: `)).trim() || byDefault;
  } finally {
    lines.close();
  }
}

async function dispatch(command: string, argv: Argv, desk: Desk, out: Printer): Promise<number> {
  const one = argv.environment ?? "";
  switch (command) {
    case "promote": {
      return promotion(argv, desk, out);
    }
    case "redeploy":
      return exitCode([await redeploy(one, desk, argv.service)]);
    case "rollback": {
      const { ended, undone } = await rollback(one, desk, { service: argv.service, to: argv.to });
      return undone ? EXIT.promoted : exitCode([ended]);
    }
    case "abort":
      return undoneBy(await abort(one, desk, argv.reason));
    case "approve":
    case "reject":
      out.show(
        "answer",
        await answer(command, one, desk, { reason: argv.reason, plan: argv.plan }),
        answeredLines,
      );
      return EXIT.promoted;
    case "resolve":
      return exitCode([await resolve(one, desk, argv.reason)]);
    case "status":
      if (argv.watch) await watch(argv.environments ?? [], desk, out);
      else out.show("status", await status(argv.environments ?? [], desk), statusLines);
      return EXIT.promoted;
    case "history":
      out.show("past", await history(argv.environments ?? [], desk, argv.limit), historyLines);
      return EXIT.promoted;
    case "show": {
      const story = await show(argv.run ?? "", desk);
      out.show("report", story.report, () => showLines(story));
      return EXIT.promoted;
    }
    case "explain": {
      const told = await explain(argv.run ?? "", desk);
      if (argv.json) out.show("evidence", told.evidence, () => []);
      out.show("decision", told.decisions, () => explainLines(told, paper(argv)));
      return EXIT.promoted;
    }
    case "replay":
      out.show("replay", await replay(argv.run ?? "", limits(argv), desk), replayLines);
      return EXIT.promoted;
    case "logs":
      for await (const said of logs(argv.run ?? "", desk, argv)) out.show("log", said, logLine);
      return EXIT.promoted;
    case "doctor": {
      const findings = await doctor(desk);
      out.show("finding", findings, doctorLines);
      return findings.some((f) => f.state === "bad") ? EXIT.usage : EXIT.promoted;
    }
    default:
      throw new Error(`no command ${command}`);
  }
}

/** Ctrl-C ends it as it ends whatever only looks: nothing was begun. */
async function estimate(argv: Argv, out: Printer): Promise<number> {
  const { leave } = signals(() => false, out);
  try {
    out.show("simulation", await simulate({ ...argv, rps: argv.rps ?? Number.NaN }, leave), simulateLines);
    return EXIT.promoted;
  } catch (e) {
    if (leave.aborted) return interrupted(out);
    throw e;
  }
}

function limits({ judge, max, worseThan, p99 }: Argv) {
  return { judge, max, worseThan, p99 };
}

/** What there is to draw on. */
function paper({ plain }: Argv): Paper {
  const { stdout, env } = process;
  return { columns: stdout.columns ?? 80, ascii: !isUnicode(env) || isPlain({ plain, env }) };
}

async function promotion(argv: Argv, desk: Desk, out: Printer): Promise<number> {
  const { environments = [], build = false, service, supersede = false, out: file } = argv;
  const dryRun = (argv.dryRun ?? false) || file !== undefined;
  if (argv.plan !== undefined) {
    const fixed = environments.length > 0 || build || dryRun || service !== undefined || argv.unproven;
    if (fixed)
      throw WrongUse("--plan says itself what goes where, so nothing else but --supersede goes with it");
    const plan = await readPlan(argv.plan);
    const { chain, service: only } = plan.ask;
    // Who owns the risk is part of the plan.
    const by = plan.plan.unproven;
    return exitCode(await promote({ chain, service: only, unproven: by, supersede, plan }, desk));
  }
  if (file !== undefined && (environments.length !== 2 || build))
    throw WrongUse("--out keeps the plan of one environment: promote <source> <target> --out <file>");
  const by = argv.unproven ? actor() : undefined;
  const results = await promote(
    { chain: environments, build, dryRun, service, unproven: by, supersede },
    desk,
  );
  const made = results.at(-1);
  if (file !== undefined && made?.left === "planned") {
    const asked = { chain: environments, service, unproven: argv.unproven ? true : undefined };
    const id = await writePlan(file, made.plan, asked, actor());
    out.say(`Plan ${id.slice(0, 12)} is in ${file}: \`npm run promote -- --plan ${file}\` drives it.`);
  }
  if (file !== undefined && made?.left === "nothing")
    out.say(`There is nothing to do, so no plan is kept in ${file}.`);
  return exitCode(results);
}

/** An abort has what it wanted once the environment is as before; a run that had begun to settle is past that. */
function undoneBy(ended: Carried): number {
  if (ended.left !== "finished") return exitCode([ended]);
  if (ended.outcome === "promoted") throw TooLate(ended.environment);
  // A wave that was through keeps the release: that is not what was asked for.
  if (keeps(ended)) return EXIT.rolledBack;
  return ended.outcome === "stuck" ? EXIT.stuck : EXIT.promoted;
}

function openDesk(out: Printer): Desk {
  const project = openProject(process.cwd(), out.say);
  const redact = createRedactor(resolvedSecrets);
  const { leave, now } = signals(() => desk.driving, out);
  const insight: Insight = {
    questions: (state) => questions(state, environmentOf(project.pipeline, state.plan.environment)),
    expected: (environment, but) => expected(project.root, environment, but),
  };
  out.begin();
  const desk: Desk = {
    project,
    say: (text) => out.say(redact(text)),
    heard: (event, state) => out.event(redact.json(event), state, insight),
    progress: (step, text) => out.progress(step, redact(text)),
    plan: (plan, previews, answers) =>
      out.plan(redact.json({ plan, previews: Object.fromEntries(previews), answers }), [
        ...planLines(plan, previews).map(redact),
        ...answers.map((a) => `  ${redact(a)}`),
      ]),
    async ended(carried) {
      const { analysis } = project.pipeline.environments.find((e) => e.name === carried.environment) ?? {};
      const report = await writeReport(carried, redact.json, analysis).catch((e) => {
        out.say(`the report could not be written: ${e instanceof Error ? e.message : e}`);
        return undefined;
      });
      const { events: _long, ...short } = carried;
      // What Pulumi took of the time so far.
      const operations = Object.fromEntries(project.spent);
      out.result({ ...redact.json(short), report, operations }, [
        ...ending(carried).map(redact),
        ...(report ? [pc.dim(`  report: ${report}`)] : []),
      ]);
      return carried;
    },
    ask: out.ask,
    kept: out.kept,
    driving: false,
    leave,
    now,
    patience: process.stdout.isTTY && !process.env.CI ? undefined : CI_PATIENCE,
    redact,
  };
  return desk;
}

/** First signal: leave, with the split safe. Another one, more than a second later: leave as soon as it is. */
function signals(driving: () => boolean, out: Printer): { leave: AbortSignal; now: AbortSignal } {
  const leave = new AbortController();
  const now = new AbortController();
  let last = 0;
  const hear = () => {
    const at = Date.now();
    if (at - last < ONE_SIGNAL) return;
    last = at;
    if (leave.signal.aborted) return now.abort();
    if (driving())
      out.say("Asked to leave: unproven slots come out of the traffic first, and a rollback is ended first.");
    leave.abort();
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, hear);
  return { leave: leave.signal, now: now.signal };
}

function interrupted(out: Printer): number {
  const reason = "interrupted while no run was under way: nothing was begun or left half done";
  out.result({ left: "paused", reason }, [`Paused: ${reason}.`, "  Run the same command again."]);
  return EXIT.paused;
}

function complain(e: unknown, out: Printer, driving: boolean): number {
  const redact = createRedactor(resolvedSecrets);
  const { code, message, hint } = isSluiceError(e)
    ? e
    : {
        code: "unexpected",
        message: e instanceof Error ? e.message : String(e),
        hint: "SLUICE_DEBUG=1 shows where. Please report it.",
      };
  const stack = process.env.SLUICE_DEBUG && e instanceof Error ? redact(e.stack ?? "") : undefined;
  out.fail({ code, message: redact(message), hint: redact(hint), stack });
  // A run that broke is no wrong use: it is open, and somebody has to look.
  return driving ? Math.max(exitOf(code), EXIT.stuck) : exitOf(code);
}
