import pc from "picocolors";
import { SluiceError } from "../components/errors";
import { abort } from "./commands/abort";
import { doctor, doctorLines } from "./commands/doctor";
import { history, historyLines } from "./commands/history";
import { local } from "./commands/local";
import { redeploy } from "./commands/redeploy";
import { rollback } from "./commands/rollback";
import { status, statusLines } from "./commands/status";
import { EXIT, exitOf } from "./core/errors";
import { actor, type Carried, type Desk } from "./engine/carry";
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
  try {
    return await dispatch(command, argv, out);
  } catch (e) {
    out.close();
    return complain(e, argv.json ?? false);
  } finally {
    out.close();
  }
}

async function dispatch(command: string, argv: Argv, out: Printer): Promise<number> {
  if (command === "pulumi") return runPulumi(argv.words ?? [], findRoot(process.cwd()), out.say);
  if (command === "local") {
    const said = await local(argv.words ?? [], { root: findRoot(process.cwd()) }, argv.lines);
    for (const text of said) out.print(text);
    return EXIT.promoted;
  }
  const desk = openDesk(out);
  const one = argv.environment ?? "";
  switch (command) {
    case "promote": {
      const { environments = [], build, dryRun, service, unproven } = argv;
      const ask = {
        chain: environments,
        build: !!build,
        dryRun: !!dryRun,
        service,
        unproven: unproven ? actor() : undefined,
      };
      return conclude(await promote(ask, desk), desk, out);
    }
    case "rollback":
    case "redeploy": {
      const results = await (command === "rollback" ? rollback : redeploy)(one, desk, argv.service);
      const code = await conclude(results, desk, out);
      // An open run that was rolled back is what the user asked for.
      const last = results.at(-1);
      return command === "rollback" && last?.left === "finished" && last.outcome === "rolled-back"
        ? EXIT.promoted
        : code;
    }
    case "abort": {
      const ended = await abort(one, desk, argv.reason);
      const code = await conclude([ended], desk, out);
      return ended.left === "finished" && ended.outcome !== "stuck" ? EXIT.promoted : code;
    }
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
      out.plan({ plan, answers }, [...planLines(plan, previews), ...answers.map((a) => `  ${a}`)]),
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
    out.say("Leaving: taking unproven slots out of the traffic first. The same command goes on later.");
    leave.abort();
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, hear);
  return { leave: leave.signal, now: now.signal };
}

async function conclude(results: readonly Carried[], desk: Desk, out: Printer): Promise<number> {
  const code = exitCode(results);
  // What Pulumi took of the time, all runs of this command together.
  const operations = Object.fromEntries(desk.project.spent);
  for (const carried of results) {
    const report = await writeReport(carried).catch((e) => {
      out.say(`the report could not be written: ${e instanceof Error ? e.message : e}`);
      return undefined;
    });
    const { events: _long, ...short } = carried;
    out.result({ type: "result", ...short, report, operations }, [
      ...ending(carried),
      ...(report ? [pc.dim(`  report: ${report}`)] : []),
    ]);
  }
  return code;
}

function complain(e: unknown, json: boolean): number {
  const redact = createRedactor(resolvedSecrets);
  const known =
    e instanceof SluiceError ||
    (e instanceof Error && e.name === "SluiceError" && "code" in e && "hint" in e);
  const { code, message, hint } = known
    ? (e as SluiceError)
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
  return exitOf(code);
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
