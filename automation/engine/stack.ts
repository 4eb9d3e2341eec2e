import type { EngineEvent, InlineProgramArgs, PulumiCommand, PulumiFn } from "@pulumi/pulumi/automation";
import { LocalWorkspace } from "@pulumi/pulumi/automation";
import { SluiceError } from "../../components/errors";
import { type Handle, parseHandle } from "../../components/handle";
import { declare, type Order } from "../../components/program";
import type { Service } from "../../components/release";
import { BackendUnreachable, PolicyViolation, PreviewFailed, StackLocked, UpFailed } from "../core/errors";
import type { Change, Context, Preview } from "../core/ports";
import { CliFailed, type CliResult, runCli } from "./cli";

/** Where and with what a stack's operations run. */
export interface StackOptions {
  root: string;
  /** Project name of Pulumi.yaml. */
  project: string;
  name: string;
  services: readonly Service[];
  /** The Pulumi CLI to use. */
  cli: { path: string; version: string };
  /** Environment of every CLI: backend, passphrase. */
  env: Record<string, string>;
  backend: string;
  policyPacks: readonly string[];
  onOperation?: ((operation: { command: string; milliseconds: number }) => void) | undefined;
}

/** One Pulumi stack, driven by inline programs. */
export interface PulumiStack {
  /** The handle the stack declares, or undefined where it has none or does not exist. */
  handle(ctx: Context): Promise<Handle | undefined>;
  preview(change: Change, ctx: Context): Promise<Preview>;
  up(change: Change, ctx: Context): Promise<Handle>;
  recover(ctx: Context): Promise<void>;
}

/** What one operation told through the engine's events. */
interface Heard {
  errors: string[];
  failed: string[];
  violations: string[];
  /** What the program threw: events carry its text alone. */
  thrown?: unknown;
  handle?: Handle;
  changes: Record<string, number>;
}

/** Opens a stack. Nothing runs until it is asked. */
export function openStack(options: StackOptions): PulumiStack {
  // undefined: not looked yet. An operation on a stack that is not there would ask for it in a terminal.
  let exists: boolean | undefined;

  const cli = (
    args: readonly string[],
    ctx: Context,
    more: Record<string, string> = {},
  ): Promise<CliResult> =>
    runCli([...args, "--non-interactive"], {
      path: options.cli.path,
      cwd: options.root,
      env: { ...options.env, ...more, SLUICE_RUN: ctx.fence.run, SLUICE_FENCE: String(ctx.fence.token) },
      signal: ctx.signal,
      onOperation: options.onOperation,
    });

  async function handle(ctx: Context): Promise<Handle | undefined> {
    try {
      const { stdout } = await cli(["stack", "output", "--json", "--stack", options.name], ctx);
      exists = true;
      const outputs = JSON.parse(stdout) as Record<string, unknown>;
      return outputs.handle === undefined ? undefined : parseHandle(outputs.handle, options.name);
    } catch (e) {
      if (e instanceof CliFailed && /no stack named/.test(e.result.stderr)) {
        exists = false;
        return undefined;
      }
      throw translate(e, options);
    }
  }

  async function prepare(ctx: Context): Promise<void> {
    if (exists === undefined) await handle(ctx);
    if (exists) return;
    await cli(["stack", "init", "--stack", options.name, "--no-select"], ctx).catch((e) => {
      if (!(e instanceof CliFailed && /already exists/.test(e.result.stderr))) throw translate(e, options);
    });
    exists = true;
  }

  async function unlock(ctx: Context): Promise<void> {
    await cli(["cancel", "--yes", "--stack", options.name], ctx).catch((e) => {
      // It says so as an error where there is no lock.
      if (!(e instanceof CliFailed)) throw e;
    });
  }

  async function operate(kind: "preview" | "up", change: Change, ctx: Context): Promise<Heard> {
    await prepare(ctx);
    const heard: Heard = { errors: [], failed: [], violations: [], changes: {} };
    const stack = await select(options, program(options, change, heard), (args, more) =>
      cli(args, ctx, more),
    );
    const onEvent = (event: EngineEvent) => listen(heard, event);
    const policyPacks = change.unguarded ? [] : [...options.policyPacks];
    try {
      if (kind === "preview") await stack.preview({ onEvent, policyPacks });
      else await stack.up({ onEvent, policyPacks, suppressProgress: true });
    } catch (e) {
      if (e instanceof CliFailed && e.killed) await unlock({ ...ctx, signal: new AbortController().signal });
      throw explain(kind, e, heard, options);
    }
    return heard;
  }

  function declared(heard: Heard): Handle {
    if (!heard.handle) throw new Error(`the program of ${options.name} declared no handle`);
    return heard.handle;
  }

  return {
    handle,
    async preview(change, ctx) {
      const heard = await operate("preview", change, ctx);
      return { handle: declared(heard), changes: heard.changes };
    },
    async up(change, ctx) {
      return declared(await operate("up", change, ctx));
    },
    async recover(ctx) {
      if (!exists) await handle(ctx);
      if (!exists) return;
      // Nothing of the run lives any more, so a lock that is still there is a dead man's.
      await unlock(ctx);
      await cli(
        ["refresh", "--yes", "--skip-preview", "--clear-pending-creates", "--stack", options.name],
        ctx,
      ).catch((e) => {
        // A state from before failed resources kept their code: the next `up` declares it anew.
        if (e instanceof CliFailed && /code must be a string/.test(e.result.stdout + e.result.stderr)) return;
        throw translate(e, options);
      });
    },
  };
}

function program(options: StackOptions, change: Change, heard: Heard): PulumiFn {
  const order: Order = { want: change.want, expect: change.expect, by: change.by };
  return async () => {
    try {
      return await declare({
        services: options.services,
        order,
        onResolved: (handle) => {
          heard.handle = handle;
        },
      });
    } catch (e) {
      heard.thrown = e;
      throw e;
    }
  };
}

/**
 * The Automation API's stack over our own runner. Selecting a stack writes to the user's workspace file, which
 * is shared by every process, and reading outputs and history back costs three more processes per operation;
 * each operation names its stack, and the program itself tells the handle, so these are answered here.
 */
async function select(
  options: StackOptions,
  inline: PulumiFn,
  cli: (args: string[], env: Record<string, string>) => Promise<CliResult>,
) {
  const command = {
    command: options.cli.path,
    version: { toString: () => options.cli.version },
    run: (args: string[], _cwd: string, env: Record<string, string>): Promise<CliResult> => {
      const verb = `${args[0]} ${args[1]}`;
      if (verb === "stack select") return Promise.resolve({ code: 0, stdout: "", stderr: "" });
      if (verb === "stack output") return Promise.resolve({ code: 0, stdout: "{}", stderr: "" });
      if (verb === "stack history") return Promise.resolve({ code: 0, stdout: "[]", stderr: "" });
      return cli(args, env);
    },
  };
  const args: InlineProgramArgs = { stackName: options.name, projectName: options.project, program: inline };
  return LocalWorkspace.selectStack(args, {
    workDir: options.root,
    pulumiCommand: command as unknown as PulumiCommand,
  });
}

// An exception in here would be swallowed by the API, so this only collects.
function listen(heard: Heard, event: EngineEvent): void {
  if (event.diagnosticEvent?.severity === "error") heard.errors.push(plain(event.diagnosticEvent.message));
  if (event.resOpFailedEvent) heard.failed.push(event.resOpFailedEvent.metadata.urn.split("::").at(-1) ?? "");
  const policy = event.policyEvent;
  // The rule's description comes first, then what is wrong here.
  if (policy?.enforcementLevel === "mandatory")
    heard.violations.push(`${policy.policyName}: ${plain(policy.message).replace(/^[^\n]*\n/, "")}`);
  if (event.summaryEvent) heard.changes = { ...event.summaryEvent.resourceChanges } as Record<string, number>;
}

/** Turns a failed operation into the typed error that is nearest to its cause. */
function explain(kind: "preview" | "up", e: unknown, heard: Heard, options: StackOptions): unknown {
  if (heard.thrown instanceof SluiceError) return heard.thrown;
  if (heard.violations.length > 0) return PolicyViolation(options.name, [...new Set(heard.violations)]);
  const known = translate(e, options);
  if (known !== e) return known;
  if (!(e instanceof CliFailed)) return e;
  const said = [...new Set(heard.errors)].join("\n").trim() || e.message;
  const why = heard.failed.length > 0 ? `${heard.failed.join(", ")}: ${said}` : said;
  return kind === "up" ? UpFailed(options.name, why) : PreviewFailed(options.name, why);
}

/** What the CLI says about its backend, whatever the operation. */
function translate(e: unknown, options: StackOptions): unknown {
  if (!(e instanceof CliFailed)) return e;
  const text = e.result.stderr + e.result.stdout;
  if (/currently locked by|Another update is currently in progress/.test(text))
    return StackLocked(options.name, /locked by[^\n]*/.exec(text)?.[0] ?? "another update is in progress");
  if (
    /problem logging in|unable to open bucket|could not (?:get cloud url|connect)|no such host|connection refused|i\/o timeout|dial tcp|NoCredentialProviders|AccessDenied/.test(
      text,
    )
  )
    return BackendUnreachable(options.backend, e.message.split("\n").slice(0, 3).join(" "));
  return e;
}

// Diagnostics carry colour directives: <{%fg 1%}>.
function plain(text: string | undefined): string {
  return (text ?? "").replace(/<\{%.*?%\}>/g, "").trim();
}
