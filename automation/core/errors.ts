import { error } from "../../components/errors";

// What the driver refuses. What the Pulumi program refuses is in components/errors.ts.

export const UnknownEnvironment = error("unknown-environment", {
  message: (name: string, known: readonly string[]) =>
    `There is no environment "${name}". Known: ${known.join(", ")}.`,
  hint: (_name: string, known: readonly string[]) =>
    `Use one of them, for example \`npm run promote -- ${known.slice(0, 2).join(" ")}\`, or add it to automation/pipeline.ts.`,
});

export const UnknownService = error("unknown-service", {
  message: (name: string, known: readonly string[]) =>
    `There is no service "${name}". Known: ${known.join(", ")}.`,
  hint: () => "Use one of them, or add it to stacks/services.ts.",
});

export const UnprovenSource = error("unproven-source", {
  message: (from: string, pin: string) => `${from} runs ${pin}, but no finished run proved it there.`,
  hint: (from: string) =>
    `Take it through ${from} with \`npm run promote -- ${from} <target> --build\`, or pass --unproven to own the risk.`,
});

export const MixedRelease = error("mixed-release", {
  message: (from: string, releases: readonly string[]) =>
    `The services in ${from} were proved apart (${releases.map((r) => r.slice(0, 12)).join(", ")}), never together.`,
  hint: () => "Name one with --service, or pass --unproven to own the risk.",
});

export const OtherRunOpen = error("run-open-other", {
  message: (environment: string, run: string, request: string) =>
    `Run ${run} (\`${request}\`) is still open on ${environment}, and this asks for something else.`,
  hint: (environment: string, _run: string, request: string) =>
    `Finish it with \`npm run ${request}\`, end it with \`npm run abort -- ${environment}\`, or, with promote, take its place with --supersede.`,
});

export const PolicyViolation = error("policy-violation", {
  message: (target: string, violations: readonly string[]) =>
    `A policy refuses ${target}: ${violations.join("; ")}`,
  hint: (target: string) =>
    `Correct it, then see what the pack says with \`npm run pulumi -- preview -s ${target} --policy-pack policies\`.`,
});

export const UpFailed = error("up-failed", {
  message: (target: string, why: string) => `\`pulumi up\` of ${target} failed: ${why}`,
  hint: () => "Read the service's log lines above; nothing is declared that did not come up.",
});

export const PreviewFailed = error("preview-failed", {
  message: (target: string, why: string) => `\`pulumi preview\` of ${target} failed: ${why}`,
  hint: (target: string) => `See it whole with \`npm run pulumi -- preview -s ${target}\`.`,
});

export const BackendUnreachable = error("backend-unreachable", {
  message: (backend: string, why: string) => `The Pulumi backend ${backend} can't be reached: ${why}`,
  hint: () =>
    "Check PULUMI_BACKEND_URL (or `backend.url` in Pulumi.yaml) and your access; then `npm run doctor`.",
});

export const StackLocked = error("stack-locked", {
  message: (stack: string, why: string) => `Another Pulumi operation holds stack ${stack}: ${why}`,
  hint: (stack: string) =>
    `Wait for it. If nothing runs any more, free it with \`npm run pulumi -- cancel -s ${stack} --yes\`.`,
});

export const NothingPrevious = error("nothing-previous", {
  message: (environment: string) => `${environment} keeps no former release to go back to.`,
  hint: () => "Promote the release you want: `npm run promote -- <source> <target>`.",
});

export const NothingLive = error("nothing-live", {
  message: (environment: string) => `Nothing is live in ${environment}.`,
  hint: (environment: string) =>
    `Bring a first release with \`npm run promote -- <source> ${environment} --build\`.`,
});

export const NoRunOpen = error("no-run-open", {
  message: (environment: string) => `No run is open on ${environment}.`,
  hint: (environment: string) => `\`npm run history -- ${environment}\` shows how the last one ended.`,
});

export const JournalElsewhere = error("journal-elsewhere", {
  message: (target: string, run: string, _environment: string) =>
    `Run ${run} is open on ${target}, and its journal is not on this machine: it was begun elsewhere, or its folder was moved away.`,
  hint: (_target: string, run: string, environment: string) =>
    `Go on there; or copy its folder \`.sluice/runs/${environment}/${run}\` here and give the same command; ` +
    `or end it with \`npm run abort -- ${environment}\`, which keeps what was proved.`,
});

export const TooLate = error("too-late", {
  message: (environment: string) =>
    `The run on ${environment} was past the point of no return: its release is live, and proved.`,
  hint: (environment: string) => `\`npm run rollback -- ${environment}\` takes it back.`,
});

export const NothingAsked = error("nothing-asked", {
  message: (environment: string) => `Nothing on ${environment} waits for a person's answer.`,
  hint: (environment: string) => `\`npm run status -- ${environment}\` shows what it does.`,
});

export const OwnApproval = error("own-approval", {
  message: (who: string) => `${who} began this run, so somebody else has to approve it.`,
  hint: () => "Ask a colleague, or set `requester: true` on the gate in automation/pipeline.ts.",
});

export const UnknownRelease = error("unknown-release", {
  message: (environment: string, name: string, known: readonly string[]) =>
    `No finished run brought a release "${name}" to ${environment}. Known, newest first: ${known.join(", ") || "none"}.`,
  hint: (environment: string) =>
    `\`npm run history -- ${environment}\` lists them: name one by its id, version or commit.`,
});

export const PlanUnreadable = error("plan-unreadable", {
  message: (file: string, why: string) => `${file} is no plan that was kept with --out: ${why}`,
  hint: (file: string) => `Make it anew: \`npm run promote -- <source> <target> --dry-run --out ${file}\`.`,
});

export const PlanStale = error("plan-stale", {
  message: (file: string, why: string) => `${file} does not hold any more: ${why}`,
  hint: (file: string) =>
    `Look at it anew: \`npm run promote -- <source> <target> --dry-run --out ${file}\`.`,
});

export const WrongUse = error("wrong-use", {
  message: (why: string) => why,
  hint: () => "`npx sluice --help` shows how it is used.",
});

/** Exit codes: what a CI job may rely on. */
export const EXIT = {
  promoted: 0,
  rolledBack: 1,
  usage: 2,
  stuck: 3,
  refused: 4,
  paused: 75,
  interrupted: 130,
} as const;

// A refusal is somebody's no, not a mistake in the command: nothing moved, and the same command may succeed later.
const REFUSALS = new Set([
  "unproven-source",
  "mixed-release",
  "run-open",
  "run-open-other",
  "run-held",
  "run-elsewhere",
  "journal-elsewhere",
  "world-moved",
  "policy-violation",
  "stack-locked",
  "nothing-previous",
  "no-run-open",
  "unknown-release",
  "too-late",
  "nothing-asked",
  "own-approval",
  "plan-stale",
  "secret-under-embedded-default",
]);
// What nobody foresaw is looked at by a person, never taken for a mistake in the command.
const STUCK = new Set([
  "unexpected",
  "journal-corrupt",
  "journal-full",
  "journal-unwritable",
  "orphans-alive",
  "state-unwritable",
]);

/** The exit code of an error that ended a command before its run could end by itself. */
export function exitOf(code: string): number {
  if (REFUSALS.has(code)) return EXIT.refused;
  return STUCK.has(code) ? EXIT.stuck : EXIT.usage;
}
