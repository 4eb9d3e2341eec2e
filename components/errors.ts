/** What every failure of Sluice is made of: a permanent code, what and why, and the next command. */
export class SluiceError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly hint: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
    this.name = "SluiceError";
  }

  /** One paragraph for a person: `code: message` and the hint on a line of its own. */
  override toString(): string {
    return `${this.code}: ${this.message}${this.hint ? `\n  ${this.hint}` : ""}`;
  }
}

/**
 * Whether it is one of ours: the embedded platform's client is plain JavaScript, so its errors have the name and
 * the fields of a SluiceError, but not the class.
 */
export function isSluiceError(thrown: unknown): thrown is SluiceError {
  return thrown instanceof Error && thrown.name === "SluiceError" && "code" in thrown && "hint" in thrown;
}

/** One entry of the catalogue: call it to make the error, `is` to recognise it. */
export interface ErrorKind<A extends unknown[]> {
  (...args: A): SluiceError;
  readonly code: string;
  is(thrown: unknown): thrown is SluiceError;
}

const catalogue = new Map<string, ErrorKind<never>>();

/** Adds an entry to the catalogue. `hint` gets the arguments of `message` and names the next command. */
export function error<A extends unknown[]>(
  code: string,
  text: { message: (...args: A) => string; hint: (...args: A) => string },
): ErrorKind<A> {
  const make = (...args: A): SluiceError => {
    const last = args.at(-1);
    const cause = last instanceof Error ? { cause: last } : undefined;
    return new SluiceError(code, text.message(...args), text.hint(...args), cause);
  };
  const kind = Object.assign(make, {
    code,
    is: (thrown: unknown): thrown is SluiceError => thrown instanceof SluiceError && thrown.code === code,
  });
  if (catalogue.has(code)) throw new Error(`two errors share the code ${code}`);
  catalogue.set(code, kind as ErrorKind<never>);
  return kind;
}

/** Every code of the catalogue that has been loaded, sorted. */
export function errorCodes(): string[] {
  return [...catalogue.keys()].sort();
}

/** The environment of a stack or of a service on its platform: `prod` of `prod` and of `web.prod`. */
function environmentIn(name: string): string {
  return name.slice(name.indexOf(".") + 1);
}

// What the Pulumi program itself refuses. automation/core/errors.ts adds what the driver refuses.

export const NothingToDeclare = error("nothing-to-declare", {
  message: (stack: string) => `Stack ${stack} has no release yet, and nobody said which one to declare.`,
  hint: (stack: string) =>
    `Run \`npm run promote -- <source> ${environmentIn(stack)}\`, or set one with ` +
    `\`npm run pulumi -- config set sluice:pin <artifact> -s ${stack}\`.`,
});

export const HandleUnreadable = error("handle-unreadable", {
  message: (stack: string, why: string) => `The output \`handle\` of stack ${stack} can't be read: ${why}`,
  hint: (stack: string) =>
    `Look at it with \`npm run pulumi -- stack output handle -s ${stack}\`; \`npm run pulumi -- stack history -s ${stack}\` shows who wrote it.`,
});

export const HandleTooLarge = error("handle-too-large", {
  message: (bytes: number) => `The handle would take ${bytes} bytes; at most 65536 are kept in a stack.`,
  hint: () => "Move large variables into files of the artifact.",
});

export const WorldMoved = error("world-moved", {
  message: (what: string, why: string, _hint?: string) =>
    `${what} is not as it was when this was planned: ${why}`,
  hint: (_what: string, _why: string, hint?: string) =>
    hint ??
    "Run `npm run status` to see what is there now, then give the command again: it makes a new plan.",
});

export const RunOpen = error("run-open", {
  message: (what: string, run: string) =>
    `Run ${run} is in progress on ${what}, so nothing else may change it.`,
  hint: (what: string) =>
    `Finish it with the command that began it, or end it with \`npm run abort -- ${environmentIn(what)}\`. ` +
    "By hand, `npm run pulumi -- config set sluice:force true -s <stack>` overrides.",
});

export const RunElsewhere = error("run-elsewhere", {
  message: (stack: string, theirs: string, ours: string) =>
    `Stack ${stack} belongs to run ${theirs}, which has not ended; run ${ours} may not apply to it.`,
  hint: (stack: string) =>
    `Finish or abort that run where it was started: \`npm run abort -- ${environmentIn(stack)}\`.`,
});

export const BadConfig = error("bad-config", {
  message: (where: string, why: string) => `${where}: ${why}`,
  hint: () => "Correct it there, then run `npm run doctor`.",
});

export const MalformedArtifact = error("malformed-artifact", {
  message: (artifact: string) =>
    `"${artifact}" is no artifact: expected image@sha256:<64 hex>, dir:<path>@sha256:<64 hex> or git:<repository>@<40 hex>.`,
  hint: () =>
    "Give an immutable artifact; `npm run promote -- <source> <target> --build` makes one from the source.",
});
