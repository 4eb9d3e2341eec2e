import { error } from "../../components/errors";
import { type JournalEvent, type RunState, stepOf } from "../core/events";
import type { Notifier } from "../core/ports";
import { resolveSecret, type SecretRef } from "../engine/secret";

export const NotifyFailed = error("notify-failed", {
  message: (who: string, why: string) => `${who} did not take the message: ${why}.`,
  hint: () => "The run goes on without it. Check the webhook, then run `npm run doctor`.",
});

const EVENTS = [
  "run.planned",
  "step.waiting",
  "analysis.held",
  "rollback.begun",
  "run.paused",
  "run.resolved",
  "run.finished",
] as const;
type Told = (typeof EVENTS)[number];

export interface SlackOptions {
  /** The incoming webhook: its address is a secret. */
  webhook: SecretRef;
  /** @default the webhook's own channel */
  channel?: string | undefined;
  /** What to tell of. @default all of them */
  on?: readonly Told[] | undefined;
}

/** Milliseconds a message may take. */
const TIMEOUT = 10_000;

/** Tells a Slack channel, through an incoming webhook, what becomes of a run. Throws `notify-failed`. */
export function slack(options: SlackOptions): Notifier {
  const on: readonly string[] = options.on ?? EVENTS;
  return {
    id: "slack",
    async notify(event, state, ctx) {
      const text = on.includes(event.type) ? say(event, state) : undefined;
      if (!text) return;
      const webhook = await resolveSecret(options.webhook);
      const response = await fetch(webhook, {
        method: "POST",
        redirect: "error",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ text, ...(options.channel && { channel: options.channel }) }),
        signal: AbortSignal.any([ctx.signal, AbortSignal.timeout(TIMEOUT)]),
      }).catch((thrown: unknown) => {
        ctx.signal.throwIfAborted();
        // Only the name: the message of some failures repeats the address.
        throw NotifyFailed("Slack", reason(thrown));
      });
      await response.body?.cancel();
      if (!response.ok) throw NotifyFailed("Slack", `it answered ${response.status}`);
    },
  };
}

function reason(thrown: unknown): string {
  if (!(thrown instanceof Error)) return "it can't be reached";
  if (thrown.name === "TimeoutError") return `no answer within ${TIMEOUT / 1000} s`;
  const code = (thrown.cause as { code?: unknown } | undefined)?.code;
  return typeof code === "string" ? `it can't be reached (${code})` : "it can't be reached";
}

function say(event: JournalEvent, state: RunState): string | undefined {
  const { plan, run } = state;
  const what = `${names(plan.pins)} → *${literal(plan.environment)}*`;
  switch (event.type) {
    case "run.planned":
      return `${what}: run ${run} begins, asked for by ${literal(event.actor)}.`;
    case "rollback.begun":
      return `${what}: run ${run} is being rolled back: ${literal(event.reason)}`;
    case "run.paused":
      return `${what}: run ${run} is paused: ${literal(event.reason)}`;
    case "step.waiting":
      // Asked again it is the same question.
      if ((state.targets[stepOf(plan, event.step).target]?.steps[event.step]?.attempts ?? 1) > 1)
        return undefined;
      return `${what}: run ${run} waits: ${literal(event.reason)}`;
    case "analysis.held":
      return (
        `${what}: run ${run} needs somebody to look: ${literal(event.verdict.reason)}. Rolled back at ` +
        `${new Date(event.until).toISOString()} unless somebody says \`approve ${literal(plan.environment)}\`.`
      );
    case "run.resolved":
      return `${what}: run ${run} ${ENDS.resolved} by ${literal(event.who)}: ${literal(event.reason)}`;
    case "run.finished":
      return `${what}: run ${run} ${ENDS[event.outcome]}: ${literal(event.reason)}`;
    default:
      return undefined;
  }
}

const ENDS = {
  promoted: "is done, promoted",
  "rolled-back": "is over, rolled back",
  refused: "was refused, nothing moved",
  stuck: "is stuck, a hand is needed",
  resolved: "was put right by hand",
} as const;

function names(pins: RunState["plan"]["pins"]): string {
  return Object.entries(pins)
    .map(([service, pin]) =>
      literal(`${service} ${pin.version ?? pin.commit?.slice(0, 12) ?? short(pin.artifact)}`),
    )
    .join(", ");
}

function short(artifact: string): string {
  return artifact.replace(/^.*@(?:sha256:)?([0-9a-f]{12}).*$/, "$1");
}

/** Slack reads `<…>` as a link or a mention of everybody, so these three are escaped, as its manual says. */
function literal(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
