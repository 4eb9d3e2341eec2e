import pc from "picocolors";
import { isSluiceError } from "../components/errors";
import { abort } from "./commands/abort";
import { answer, answeredLines } from "./commands/answer";
import { doctor, doctorLines } from "./commands/doctor";
import { history, historyLines } from "./commands/history";
import { local } from "./commands/local";
import { redeploy } from "./commands/redeploy";
import { resolve } from "./commands/resolve";
import { rollback } from "./commands/rollback";
import { status, statusLines } from "./commands/status";
import { EXIT, exitOf, TooLate, WrongUse } from "./core/errors";
import { actor, type Carried, type Desk } from "./engine/carry";
import { readPlan, writePlan } from "./engine/planfile";
import { openProject } from "./engine/project";
import { createRedactor } from "./engine/redact";
import { resolvedSecrets } from "./engine/secret";
import { promote } from "./promote";
import { exitCode, writeReport } from "./report";
import { findRoot } from "./toolchain/environment";
import { runPulumi } from "./toolchain/pulumi";
import { ending, line, planLines } from "./view";

/** The arguments as the grammar in bin/sluice.js parsed them. */
interface Argv {
  environments?: string[];
  environment?: string;
  words?: string[];
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
}

/** Waits longer than this leave a CI job, and the run paused: 10 s. */
const CI_PATIENCE = 10_000;
/** npm and the terminal both deliver a Ctrl-C: signals within a second are one. */
const ONE_SIGNAL = 1000;

/** Runs a command and answers with its exit code. The only file that prints or exits. */
export async function main(command: string, argv: Argv): Promise<number> {
  const out = await printer(argv.json ?? false);
  let desk: Desk | undefined;
  try {
    if (command === "pulumi") return await runPulumi(argv.words ?? [], findRoot(process.cwd()), out.say);
    if (command === "local") {
      const root = findRoot(process.cwd());
      const said = await local(argv.words ?? [], { root }, argv.lines, argv.json);
      for (const text of said) out.print(text);
      return EXIT.promoted;
    }
    desk = openDesk(out);
    return await dispatch(command, argv, desk, out);
  } catch (e) {
    out.close();
    if (desk?.leave.aborted && !desk.driving) return interrupted(argv.json ?? false);
    return complain(e, argv.json ?? false, desk?.driving ?? false);
  } finally {
    out.close();
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
      return out.show(
        await answer(command, one, desk, { reason: argv.reason, plan: argv.plan }),
        answeredLines,
      );
    case "resolve":
      return exitCode([await resolve(one, desk, argv.reason)]);
    case "status":
      return out.show(await status(argv.environments ?? [], desk), statusLines);
    case "history":
      return out.show(await history(argv.environments ?? [], desk, argv.limit), historyLines);
    case "doctor": {
      const findings = await doctor(desk);
      out.show(findings, doctorLines);
      return findings.some((f) => f.state === "bad") ? EXIT.usage : EXIT.promoted;
    }
    default:
      throw new Error(`no command ${command}`);
  }
}

async function promotion(argv: Argv, desk: Desk, out: Printer): Promise<number> {
  const { environments = [], build = false, service, supersede = false, out: file } = argv;
  const dryRun = (argv.dryRun ?? false) || file !== undefined;
  if (argv.plan !== undefined) {
    const fixed = environments.length > 0 || build || dryRun || service !== undefined || argv.unproven;
    if (fixed)
      throw WrongUse("--plan says itself what goes where, so nothing else but --supersede goes with it");
    const plan = await readPlan(argv.plan);
    const { chain, service: only, unproven } = plan.ask;
    const by = unproven ? actor() : undefined;
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
  return exitCode(results);
}

/** An abort has what it wanted once the environment is as before; a run that had begun to settle is past that. */
function undoneBy(ended: Carried): number {
  if (ended.left !== "finished") return exitCode([ended]);
  if (ended.outcome === "promoted") throw TooLate(ended.environment);
  return ended.outcome === "stuck" ? EXIT.stuck : EXIT.promoted;
}

function openDesk(out: Printer): Desk {
  const project = openProject(process.cwd(), out.say);
  const redact = createRedactor(resolvedSecrets);
  const { leave, now } = signals(out);
  return {
    project,
    say: (text) => out.say(redact(text)),
    heard: (event, state) => out.event(redact.json(event), line(event, state)),
    progress: (step, text) => out.progress(`${step}: ${redact(text)}`),
    plan: (plan, previews, answers) =>
      out.plan(redact.json({ plan, previews: Object.fromEntries(previews), answers }), [
        ...planLines(plan, previews).map(redact),
        ...answers.map((a) => `  ${redact(a)}`),
      ]),
    async ended(carried) {
      const report = await writeReport(carried).catch((e) => {
        out.say(`the report could not be written: ${e instanceof Error ? e.message : e}`);
        return undefined;
      });
      const { events: _long, ...short } = carried;
      // What Pulumi took of the time so far.
      const operations = Object.fromEntries(project.spent);
      out.result({ type: "result", ...redact.json(short), report, operations }, [
        ...ending(carried).map(redact),
        ...(report ? [pc.dim(`  report: ${report}`)] : []),
      ]);
      return carried;
    },
    driving: false,
    leave,
    now,
    patience: process.stdout.isTTY && !process.env.CI ? undefined : CI_PATIENCE,
    redact,
  };
}

/** First signal: leave, with the split safe. Another one, more than a second later: leave as soon as it is. */
function signals(out: Printer): { leave: AbortSignal; now: AbortSignal } {
  const leave = new AbortController();
  const now = new AbortController();
  let last = 0;
  const hear = () => {
    const at = Date.now();
    if (at - last < ONE_SIGNAL) return;
    last = at;
    if (leave.signal.aborted) return now.abort();
    out.say("Asked to leave: unproven slots come out of the traffic first, and a rollback is ended first.");
    leave.abort();
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, hear);
  return { leave: leave.signal, now: now.signal };
}

function interrupted(json: boolean): number {
  const reason = "interrupted while no run was under way: nothing was begun or left half done";
  if (json) process.stdout.write(`${JSON.stringify({ type: "result", left: "paused", reason })}\n`);
  else process.stderr.write(`Paused: ${reason}.\n  Run the same command again.\n`);
  return EXIT.paused;
}

function complain(e: unknown, json: boolean, driving: boolean): number {
  const redact = createRedactor(resolvedSecrets);
  const { code, message, hint } = isSluiceError(e)
    ? e
    : {
        code: "unexpected",
        message: e instanceof Error ? e.message : String(e),
        hint: "SLUICE_DEBUG=1 shows where. Please report it.",
      };
  if (json)
    process.stdout.write(
      `${JSON.stringify({ type: "error", code, message: redact(message), hint: redact(hint) })}\n`,
    );
  else process.stderr.write(`${pc.red(`${code}: ${redact(message)}`)}\n  ${redact(hint)}\n`);
  if (process.env.SLUICE_DEBUG && e instanceof Error) process.stderr.write(`${redact(e.stack ?? "")}\n`);
  // A run that broke is no wrong use: it is open, and somebody has to look.
  return driving ? Math.max(exitOf(code), EXIT.stuck) : exitOf(code);
}

/** How a command speaks: lines, a spinner beneath them in a terminal, or NDJSON. */
interface Printer {
  say(text: string): void;
  print(text: string): void;
  event(event: unknown, text: string | undefined): void;
  progress(text: string): void;
  plan(plan: object, lines: readonly string[]): void;
  result(value: object, lines: readonly string[]): void;
  show<T>(value: T, lines: (value: T) => readonly string[]): number;
  close(): void;
}

async function printer(json: boolean): Promise<Printer> {
  const spinner = !json && process.stderr.isTTY && !process.env.CI ? await spin() : undefined;
  const print = (text: string) => {
    spinner?.stop();
    process.stdout.write(`${text}\n`);
    spinner?.start();
  };
  const object = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`);
  return {
    say: (text) => {
      spinner?.stop();
      process.stderr.write(`${pc.dim(text)}\n`);
      spinner?.start();
    },
    print,
    event: (event, text) => {
      if (json) object(event);
      else if (text !== undefined) print(text);
      else if (spinner) spinner.text = describeStart(event);
    },
    progress: (text) => {
      if (spinner) spinner.text = text;
    },
    plan: (plan, lines) => {
      if (json) object({ type: "plan", ...plan });
      else for (const text of lines) print(text);
    },
    result: (value, lines) => {
      if (json) object(value);
      else for (const text of lines) print(text);
    },
    show: (value, lines) => {
      if (json) for (const item of Array.isArray(value) ? value : [value]) object(item);
      else for (const text of lines(value)) print(text);
      return EXIT.promoted;
    },
    close: () => spinner?.stop(),
  };
}

function describeStart(event: unknown): string {
  const step = (event as { step?: string }).step;
  return step ? step : "…";
}

async function spin() {
  const { default: ora } = await import("ora");
  return ora({ stream: process.stderr, discardStdin: false, text: "…" }).start();
}
