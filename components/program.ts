import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { RunError } from "@pulumi/pulumi/errors";
import { getOrganization, getProject, getStack } from "@pulumi/pulumi/metadata";
import type { Output } from "@pulumi/pulumi/output";
import { StackReference } from "@pulumi/pulumi/stackReference";
import { environmentOf, findService, readConfig, type StackConfig } from "./config";
import {
  BadConfig,
  HandleUnreadable,
  MalformedArtifact,
  NothingToDeclare,
  RunElsewhere,
  RunOpen,
  SluiceError,
  WorldMoved,
} from "./errors";
import {
  type By,
  checkSize,
  type Filled,
  type Handle,
  isArtifact,
  isResolved,
  type Pin,
  parseHandle,
  SLOTS,
  type Unresolved,
  type Wanted,
} from "./handle";
import { localFields } from "./local/release";
import { Release, type Service, type Transform } from "./release";
import { hashSettings, resolveSettings, type SettingsConfig } from "./settings";

/** What the driver wants declared, what it believes to be declared now, and on whose behalf. */
export interface Order {
  want: Wanted;
  /** Generation of the handle that `want` was made from; 0 where there was none. */
  expect: number;
  by: By;
}

/** All that decides what a stack declares. */
export interface Situation {
  stack: string;
  service: Service;
  last?: Handle | undefined;
  order?: Order | undefined;
  config: Pick<StackConfig, "replicas" | "variables" | "pin" | "force">;
}

export interface DeclareOptions {
  services: readonly Service[];
  /** @default the last handle once more, or `sluice:pin` where there is none */
  order?: Order | undefined;
  /** Called with what will be declared, before any resource is. @default nothing */
  onResolved?: ((handle: Handle) => void) | undefined;
  /** The project's directory. @default SLUICE_ROOT, or the nearest upwards with a Pulumi.yaml */
  root?: string | undefined;
  /** @default none */
  transform?: Transform | undefined;
}

/**
 * What `stacks/index.ts` exports, and so what `pulumi up` by hand runs: the stack's last release once more. What it
 * refuses is said in a message without a stack trace.
 */
export function program(options: DeclareOptions): () => Promise<{ handle: Output<Handle> }> {
  return async () => {
    try {
      return await declare(options);
    } catch (thrown) {
      if (!(thrown instanceof SluiceError)) throw thrown;
      // The CLI prints the message of a RunError alone. Its stack would be inspected for up to a minute.
      throw Object.assign(new RunError(String(thrown)), { stack: "" });
    }
  };
}

/** The program of every stack: declares one service's release, and throws before it declares what it may not. */
export async function declare(options: DeclareOptions): Promise<{ handle: Output<Handle> }> {
  try {
    return await declareRelease(options);
  } catch (thrown) {
    throw withoutPulumi(thrown);
  }
}

/**
 * Takes the SDK's own frames from a stack. It inspects what a program throws, and in Node 20 that takes up to a
 * minute of growing one string until it is too long where a frame ends in `node_modules/@scope/file`, as the
 * SDK's do once source maps are applied.
 */
function withoutPulumi(thrown: unknown): unknown {
  if (thrown instanceof Error && thrown.stack)
    thrown.stack = thrown.stack.replace(/^ +at .*node_modules\/@pulumi\/.*\n?/gm, "");
  return thrown;
}

async function declareRelease(options: DeclareOptions): Promise<{ handle: Output<Handle> }> {
  const stack = getStack();
  const config = readConfig(stack);
  const service = findService(options.services, stack, config.service);
  const last = await lastHandle(stack);
  const resolved = resolveHandle({ stack, service, last, order: options.order, config });
  const root = options.root ?? process.env.SLUICE_ROOT ?? projectDirectory();
  const handle = checkSize({
    ...resolved,
    local: localFields(root, service.name, environmentOf(service.name, stack), config.port),
  });
  options.onResolved?.(handle);
  const release = new Release(service.name, {
    handle,
    force: config.force,
    local: service.local,
    transform: options.transform,
  });
  // Derived from every child: plain data would be stored even where a resource failed.
  return { handle: release.children.apply(() => handle) };
}

/** With `main:` in Pulumi.yaml the program does not run where that is. */
function projectDirectory(): string {
  for (let at = process.cwd(); ; at = dirname(at)) {
    if (existsSync(join(at, "Pulumi.yaml"))) return at;
    if (at === dirname(at)) return process.cwd();
  }
}

/** What the stack shall declare, without the platform's fields. Pure. */
export function resolveHandle(situation: Situation): Handle {
  const { stack, service, last, order } = situation;
  checkService(stack, service, last ?? order?.want);
  const handle = order ? ordered(situation, order) : (repeated(situation) ?? first(situation));
  // The same check that reads it back, so that nothing is declared that can't be read.
  const { local: _added, ...plain } = parseHandle(JSON.parse(JSON.stringify(handle)), stack);
  return plain;
}

function ordered({ stack, service, last, config }: Situation, { want, expect, by }: Order): Handle {
  if (last?.run && last.run !== by.run) throw RunElsewhere(stack, last.run, by.run);
  const generation = last?.generation ?? 0;
  const retried = generation === expect + 1 && last?.by?.run === by.run && last.by.step === by.step;
  if (generation !== expect && !retried)
    throw WorldMoved(`stack ${stack}`, `it is at generation ${generation}, and ${expect} was expected.`);
  const slots: Handle["slots"] = {};
  for (const slot of SLOTS) {
    const wanted = want.slots[slot];
    if (!wanted) continue;
    const before = retried ? last?.slots[slot] : undefined;
    slots[slot] = before?.pin.artifact === wanted.pin.artifact && !isResolved(wanted) ? before : fill(wanted);
  }
  return { ...want, slots, generation: expect + 1, by };

  function fill(slot: Filled | Unresolved): Filled {
    return isResolved(slot) ? slot : resolveSlot(slot.pin, service, config);
  }
}

/** Nobody orders anything: what is declared is declared once more, generation and all. */
function repeated({ stack, last, config }: Situation): Handle | undefined {
  if (last?.run && !config.force) throw RunOpen(stack, last.run);
  return last;
}

/** A release that somebody sets by hand in an empty stack, live at once. */
function first({ stack, service, config }: Situation): Handle {
  const { pin } = config;
  if (!pin) throw NothingToDeclare(stack);
  if (!isArtifact(pin)) throw MalformedArtifact(pin);
  return {
    version: 1,
    platform: platformOf(service),
    service: service.name,
    live: "blue",
    slots: { blue: resolveSlot({ artifact: pin }, service, config) },
    split: { blue: 100, green: 0 },
    // Not 0: whoever planned for an empty stack must see that it is no longer empty.
    generation: 1,
  };
}

/** Settings are frozen here: from now on they travel with the pin. */
function resolveSlot(pin: Pin, service: Service, config: SettingsConfig): Filled {
  const settings = resolveSettings(service, config);
  return { pin, settings, hash: hashSettings(settings) };
}

function platformOf(service: Service): string {
  return service.platform ?? "local";
}

/** A renamed service would be deleted and made anew: that is no change of infrastructure, that is an outage. */
function checkService(
  stack: string,
  service: Service,
  held: Pick<Handle, "service" | "platform"> | undefined,
) {
  if (held && held.service !== service.name)
    throw BadConfig(
      `stack ${stack}`,
      `it holds the service "${held.service}", but stacks/services.ts gives it "${service.name}".`,
    );
  if (held && held.platform !== platformOf(service))
    throw BadConfig(
      `stack ${stack}`,
      `it is on platform "${held.platform}", but stacks/services.ts puts it on "${platformOf(service)}".`,
    );
}

/** The handle that this stack declared last, through a reference to itself. */
async function lastHandle(stack: string): Promise<Handle | undefined> {
  const self = new StackReference(`${getOrganization()}/${getProject()}/${stack}`);
  const { value, secretValue } = await self.getOutputDetails("handle");
  if (secretValue !== undefined) throw HandleUnreadable(stack, "it is a secret, for something in it is one.");
  return value === undefined ? undefined : parseHandle(value, stack);
}
